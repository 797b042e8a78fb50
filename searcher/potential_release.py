"""From nothing to a potential that can be shipped: label, fit, check, one call each.

A folder of a potential holds `gap.xml` with its sparseX files, `settings.json`, `MODEL_CARD.md`, and in `data/` the
labelled frames (`frames.extxyz.xz`) and the labeller's own surface figures (`labeller.json`).
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from relax.dft_comparison import Distance, distance_from_dft, distance_of_labels
from relax.gap_fit import FitSettings, fit, hold_out
from relax.labelling import (
    LabelReport,
    build_from_import_path,
    label,
    read_data,
    read_labels,
    single_task,
    write_data,
)
from relax.model_card import write_model_card
from relax.potential import gap_spec, potential_hash
from relax.potential_check import check
from relax.potential_figures import SURFACE_TYPES, PotentialFigures
from relax.surface_figures import read_surface_figures, surface_figures, write_surface_figures
from relax.worker import evaluate_task, plain_arrays
from searcher.errors import InputError
from searcher.results.potential_plots import parity, uncertainty
from searcher.structures.crystal import Crystal, orient
from searcher.structures.distorted_slabs import random_insertion
from searcher.structures.faces import known_faces, known_faces_of_lattice
from searcher.structures.potential_round import RoundSizes, build_round
from searcher.structures.potential_set import build_potential_set
from searcher.structures.reference_cells import small_cells

LABELLER_CRYSTAL = Crystal("Ru", a=4.548, c=3.137, u=0.3056)
"""RuO2 as SevenNet 7net-MF-0 (PBE channel) relaxes it."""
PROPOSAL_SEED = 2024
N_PROPOSALS = 12
HELD_CELLS = "dft-held"
"""Begins the families of DFT cells that nothing is ever fitted to"""


def label_potential_set(
    seed: int,
    import_path: str,
    arguments: Mapping[str, Any],
    out: Path,
    processes: int = 2,
    crystal: Crystal = LABELLER_CRYSTAL,
) -> LabelReport:
    """Build the structure set and label it, and write the labeller's surface figures to `labeller.json` beside `out`.

    Interrupted, the same call goes on where it stopped.

    Parameters
    ----------
    seed : int
    import_path, arguments
        The labeller, as for `relax.labelling.label`.
    out : pathlib.Path
        File of labels, one line per task.
    processes : int
    crystal : Crystal

    Raises
    ------
    ValueError
        If the labeller cannot be made.
    """
    report = label(build_potential_set(seed, crystal), import_path, arguments, out, processes)
    beside = out.with_name("labeller.json")
    if not beside.exists():
        calculator = build_from_import_path(import_path, arguments)
        figures = surface_figures(
            calculator, import_path, crystal.bulk(), partial(known_faces_of_lattice, crystal.metal)
        )
        write_surface_figures(figures, beside)
    return report


def label_walks(
    seed: int,
    name: str,
    walker: Path,
    import_path: str,
    arguments: Mapping[str, Any],
    out: Path,
    processes: int = 2,
    sizes: RoundSizes | None = None,
    crystal: Crystal = LABELLER_CRYSTAL,
) -> LabelReport:
    """Label what a potential meets on its own walks through slabs of every facet: one round of its improvement.

    Interrupted, the same call goes on where it stopped; the walks are kept beside `out`.

    Parameters
    ----------
    name : str
        Of the round; begins every family's name.
    walker : pathlib.Path
        XML file of the GAP that walks.
    sizes : RoundSizes, optional
    """
    walks = out.with_suffix(".walks.jsonl")
    tasks = build_round(seed, crystal, name, sizes)
    gap = {"path": str(walker), "digest": potential_hash(gap_spec(walker))}
    label(tasks, "relax.potential:gap_calculator", gap, walks, processes)
    return label([single_task(frame) for frame in read_labels(walks)], import_path, arguments, out, processes)


def label_small_cells(
    seed: int,
    name: str,
    count: int,
    import_path: str,
    arguments: Mapping[str, Any],
    out: Path,
    processes: int = 1,
    retry_failed: bool = False,
    crystal: Crystal = LABELLER_CRYSTAL,
) -> LabelReport:
    """Label cells of 10–14 atoms, of which density functional theory can afford many."""
    cells = small_cells(seed, crystal, count, name)
    return label(cells, import_path, arguments, out, processes, retry_failed=retry_failed)


def fit_potential_set(labels: Sequence[Path], out: Path, settings: FitSettings | None = None) -> Path:
    """Fit to labelled frames, without the families held out, and keep the frames in `out/data`.

    Parameters
    ----------
    labels : sequence of pathlib.Path
        Labels (`.jsonl`), or frames that were kept (`.xz`); they are joined.
    out : pathlib.Path
        The potential's folder.
    settings : FitSettings, optional

    Returns
    -------
    pathlib.Path
        The XML file.

    Raises
    ------
    InputError
        If there are no frames.
    """
    frames = [atoms for path in labels for atoms in (read_data(path) if path.suffix == ".xz" else read_labels(path))]
    if not frames:
        raise InputError(
            f"`{', '.join(map(str, labels))}` holds no labelled frames; `searcher potential label` makes them"
        )
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    kept = data / "frames.extxyz.xz"
    write_data(frames, kept)
    training, _ = hold_out(read_data(kept))  # as kept, so that a fit to the kept frames gives equal files
    return fit(training, settings or FitSettings(), out)


def check_potential_set(folder: Path, crystal: Crystal = LABELLER_CRYSTAL) -> PotentialFigures:
    """Measure a potential against the frames held out and its labeller, and write its `MODEL_CARD.md`.

    Parameters
    ----------
    folder : pathlib.Path
        As `fit_potential_set` leaves it, with `labeller.json` in its `data`.

    Raises
    ------
    ValueError
        If a file is missing or the potential cannot be used.
    """
    frames = folder / "data" / "frames.extxyz.xz"
    if not frames.is_file():
        raise InputError(f"`{frames}` does not exist; `searcher potential fit` writes it")
    training, validation = hold_out(read_data(frames))
    reference = read_surface_figures(folder / "data" / "labeller.json")
    arguments = (gap_spec(folder / "gap.xml"), validation, reference, crystal.bulk())
    slabs = partial(known_faces_of_lattice, crystal.metal)
    hot = known_faces(crystal)["110"]["stoichiometric"]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # the GAP library stays out of this process
        figures = pool.submit(check, *arguments, slabs, unseen_proposals(crystal), hot).result()
    distances = _distances_from_dft(folder)
    _write_pictures(figures, folder)
    write_model_card(figures, training, validation, folder / "MODEL_CARD.md", distances)
    return figures


def _distances_from_dft(folder: Path) -> dict[str, Distance]:
    """Of labeller and potential, by name; empty where `data` holds no DFT labels."""
    dft, labels = (folder / "data" / f"{name}.extxyz.xz" for name in ("dft", "dft-labeller"))
    if not dft.is_file() or not labels.is_file():
        return {}
    frames = [atoms for atoms in read_data(dft) if str(atoms.info["family"]).startswith(HELD_CELLS)]
    by_family = {str(atoms.info["family"]): atoms for atoms in read_data(labels)}
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        payload = {
            "potential": gap_spec(folder / "gap.xml").as_dict(),
            "structures": [plain_arrays(atoms) for atoms in frames],
        }
        own = pool.submit(evaluate_task, payload).result()
    return {
        "labeller": distance_of_labels(frames, by_family),
        "this potential": distance_from_dft(frames, list(own["energies"]), own["forces"]),
    }


def _write_pictures(figures: PotentialFigures, folder: Path) -> None:
    """Parity of energies and forces, and predicted deviations beside true errors."""
    shown = figures.parity
    (folder / "parity.png").write_bytes(parity(shown.kinds, shown.energies, shown.forces))
    if figures.calibration is not None:
        rows = [i for i, kind in enumerate(shown.kinds) if kind in SURFACE_TYPES]
        sizes = np.array([len(shown.forces[i]) for i in rows])
        predicted = figures.calibration.scale * shown.deviations[rows] / sizes
        errors = np.diff(shown.energies[rows], axis=1)[:, 0]
        named = {"calibrated deviation": (predicted, errors, figures.calibration.rank_correlation)}
        (folder / "uncertainty.png").write_bytes(uncertainty(named))


def unseen_proposals(crystal: Crystal) -> list[Atoms]:
    """Random insertions on (110), (2×1), from a seed that no structure set uses."""
    rng = np.random.default_rng(PROPOSAL_SEED)
    oriented = orient(crystal, "110")
    return [random_insertion(oriented, rng) for _ in range(N_PROPOSALS)]
