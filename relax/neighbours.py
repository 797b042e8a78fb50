"""Pairs of near atoms, by the cheapest way that is exact."""

import numpy as np
from ase import Atoms

LARGEST_DENSE = 2_000_000
"""Distances that are looked at all at once; beyond, ASE's cells are faster and smaller."""


def near_pairs(atoms: Atoms, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All pairs nearer than `reach` in Å, each from both of its atoms, images counted.

    Returns
    -------
    first, second : numpy.ndarray, shape (n_pairs,)
        Indices, the first rising.
    vectors : numpy.ndarray, shape (n_pairs, 3)
        From the first to the second, in Å.
    distances : numpy.ndarray, shape (n_pairs,)
    """
    lengths = atoms.cell.lengths()
    if atoms.cell.orthorhombic and not np.any(lengths[atoms.pbc] < 2 * reach):
        offsets = atoms.positions[None] - atoms.positions[:, None]  # (n_atoms, n_atoms, 3)
        # no two images of one atom can both be within reach of another
        offsets -= np.where(atoms.pbc, lengths * np.round(offsets / np.where(lengths > 0, lengths, 1.0)), 0.0)
        offsets = offsets[:, :, None]
        itself = np.eye(len(atoms), dtype=bool)[:, :, None]
    else:
        shifts = image_shifts(atoms, reach)
        if len(atoms) ** 2 * len(shifts) > LARGEST_DENSE:
            from ase.neighborlist import neighbor_list  # it loads half of SciPy, and every command reads settings

            return neighbor_list("ijDd", atoms, reach)
        positions = atoms.get_positions(wrap=True)
        offsets = positions[None, :, None] - positions[:, None, None] + shifts  # (n_atoms, n_atoms, n_shifts, 3)
        itself = np.eye(len(atoms), dtype=bool)[:, :, None] & ~shifts.any(axis=1)
    squares = np.einsum("ijsx,ijsx->ijs", offsets, offsets)
    squares[np.broadcast_to(itself, squares.shape)] = np.inf
    first, second, image = np.nonzero(squares < reach**2)
    return first, second, offsets[first, second, image], np.sqrt(squares[first, second, image])


def image_shifts(atoms: Atoms, reach: float) -> np.ndarray:
    """Translations (n, 3) in Å to all images of the cell that may hold neighbours of atoms inside of it."""
    counts = np.zeros(3, dtype=int)
    for axis in np.flatnonzero(atoms.pbc):
        normal = np.cross(atoms.cell[axis - 2], atoms.cell[axis - 1])
        height = abs(atoms.cell[axis] @ normal) / np.linalg.norm(normal)
        counts[axis] = int(np.ceil(reach / height))
    steps = np.meshgrid(*(np.arange(-n, n + 1) for n in counts), indexing="ij")
    return np.stack(steps, axis=-1).reshape(-1, 3) @ atoms.cell.array
