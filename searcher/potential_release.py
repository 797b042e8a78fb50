"""From nothing to a potential that can be shipped: label, fit, check, one call each.

A folder of a potential holds `gap.xml` with its sparseX files, `settings.json`, `MODEL_CARD.md`, and in `data/` the
labelled frames (`frames.extxyz.xz`) and the labeller's own surface figures (`labeller.json`).
"""

import math
import shutil
from collections.abc import Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from ase import Atoms

from relax.dft_comparison import Distance, distance_from_dft, distance_of_labels
from relax.fitting.gap_fit import fit
from relax.fitting.held_out import hold_out
from relax.fitting.settings import FitSettings
from relax.labelling.frames import read_data, write_data
from relax.labelling.labels import LabelReport, label, read_labels
from relax.labelling.limits import LabelLimits
from relax.labelling.tasks import single_task
from relax.lifetime import end_with_parent
from relax.model_card import write_model_card
from relax.oxide import Oxide
from relax.potential import gap_spec, potential_hash
from relax.potential_check import check
from relax.potential_figures import SURFACE_TYPES, PotentialFigures
from relax.surface_figures import (
    Labeller,
    SlabsForLattice,
    read_surface_figures,
    write_surface_figures,
)
from relax.worker import evaluate_task, plain_arrays
from searcher.errors import InputError
from searcher.labelled_oxide import LABELLER_FILE, crystal_of, oxide_of_labels, recorded_oxide
from searcher.results.potential_plots import parity, uncertainty
from searcher.structures.crystal import Crystal, orient
from searcher.structures.distorted_slabs import random_insertion
from searcher.structures.faces import (
    faces_of_lattice,
    kept_figures,
    known_faces,
    known_faces_of_lattice,
    labeller_faces,
)
from searcher.structures.potential_round import RoundSizes, build_round
from searcher.structures.potential_set import SetSizes, build_potential_set
from searcher.structures.reference_cells import small_cells

PROPOSAL_SEED = 2024
N_PROPOSALS = 12
HELD_CELLS = "dft-held"
"""Begins the families of DFT cells that nothing is ever fitted to"""

Sizes = TypeVar("Sizes", SetSizes, RoundSizes)


def label_potential_set(
    seed: int,
    labeller: Labeller,
    out: Path,
    processes: int = 2,
    share: float = 1.0,
    asked: Oxide | None = None,
) -> LabelReport:
    """Build the structure set and label it, and write the labeller's surface figures to `labeller.json` beside `out`.

    The structures stand on the lattice that the labeller gives the oxide. Interrupted, the same call goes on where it
    stopped; with a larger `share` it labels what is missing.

    Parameters
    ----------
    seed : int
    labeller : Labeller
    out : pathlib.Path
        File of labels, one line per task.
    processes : int
    share : float
        Of every kind of structure, above 0 and at most 1; atoms and dimers are always whole. Below 1 the labeller's
        surface figures are those of (110) only.
    asked : Oxide, optional
        Where its relaxation by the labeller starts; by default what was labelled beside `out` before, else RuO2.

    Raises
    ------
    InputError
        If `share` is out of range, or another labeller's or oxide's figures lie beside `out`.
    PotentialError
        If the labeller cannot be made.
    """
    sizes = part_of(SetSizes(), share)
    oxide = oxide_of_labels(out, labeller, asked)
    tasks = build_potential_set(seed, crystal_of(oxide), sizes, oxide.metal_structure)
    report = label(tasks, labeller.import_path, labeller.arguments, out, processes, LabelLimits.of_metal(oxide.metal))
    every = partial(known_faces_of_lattice, oxide.metal)
    slabs_for = every if share == 1.0 else partial(faces_of_lattice, oxide.metal, "110")
    _measure_labeller(labeller, oxide, slabs_for, out.with_name(LABELLER_FILE))
    return report


def part_of(sizes: Sizes, share: float) -> Sizes:
    """The same kinds of structures, `share` of each, rounded up; the first ones of the whole set.

    Raises
    ------
    InputError
        If `share` is not above 0 and at most 1.
    """
    if not 0.0 < share <= 1.0:
        raise InputError(f"`share` is {share:g} but must be above 0 and at most 1, the whole set")
    return replace(sizes, **{kind: math.ceil(share * count) for kind, count in vars(sizes).items()})


def _measure_labeller(labeller: Labeller, oxide: Oxide, slabs_for: SlabsForLattice, path: Path) -> None:
    """Write what the labeller says of faces, unless `path` has it of all of these facets."""
    kept = kept_figures(path, labeller)
    if kept is not None and slabs_for(oxide.a, oxide.c, oxide.u).keys() <= kept.facets.keys():
        return
    write_surface_figures(labeller_faces(labeller, oxide, slabs_for), path)


def label_walks(
    seed: int,
    name: str,
    walker: Path,
    labeller: Labeller,
    out: Path,
    processes: int = 2,
    share: float = 1.0,
    asked: Oxide | None = None,
) -> LabelReport:
    """Label what a potential meets on its own walks through slabs of every facet: one round of its improvement.

    Interrupted, the same call goes on where it stopped; the walks are kept beside `out`.

    Parameters
    ----------
    name : str
        Of the round; begins every family's name.
    walker : pathlib.Path
        XML file of the GAP that walks; it knows the oxide, if it lies where `fit_potential_set` left it.
    share : float
        Of every kind of walk, above 0 and at most 1.
    asked : Oxide, optional
        For a walker beside which no oxide is recorded.

    Raises
    ------
    InputError
        If `share` is out of range, or another labeller's or oxide's figures lie beside `out`.
    """
    beside, of_walker = out.with_name(LABELLER_FILE), walker.parent / "data" / LABELLER_FILE
    kept_figures(beside, labeller)
    oxide = recorded_oxide([of_walker, beside], asked)
    recorded_oxide([beside], oxide)
    limits = LabelLimits.of_metal(oxide.metal)
    walks = out.with_suffix(".walks.jsonl")
    tasks = build_round(seed, crystal_of(oxide), name, part_of(RoundSizes(), share))
    gap = {"path": str(walker), "digest": potential_hash(gap_spec(walker))}
    label(tasks, "relax.potential:gap_calculator", gap, walks, processes, limits)
    met = [single_task(frame) for frame in read_labels(walks)]
    return label(met, labeller.import_path, labeller.arguments, out, processes, limits)


def label_small_cells(
    seed: int,
    name: str,
    count: int,
    labeller: Labeller,
    out: Path,
    processes: int = 1,
    retry_failed: bool = False,
    asked: Oxide | None = None,
) -> LabelReport:
    """Label cells of 10–14 atoms, of which density functional theory can afford many; on the lattice as asked for.

    Parameters
    ----------
    asked : Oxide, optional
        By default what was labelled beside `out` before, else RuO2.
    """
    oxide = recorded_oxide([out.with_name(LABELLER_FILE)], asked)
    cells = small_cells(seed, crystal_of(oxide), count, name)
    limits = LabelLimits.of_metal(oxide.metal)
    return label(cells, labeller.import_path, labeller.arguments, out, processes, limits, retry_failed)


def fit_potential_set(labels: Sequence[Path], out: Path, settings: FitSettings | None = None) -> Path:
    """Fit to labelled frames, without the families held out, and keep the frames in `out/data`.

    The labeller's surface figures beside the labels are kept there too: a check needs them.

    Parameters
    ----------
    labels : sequence of pathlib.Path
        Labels (`.jsonl`), or frames that were kept (`.xz`); they are joined.
    out : pathlib.Path
        The potential's folder.
    settings : FitSettings, optional
        By default those for the metal that the frames hold.

    Returns
    -------
    pathlib.Path
        The XML file.

    Raises
    ------
    InputError
        If there are no frames, or figures of two labellers beside them.
    """
    frames = [atoms for path in labels for atoms in (read_data(path) if path.suffix == ".xz" else read_labels(path))]
    if not frames:
        raise InputError(
            f"`{', '.join(map(str, labels))}` holds no labelled frames; `searcher potential label` makes them"
        )
    settings = settings or FitSettings.for_data(frames)
    figures = _labeller_beside(labels)
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    kept = data / "frames.extxyz.xz"
    write_data(frames, kept)
    if figures is not None and figures.resolve() != (data / LABELLER_FILE).resolve():
        shutil.copyfile(figures, data / LABELLER_FILE)
    training, _ = hold_out(read_data(kept))  # as kept, so that a fit to the kept frames gives equal files
    return fit(training, settings, out)


def _labeller_beside(labels: Sequence[Path]) -> Path | None:
    """The surface figures beside the first labels that have them; those of all must be of one labeller."""
    beside = dict.fromkeys(path.with_name(LABELLER_FILE) for path in labels)
    found = [path for path in beside if path.is_file()]
    named = [labeller for path in found if (labeller := read_surface_figures(path).labeller) is not None]
    for path in found if named else ():
        kept_figures(path, named[0])
    return found[0] if found else None


def check_potential_set(folder: Path) -> PotentialFigures:
    """Measure a potential against the frames held out and its labeller, and write its `MODEL_CARD.md`.

    Its oxide is the one that the labeller's figures name.

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
    if not validation:
        raise InputError(
            f"`{frames}` has {len(training)} frames, too few to hold a family out: label a larger `--share`"
        )
    reference = read_surface_figures(folder / "data" / LABELLER_FILE)
    if not reference.facets:
        raise InputError(
            f"`{folder / 'data' / LABELLER_FILE}` has no surface energies, so labelling had not ended when this was "
            "fitted: give the same `searcher potential label` again, then fit"
        )
    crystal = crystal_of(reference.oxide)
    arguments = (gap_spec(folder / "gap.xml"), validation, reference, crystal.bulk())
    found = reference.references
    like = crystal.with_lattice(found.a, found.c, found.u)
    slabs = partial(faces_as_labelled, like, frozenset(reference.facets))
    hot = known_faces(crystal)["110"]["stoichiometric"]
    with ProcessPoolExecutor(
        1, get_context("spawn"), end_with_parent
    ) as pool:  # the GAP library stays out of this process
        figures = pool.submit(check, *arguments, slabs, unseen_proposals(crystal), hot).result()
    distances = _distances_from_dft(folder)
    _write_pictures(figures, folder)
    write_model_card(figures, training, validation, folder / "MODEL_CARD.md", distances)
    return figures


def faces_as_labelled(like: Crystal, facets: Set[str], a: float, c: float, u: float) -> dict[str, dict[str, Atoms]]:
    """`known_faces` of the facets that the labeller was asked about, with the layers of the labeller's crystal."""
    return {facet: slabs for facet, slabs in known_faces(like.with_lattice(a, c, u), like).items() if facet in facets}


def _distances_from_dft(folder: Path) -> dict[str, Distance]:
    """Of labeller and potential, by name; empty where `data` holds no DFT labels."""
    dft, labels = (folder / "data" / f"{name}.extxyz.xz" for name in ("dft", "dft-labeller"))
    if not dft.is_file() or not labels.is_file():
        return {}
    frames = [atoms for atoms in read_data(dft) if str(atoms.info["family"]).startswith(HELD_CELLS)]
    by_family = {str(atoms.info["family"]): atoms for atoms in read_data(labels)}
    with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
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
