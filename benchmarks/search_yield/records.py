"""What an arm did: every relaxation with the force calls that had been made when it ended."""

import json
import lzma
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from searcher.campaign.provenance import provenance
from searcher.files import replacing, write_text

WALL = "wall.json"
END = "end"
"""origin of what is no relaxation but the calls that a part of a search ended with"""
DIGITS = 3
"""of kept positions, in Å: far below what tells two terminations apart"""
PACKAGES = ("surface-searcher", "ase", "quippy-ase", "torch", "numpy")


@dataclass(frozen=True)
class Relaxation:
    """One relaxation, whatever became of it.

    Attributes
    ----------
    calls : int
        Force calls of the whole arm when it had ended, its own included.
    numbers, positions : list
        All atoms of the slab, frozen ones first, positions in Å; empty unless it converged.
    energy : float or None
        In eV, if it converged.
    origin : str
        What proposed it.
    """

    calls: int
    numbers: list[int]
    positions: list[list[float]]
    energy: float | None
    origin: str


@dataclass(frozen=True)
class ArmRun:
    """A finished search.

    Attributes
    ----------
    table : str
        ``A``: everybody relaxes alike; ``B``: each as it is shipped.
    calls : int
        Force calls made, those beyond the budget included.
    wall_s, training_s : float
        Seconds of the whole search and of the training of networks or surrogates within it.
    commit : str
        Of this program when the search began, where it runs from a clone; empty in runs of before it was kept.
    details : dict
        What else the arm tells of itself.
    """

    cell: str
    arm: str
    table: str
    seed: int
    budget: int
    calls: int
    wall_s: float
    training_s: float
    relaxations: list[Relaxation]
    details: dict[str, Any] = field(default_factory=dict)
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    date: str = ""
    commit: str = ""


def record_path(results: Path, table: str, cell: str, arm: str, seed: int) -> Path:
    """Where a finished search is kept."""
    return results / table / cell / arm / f"seed-{seed}.json.xz"


def write_run(path: Path, run: ArmRun) -> None:
    """Keep a finished search, with the machine, versions and the date."""
    content = asdict(run) | {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in PACKAGES},
        "commit": run.commit or provenance().get("git", ""),
        "date": time.strftime("%Y-%m-%d"),
    }
    for row in content["relaxations"]:
        row["positions"] = [[round(x, DIGITS) for x in position] for position in row["positions"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_bytes(lzma.compress(json.dumps(content, separators=(",", ":")).encode()))


def read_run(path: Path) -> ArmRun | None:
    """A finished search, or None if it is not."""
    if not path.is_file():
        return None
    content = json.loads(lzma.decompress(path.read_bytes()))
    return ArmRun(**{**content, "relaxations": [Relaxation(**row) for row in content["relaxations"]]})


def read_runs(results: Path, table: str) -> list[ArmRun]:
    """Every finished search of a table, by cell, arm and seed."""
    runs = [read_run(path) for path in results.glob(f"{table}/*/*/seed-*.json.xz")]
    return sorted((run for run in runs if run is not None), key=lambda run: (run.cell, run.arm, run.seed))


@contextmanager
def stopwatch(folder: Path) -> Iterator[None]:
    """Adds the seconds inside to what earlier tries of the same search took."""
    began = time.monotonic()
    try:
        yield
    finally:
        write_text(folder / WALL, json.dumps(seconds_so_far(folder) + time.monotonic() - began))


def seconds_so_far(folder: Path) -> float:
    """What `stopwatch` has added up."""
    path = folder / WALL
    return float(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else 0.0


def in_turns(parts: Sequence[Sequence[Relaxation]]) -> list[Relaxation]:
    """Relaxations of searches that share a budget, as if all of them had gone on at the same pace."""
    costs = []
    for number, part in enumerate(parts):
        before = 0
        for relaxation in part:
            costs.append((relaxation.calls, number, relaxation.calls - before, relaxation))
            before = relaxation.calls
    total, merged = 0, []
    for _, _, cost, relaxation in sorted(costs, key=lambda row: row[:2]):
        total += cost
        merged.append(replace(relaxation, calls=total))
    return merged
