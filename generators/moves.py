"""Random moves of a slab's atoms, and oxygen inserted or removed.

Delocalized internal coordinates follow Baker, Kessi and Delley, J. Chem. Phys. 105, 192 (1996), their use for moves of
a global search Panosetti, Krautgasser, Palagin, Reuter and Maurer, Nano Lett. 15, 8044 (2015). Only stretches are
taken: in a close-packed oxide they span all that atoms can do against each other.

Everything here is a pure function of arrays and a generator. Cells are orthorhombic, periodic along x and y.
"""

from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii
from matscipy.neighbours import neighbour_list

OXYGEN = 8
BOND_REACH = 2.5
"""Å beyond the sum of two covalent radii within which a pair counts as bonded; wide, so that no atom stands alone."""
FLAT_MODE = 1e-8
"""Eigenvalues of BᵀB below this share of the largest belong to motions that change no bond."""
SITES_AT_ONCE = 512
SITE_BATCHES = 16


class MoveError(ValueError):
    """Arguments of a move that cannot work."""


@dataclass(frozen=True)
class Bonds:
    """Pairs of near atoms, each image once.

    Attributes
    ----------
    first, second : numpy.ndarray, shape (n_bonds,)
        Indices of atoms, ``first < second``; an atom and its own image are no bond, since no motion changes it.
    vectors : numpy.ndarray, shape (n_bonds, 3)
        From the first atom to the image of the second in Å.
    """

    first: np.ndarray
    second: np.ndarray
    vectors: np.ndarray


def find_bonds(numbers: np.ndarray, positions: np.ndarray, lengths: np.ndarray, reach: float = BOND_REACH) -> Bonds:
    """Pairs nearer than the sum of their covalent radii and `reach`.

    Parameters
    ----------
    numbers : array, shape (n_atoms,)
    positions : array, shape (n_atoms, 3)
        In Å.
    lengths : array, shape (3,)
        Cell lengths in Å.
    reach : float
        In Å.
    """
    first, second, vectors = neighbour_list(
        "ijD",
        cutoff=covalent_radii[numbers] + reach / 2,
        positions=positions,
        cell=np.diag(lengths),
        pbc=(True, True, False),
        numbers=numbers.astype(np.int32),
    )
    once = first < second
    return Bonds(first[once], second[once], vectors[once])


def stretch_matrix(bonds: Bonds, moving: np.ndarray, n_atoms: int) -> np.ndarray:
    """Wilson's B for stretches: derivative of each bond's length by the coordinates of the moving atoms.

    Parameters
    ----------
    bonds : Bonds
    moving : array, shape (n_moving,)
        Indices of atoms, rising.
    n_atoms : int

    Returns
    -------
    numpy.ndarray, shape (n_bonds, 3 n_moving)
        Per bond the unit vector from the first to the second atom at the second, its negative at the first; zero for
        atoms that do not move.

    Raises
    ------
    MoveError
        If two bonded atoms coincide.
    """
    distances = np.linalg.norm(bonds.vectors, axis=1)
    if np.any(distances < 1e-6):
        raise MoveError("`bonds` hold two atoms in one place, whose stretch has no direction")
    units = bonds.vectors / distances[:, None]  # (n_bonds, 3)
    matrix = np.zeros((len(units), n_atoms, 3))
    rows = np.arange(len(units))
    matrix[rows, bonds.second] = units
    matrix[rows, bonds.first] = -units
    return matrix[:, moving].reshape(len(units), 3 * len(moving))


def delocalized_modes(matrix: np.ndarray) -> np.ndarray:
    """Cartesian displacements of the delocalized coordinates: eigenvectors of BᵀB that change a bond.

    Parameters
    ----------
    matrix : array, shape (n_bonds, 3 n_moving)

    Returns
    -------
    numpy.ndarray, shape (n_modes, 3 n_moving)
        By rising eigenvalue, each with a largest component of 1.
    """
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    modes = vectors.T[values > FLAT_MODE * max(values[-1], 1e-300)]
    largest = np.take_along_axis(modes, np.abs(modes).argmax(axis=1)[:, None], axis=1)  # (n_modes, 1)
    return modes / largest


def delocalized_move(
    numbers: np.ndarray,
    positions: np.ndarray,
    lengths: np.ndarray,
    moving: np.ndarray,
    rng: np.random.Generator,
    step: float = 1.2,
    fraction: float = 0.25,
) -> np.ndarray:
    """Displace atoms along a random combination of delocalized internal coordinates.

    Parameters
    ----------
    numbers : array, shape (n_atoms,)
    positions : array, shape (n_atoms, 3)
        In Å.
    lengths : array, shape (3,)
        Cell lengths in Å.
    moving : array, shape (n_moving,)
        Indices of the displacement layer.
    rng : numpy.random.Generator
    step : float
        Largest Cartesian component of the displacement in Å.
    fraction : float
        Share of the modes that is drawn, at least one.

    Returns
    -------
    numpy.ndarray, shape (n_atoms, 3)
        New positions in Å.

    Raises
    ------
    MoveError
        If nothing may move, no bond reaches a moving atom, or `step` or `fraction` is out of range.
    """
    moving = _checked(moving, step)
    if not 0.0 < fraction <= 1.0:
        raise MoveError(f"`fraction` is {fraction} but must be above 0 and at most 1")
    modes = delocalized_modes(stretch_matrix(find_bonds(numbers, positions, lengths), moving, len(numbers)))
    if not len(modes):
        raise MoveError("`moving` names atoms without any bond: they stand alone in the cell")
    chosen = rng.choice(len(modes), size=max(1, round(fraction * len(modes))), replace=False)
    displacement = rng.uniform(-1.0, 1.0, size=len(chosen)) @ modes[chosen]
    return _displaced(positions, moving, displacement, step)


def cartesian_move(
    positions: np.ndarray, moving: np.ndarray, rng: np.random.Generator, step: float = 1.2
) -> np.ndarray:
    """Displace each coordinate of the moving atoms at random; the plain alternative to `delocalized_move`.

    Parameters
    ----------
    positions : array, shape (n_atoms, 3)
        In Å.
    moving : array, shape (n_moving,)
    rng : numpy.random.Generator
    step : float
        Largest Cartesian component of the displacement in Å.

    Returns
    -------
    numpy.ndarray, shape (n_atoms, 3)
        New positions in Å.

    Raises
    ------
    MoveError
        If nothing may move or `step` is not positive.
    """
    moving = _checked(moving, step)
    return _displaced(positions, moving, rng.uniform(-1.0, 1.0, size=3 * len(moving)), step)


def insert_oxygen(
    numbers: np.ndarray,
    positions: np.ndarray,
    lengths: np.ndarray,
    heights: tuple[float, float],
    rng: np.random.Generator,
    o_o_min: float = 2.2,
    metal_o_range: tuple[float, float] = (1.6, 2.4),
) -> tuple[np.ndarray, np.ndarray] | None:
    """Add an oxygen atom at a random site within reach of a metal atom.

    Parameters
    ----------
    numbers : array, shape (n_atoms,)
    positions : array, shape (n_atoms, 3)
        In Å.
    lengths : array, shape (3,)
        Cell lengths in Å.
    heights : (float, float)
        Lowest and highest z in Å.
    rng : numpy.random.Generator
    o_o_min : float
        Least distance in Å from any other oxygen.
    metal_o_range : (float, float)
        Allowed distance in Å from the nearest metal atom.

    Returns
    -------
    tuple of numpy.ndarray, shapes (n_atoms + 1,) and (n_atoms + 1, 3), or None
        The new atom last; None if no site was found.

    Raises
    ------
    MoveError
        If `heights` is empty.
    """
    if not heights[1] > heights[0]:
        raise MoveError(f"`heights` is {heights} Å but the second must be above the first")
    numbers, positions, lateral = np.asarray(numbers), np.asarray(positions, dtype=float), np.asarray(lengths)[:2]
    oxygen = numbers == OXYGEN
    for _ in range(SITE_BATCHES):
        sites = rng.uniform((0.0, 0.0, heights[0]), (*lateral, heights[1]), size=(SITES_AT_ONCE, 3))
        from_oxygen = _nearest(sites, positions[oxygen], lateral)
        from_metal = _nearest(sites, positions[~oxygen], lateral)
        free = (from_oxygen >= o_o_min) & (from_metal >= metal_o_range[0]) & (from_metal <= metal_o_range[1])
        if free.any():
            return np.append(numbers, OXYGEN), np.vstack([positions, sites[free.argmax()]])
    return None


def remove_oxygen(
    numbers: np.ndarray, positions: np.ndarray, removable: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Take away one of the removable oxygen atoms.

    Parameters
    ----------
    numbers : array, shape (n_atoms,)
    positions : array, shape (n_atoms, 3)
        In Å.
    removable : array of int
        Indices of atoms that may go; those that are no oxygen stay.
    rng : numpy.random.Generator

    Returns
    -------
    tuple of numpy.ndarray, shapes (n_atoms - 1,) and (n_atoms - 1, 3), or None
        None if there is none to remove.
    """
    numbers, positions, removable = np.asarray(numbers), np.asarray(positions), np.asarray(removable, dtype=int)
    oxygen = removable[numbers[removable] == OXYGEN]
    if not len(oxygen):
        return None
    gone = int(rng.choice(oxygen))
    return np.delete(numbers, gone), np.delete(positions, gone, axis=0)


def relocate_oxygen(
    numbers: np.ndarray,
    positions: np.ndarray,
    lengths: np.ndarray,
    removable: np.ndarray,
    heights: tuple[float, float],
    rng: np.random.Generator,
    o_o_min: float = 2.2,
    metal_o_range: tuple[float, float] = (1.6, 2.4),
    least: float = 1.5,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Take an oxygen atom away and put it down elsewhere: sites lie farther apart than a displacement reaches.

    Parameters
    ----------
    numbers, positions, lengths, removable, heights, rng, o_o_min, metal_o_range
        As for `remove_oxygen` and `insert_oxygen`.
    least : float
        Shortest way in Å between the old and the new place.

    Returns
    -------
    tuple of numpy.ndarray, shapes (n_atoms,) and (n_atoms, 3), or None
        The relocated atom last; None if there is none to relocate, or no site was found.
    """
    numbers, positions, removable = np.asarray(numbers), np.asarray(positions), np.asarray(removable, dtype=int)
    oxygen = removable[numbers[removable] == OXYGEN]
    if not len(oxygen):
        return None
    gone = int(rng.choice(oxygen))
    left = np.delete(numbers, gone), np.delete(positions, gone, axis=0)
    placed = insert_oxygen(*left, lengths, heights, rng, o_o_min, metal_o_range)
    if placed is None or _nearest(placed[1][-1:], positions[[gone]], np.asarray(lengths)[:2])[0] < least:
        return None
    return placed


def _checked(moving: np.ndarray, step: float) -> np.ndarray:
    moving = np.unique(np.asarray(moving, dtype=int))
    if not len(moving):
        raise MoveError("`moving` is empty: no atom may be displaced; is the displacement layer too thin?")
    if not step > 0.0:
        raise MoveError(f"`step` is {step} Å but must be positive")
    return moving


def _displaced(positions: np.ndarray, moving: np.ndarray, displacement: np.ndarray, step: float) -> np.ndarray:
    moved = np.array(positions, dtype=float)
    moved[moving] += (displacement * (step / np.abs(displacement).max())).reshape(-1, 3)
    return moved


def _nearest(sites: np.ndarray, others: np.ndarray, lateral: np.ndarray) -> np.ndarray:
    """Distance in Å from each site (n_sites, 3) to the nearest image of any other atom; infinite if there is none."""
    if not len(others):
        return np.full(len(sites), np.inf)
    offsets = sites[:, None] - others[None]  # (n_sites, n_others, 3)
    offsets[..., :2] -= lateral * np.round(offsets[..., :2] / lateral)
    return np.sqrt(np.einsum("soi,soi->so", offsets, offsets).min(axis=1))
