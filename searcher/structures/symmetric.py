"""Slabs with two equal faces made from one-sided ones."""

import numpy as np
from ase import Atoms

from searcher.errors import InputError

OXYGEN = 8
BASE_HEIGHT = 1.0  # Å: z of the lowest atom
BULK_TOLERANCE = 0.02  # Å: frozen atoms stand at bulk positions, rounded by a file


def symmetrised(atoms: Atoms, n_frozen: int, vacuum: float = 12.0) -> Atoms:
    """The slab that a centre of inversion in the frozen layers makes of a one-sided one.

    A metal atom of the rutile structure is such a centre. The lowest one is taken around which the frozen atoms map
    onto themselves, so that as much material as possible lies between the faces.

    Parameters
    ----------
    atoms : ase.Atoms
        Frozen atoms first, z the surface normal; not changed.
    n_frozen : int
    vacuum : float
        Å above the upper face.

    Returns
    -------
    ase.Atoms
        Without constraints, heavier species first. Its γ is that of two equal faces.

    Raises
    ------
    InputError
        If the frozen part has no such centre.
    """
    frozen = atoms[:n_frozen]
    metals = sorted(np.flatnonzero(frozen.numbers != OXYGEN), key=lambda i: (frozen.positions[i, 2], i))
    for metal in metals:
        centre = frozen.positions[metal]
        if _is_centre(frozen, centre):
            return _inverted(atoms, centre, vacuum)
    raise InputError(
        "the slab's frozen layers hold no metal atom around which they map onto themselves: they are not cut from a "
        "rutile crystal, or are too thin"
    )


def _is_centre(frozen: Atoms, centre: np.ndarray) -> bool:
    """Whether inversion takes every frozen atom onto one of its kind, as far as the frozen part reaches."""
    images = 2 * centre - frozen.positions  # (n, 3)
    low, high = frozen.positions[:, 2].min(), frozen.positions[:, 2].max()
    inside = (images[:, 2] > low - BULK_TOLERANCE) & (images[:, 2] < high + BULK_TOLERANCE)
    below = frozen.positions[:, 2] < centre[2] + BULK_TOLERANCE
    if not inside[below].all():
        return False
    differences = _lateral(images[inside][:, None] - frozen.positions[None], frozen.cell.array)
    near = np.linalg.norm(differences, axis=-1) < BULK_TOLERANCE
    same = frozen.numbers[inside][:, None] == frozen.numbers[None]
    return bool((near & same).any(axis=1).all())


def _inverted(atoms: Atoms, centre: np.ndarray, vacuum: float) -> Atoms:
    height = atoms.positions[:, 2] - centre[2]
    above, middle = height > BULK_TOLERANCE, np.abs(height) <= BULK_TOLERANCE
    positions = np.concatenate([atoms.positions[middle | above], 2 * centre - atoms.positions[above]])
    numbers = np.concatenate([atoms.numbers[middle | above], atoms.numbers[above]])
    order = np.argsort(-numbers, kind="stable")
    positions[:, 2] += BASE_HEIGHT - positions[:, 2].min()
    cell = atoms.cell.array.copy()
    cell[2] = [0.0, 0.0, positions[:, 2].max() + vacuum]
    slab = Atoms(numbers=numbers[order], positions=positions[order], cell=cell, pbc=(True, True, False))
    slab.wrap()
    return slab


def _lateral(differences: np.ndarray, cell: np.ndarray) -> np.ndarray:
    fractions = differences[..., :2] @ np.linalg.inv(cell[:2, :2])
    wrapped = differences.copy()
    wrapped[..., :2] -= np.round(fractions) @ cell[:2, :2]
    return wrapped
