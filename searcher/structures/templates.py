"""Templates cut from a crystal, and terminations laid on them."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms

from generators.template import Template
from searcher.errors import InputError
from searcher.structures.crystal import Crystal, OrientedCrystal, orient
from searcher.structures.terminations import (
    OXYGEN,
    Termination,
    enumerate_terminations,
    repeat_distance,
    termination_atoms,
)

BASE_HEIGHT = 1.0  # Å: z of the lowest frozen atom
MATCH_TOLERANCE = 1e-3  # Å: positions closer than this are images of each other under a symmetry operation


@dataclass(frozen=True)
class TemplateSettings:
    """How much is frozen and where free atoms may go; lengths in Å."""

    frozen_thickness: float = 5.0
    free_repeats: int = 1
    slack_below: float = 0.5
    slack_above: float = 1.1
    vacuum: float = 12.0


@dataclass(frozen=True)
class Cut:
    """Where a facet's slab is divided, in the frame of the oriented crystal (Å)."""

    oriented: OrientedCrystal
    stoichiometric: Termination
    repeat: float
    bottom: float
    frozen_top: float
    free_top: float
    shift: float
    """added to z to reach the template's frame"""


def cut_slab(crystal: Crystal, facet: str, settings: TemplateSettings) -> Cut:
    """Divide a stoichiometric, non-polar slab into a frozen and a free part.

    The bottom is the inverted stoichiometric termination. The frozen part is the smallest number of repeats that
    leaves at least `frozen_thickness` of material below the lowest free atom.
    """
    oriented = orient(crystal, facet)
    repeat = repeat_distance(oriented)
    stoichiometric = next(t for t in enumerate_terminations(oriented) if t.excess_oxygen == 0)
    bottom = -stoichiometric.height
    lowest = oriented.atoms_between(bottom, stoichiometric.height)[1][0, 2]
    frozen_top = bottom
    while True:
        frozen_top += repeat
        next_free = oriented.atoms_between(frozen_top, frozen_top + repeat)[1][0, 2]
        if next_free - lowest >= settings.frozen_thickness and _is_termination(oriented, stoichiometric, frozen_top):
            break
    return Cut(
        oriented=oriented,
        stoichiometric=stoichiometric,
        repeat=repeat,
        bottom=bottom,
        frozen_top=frozen_top,
        free_top=frozen_top + settings.free_repeats * repeat,
        shift=BASE_HEIGHT - lowest,
    )


def _is_termination(oriented: OrientedCrystal, termination: Termination, height: float) -> bool:
    """Whether a slab from the inverted termination up to `height` is stoichiometric."""
    numbers, _ = oriented.atoms_between(-termination.height, height)
    return bool(np.count_nonzero(numbers == OXYGEN) == 2 * np.count_nonzero(numbers != OXYGEN))


def build_template(
    crystal: Crystal,
    facet: str,
    repeat: tuple[int, int] = (1, 1),
    settings: TemplateSettings | None = None,
    gamma_bottom: float = 0.0,
) -> Template:
    """The frozen part of a slab and the room above it.

    Parameters
    ----------
    crystal : Crystal
        With the lattice that the campaign is pinned to.
    facet : str
    repeat : tuple of int
        Repetition of the smallest orthogonal lateral cell along x (its longer side) and y.
    gamma_bottom : float
        Surface energy of the bottom face in eV/Å².

    Raises
    ------
    InputError
        If `repeat` is not two positive integers or the facet cannot be cut.
    """
    if len(repeat) != 2 or min(repeat) < 1:
        raise InputError(f"`repeat` is {repeat} but must be two positive whole numbers, for example (1, 2)")
    settings = settings or TemplateSettings()
    cut = cut_slab(crystal, facet, settings)
    frozen_numbers, frozen_positions = _repeat(cut, *cut.oriented.atoms_between(cut.bottom, cut.frozen_top), repeat)
    terminations = terminations_on(cut)
    heights = np.concatenate([positions[:, 2] for _, (_, positions) in terminations])
    reference_numbers, _ = cut.oriented.atoms_between(cut.frozen_top, cut.free_top)
    lengths = cut.oriented.lengths * repeat
    free_ceiling = float(heights.max() + cut.shift + settings.slack_above)
    rotations, translations = plane_group(frozen_numbers, frozen_positions, lengths)
    n_cells = repeat[0] * repeat[1]
    return Template(
        facet=facet,
        repeat=repeat,
        cell=np.array([*lengths, free_ceiling + settings.vacuum]),
        frozen_numbers=frozen_numbers,
        frozen_positions=frozen_positions,
        free_floor=float(heights.min() + cut.shift - settings.slack_below),
        free_ceiling=free_ceiling,
        rotations=rotations,
        translations=translations,
        gamma_bottom=gamma_bottom,
        reference_counts={
            crystal.metal: int(np.count_nonzero(reference_numbers != OXYGEN)) * n_cells,
            "O": int(np.count_nonzero(reference_numbers == OXYGEN)) * n_cells,
        },
    )


def bottom_slab(crystal: Crystal, facet: str, settings: TemplateSettings | None = None) -> Atoms:
    """Unrelaxed symmetric (1×1) slab whose two faces are the template's bottom, for `gamma_bottom`."""
    settings = settings or TemplateSettings()
    cut = cut_slab(crystal, facet, settings)
    height = cut.stoichiometric.height
    while height < settings.frozen_thickness:
        height += cut.oriented.period
    numbers, positions = cut.oriented.atoms_between(-height, height)
    positions = positions + [0, 0, BASE_HEIGHT - positions[0, 2]]
    cell = [*cut.oriented.lengths, positions[-1, 2] + settings.vacuum]
    return Atoms(numbers=numbers, positions=positions, cell=cell, pbc=(True, True, False))


def terminations_on(cut: Cut) -> list[tuple[Termination, tuple[np.ndarray, np.ndarray]]]:
    """Every termination of the facet with its free atoms (numbers, positions in the oriented frame).

    Of the heights at which a termination can be cut, the one is taken whose free metal count is nearest to that of
    the stoichiometric free part, the lower one in doubt.
    """
    reference = _n_metal(cut.oriented.atoms_between(cut.frozen_top, cut.free_top)[0])
    found = []
    for termination in enumerate_terminations(cut.oriented):
        steps = np.round((cut.free_top - termination.height) / cut.repeat)
        options = [
            termination_atoms(cut.oriented, termination, cut.frozen_top, termination.height + n * cut.repeat)
            for n in (steps - 1, steps, steps + 1)
            if termination.height + n * cut.repeat > cut.frozen_top + MATCH_TOLERANCE
        ]
        found.append((termination, min(options, key=lambda atoms: abs(_n_metal(atoms[0]) - reference))))
    return found


def _n_metal(numbers: np.ndarray) -> int:
    return int(np.count_nonzero(numbers != OXYGEN))


def seed_structures(
    crystal: Crystal, facet: str, repeat: tuple[int, int] = (1, 1), settings: TemplateSettings | None = None
) -> dict[str, Atoms]:
    """The facet's terminations at bulk positions on its template, by label."""
    settings = settings or TemplateSettings()
    cut = cut_slab(crystal, facet, settings)
    template = build_template(crystal, facet, repeat, settings)
    return {
        termination.label: template.assemble(*_repeat(cut, *free, repeat)) for termination, free in terminations_on(cut)
    }


def _repeat(
    cut: Cut, numbers: np.ndarray, positions: np.ndarray, repeat: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    shifts = np.array([[*(cut.oriented.lengths * ij), cut.shift] for ij in product(*map(range, repeat))])
    return np.tile(numbers, len(shifts)), (positions[None] + shifts[:, None]).reshape(-1, 3)


def plane_group(numbers: np.ndarray, positions: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lateral symmetry operations of a set of atoms, pure translations of a supercell included.

    Parameters
    ----------
    numbers : array, shape (n,)
    positions : array, shape (n, 3)
        In Å.
    lengths : array, shape (2,)
        Orthogonal lateral cell in Å.

    Returns
    -------
    rotations : numpy.ndarray, shape (k, 3, 3)
        The first is the identity.
    translations : numpy.ndarray, shape (k, 3)
        In Å, applied after the rotation.
    """
    points = [np.diag([sx, sy, 1.0]) for sx in (1.0, -1.0) for sy in (1.0, -1.0)]
    if abs(lengths[0] - lengths[1]) < MATCH_TOLERANCE:
        swap = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        points += [swap @ point for point in points]
    rotations, translations = [], []
    for point in points:
        turned = positions @ point.T
        for target in np.flatnonzero(numbers == numbers[0]):
            shift = positions[target] - turned[0]
            if abs(shift[2]) > MATCH_TOLERANCE:
                continue
            shift[:2] %= lengths
            shift[2] = 0.0
            shift[:2][np.abs(shift[:2] - lengths) < MATCH_TOLERANCE] = 0.0
            if _maps_onto_itself(numbers, positions, turned + shift, lengths):
                rotations.append(point)
                translations.append(shift)
    identity_first = [
        not (np.allclose(rotation, np.eye(3)) and np.allclose(translation, 0))
        for rotation, translation in zip(rotations, translations, strict=True)
    ]
    order = np.argsort(identity_first, kind="stable")
    return np.array(rotations)[order], np.array(translations)[order]


def _maps_onto_itself(numbers: np.ndarray, positions: np.ndarray, images: np.ndarray, lengths: np.ndarray) -> bool:
    difference = images[:, None] - positions[None]  # (n, n, 3)
    difference[..., :2] -= lengths * np.round(difference[..., :2] / lengths)
    near = np.linalg.norm(difference, axis=-1) < MATCH_TOLERANCE
    return bool(np.all((near & (numbers[:, None] == numbers[None])).any(axis=1)))
