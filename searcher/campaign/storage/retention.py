"""What stays on disk, how much that is, and whether there is room for more."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from searcher.campaign.storage.iterations import finished_iterations
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.storage.places import POTENTIALS
from searcher.campaign.storage.verification import RETENTION
from searcher.config import KeepSection
from searcher.errors import StorageError

GIB = 2**30
KINDS = {"campaign": "ledger", "samples": "grids", "weights": "weights", "checkpoint": "checkpoints"}
"""by what a file's name begins with"""


def sweep(folder: Path, ledger: Ledger, keep: KeepSection) -> list[str]:
    """Remove what `keep` does not ask for from iterations that have ended.

    Weights that are to go are recorded in the ledger first, so that their absence is no damage.

    Returns
    -------
    list of str
        Names of the removed files, relative to the campaign's folder.
    """
    ended = finished_iterations(ledger)
    removed: list[str] = []
    for iteration in ended:
        rest = _superfluous(folder, iteration, iteration == max(ended), keep)
        if rest:
            recorded = ledger.stage(iteration, RETENTION)
            names = sorted({str(path.relative_to(folder)) for path in rest} | set((recorded or {}).get("removed", ())))
            with ledger.transaction():
                ledger.set_stage(iteration, RETENTION, {"removed": names})
            for path in rest:
                path.unlink(missing_ok=True)
            removed += names
    return removed


def _superfluous(folder: Path, iteration: int, last: bool, keep: KeepSection) -> list[Path]:
    place = folder / "iterations" / f"{iteration:03d}"
    patterns = []
    if keep.grids == "none" or (keep.grids == "last" and not last):
        patterns.append("samples-*.npz")
    if keep.weights == "last" and not last:
        patterns.append("training-*/weights.*")
    if keep.checkpoints == "none" or (keep.checkpoints == "last" and not last):
        patterns.append("training-*/checkpoint-*")
    return sorted(path for pattern in patterns for path in place.glob(pattern))


def disk_use(folder: Path) -> dict[str, Any]:
    """Bytes of a campaign: by kind of file, ``other`` and ``total``; and ``free``."""
    sizes = Counter(dict.fromkeys(("ledger", "grids", "weights", "checkpoints", "potentials", "other"), 0))
    for path in folder.rglob("*"):
        try:
            size = path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # a running driver has just replaced it
            continue
        stem = path.name.partition("-")[0].partition(".")[0]
        kind = KINDS.get(stem, "other") if path.name != "campaign.yaml" else "other"
        sizes["potentials" if (folder / POTENTIALS) in path.parents else kind] += size
    return {**sizes, "total": sum(sizes.values()), "free": shutil.disk_usage(folder).free}


def require_space(folder: Path, free_gib: float) -> None:
    """Make sure that there is room before an iteration starts.

    Raises
    ------
    StorageError
        If there is less than `free_gib` GiB.
    """
    free = shutil.disk_usage(folder).free / GIB
    if free < free_gib:
        raise StorageError(
            f"`{folder}` has {free:.2f} GiB of free space, `keep.free_gib` asks for {free_gib:g}; make room (`keep` "
            "lets grids, weights and checkpoints go), then `searcher run` goes on"
        )
