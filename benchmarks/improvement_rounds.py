"""What rounds of improvement do to a potential: fits without and with what searches met, judged by the same frames.

    python benchmarks/improvement_rounds.py relax/potentials/ruo2 --round search1 --round search2 gan1 hop1 --out FOLDER

Frames of config_type ``searched`` come into the fit round by round, by the beginnings of their families' names; all
other frames are in every fit. Families that are held out are in none. Each fit takes as long as the potential's own
(half an hour of a core and 11 GiB for the shipped one); what is in FOLDER already is not fitted again.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from ase import Atoms

from relax.fitting.gap_fit import fit
from relax.fitting.held_out import ALWAYS_FITTED, hold_out
from relax.fitting.settings import FitSettings
from relax.labelling.frames import data_hash, read_data
from relax.lifetime import end_with_parent
from relax.potential import gap_spec
from relax.potential_check import check
from relax.potential_figures import PotentialFigures, worsened
from relax.surface_figures import read_surface_figures
from searcher.labelled_oxide import LABELLER_FILE, crystal_of
from searcher.potential_release import faces_as_labelled

SEARCHED = "searched"


def main() -> None:
    """Print a table: a column for each round, a row for each figure, and what is worse after the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potential", type=Path, help="folder with `data/`")
    parser.add_argument("--round", dest="rounds", nargs="+", action="append", required=True, metavar="PREFIX")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="of all families; less than 1 only to try it")
    arguments = parser.parse_args()
    training, held = hold_out(some_of(read_data(arguments.potential / "data" / "frames.extxyz.xz"), arguments.share))
    measured = []
    for number in range(len(arguments.rounds) + 1):
        met = tuple(prefix for prefixes in arguments.rounds[:number] for prefix in prefixes)
        frames = [a for a in training if a.info["config_type"] != SEARCHED or str(a.info["family"]).startswith(met)]
        print(f"round {number}: {len(frames)} frames", flush=True)
        gap = fitted(frames, FitSettings.for_data(frames), arguments.out / f"round-{number}")
        measured.append(figures(gap, held, arguments.potential))
    print(table(measured))
    for line in worsened(measured[0], measured[-1]) or ["nothing is worse beyond the noise of a fit"]:
        print(line)


def some_of(frames: Sequence[Atoms], share: float) -> list[Atoms]:
    """Frames of every n-th family, and all atoms and dimers."""
    families = list(dict.fromkeys(str(a.info["family"]) for a in frames if a.info["config_type"] not in ALWAYS_FITTED))
    kept = set(families[:: round(1 / share)])
    return [a for a in frames if a.info["config_type"] in ALWAYS_FITTED or str(a.info["family"]) in kept]


def fitted(frames: Sequence[Atoms], settings: FitSettings, folder: Path) -> Path:
    """The GAP's XML file, fitted unless the folder holds a fit to these frames."""
    record = folder / "settings.json"
    if record.is_file() and json.loads(record.read_text())["training_data_sha256"] == data_hash(frames):
        return folder / "gap.xml"
    return fit(frames, settings, folder)


def figures(gap: Path, held: Sequence[Atoms], potential: Path) -> PotentialFigures:
    """Figures of a fit, in a process of its own."""
    reference = read_surface_figures(potential / "data" / LABELLER_FILE)
    crystal = crystal_of(reference.oxide)
    found = reference.references
    slabs = partial(faces_as_labelled, crystal.with_lattice(found.a, found.c, found.u), frozenset(reference.facets))
    arguments = (gap_spec(gap), held, reference, crystal.bulk(), slabs, [])
    with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
        return pool.submit(check, *arguments).result()


def table(measured: Sequence[PotentialFigures]) -> str:
    """Markdown."""
    summaries = [figures.summary() for figures in measured]
    head = "| figure | " + " | ".join(f"round {number}" for number in range(len(measured))) + " |"
    rows = [f"| {name} | " + " | ".join(f"{s[name]:.3g}" for s in summaries) + " |" for name in summaries[0]]
    return "\n".join([head, "|---" * (len(measured) + 1) + "|", *rows])


if __name__ == "__main__":
    main()
