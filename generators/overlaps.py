"""Decoded atoms that stand a little too close are pushed apart, as little as possible."""

from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers

from generators.template import Template

MARGIN = 0.01
"""Å beyond the shortest distance that a pair is pushed to, so that rounding does not undo it."""
LARGEST_SHIFT = 0.35
"""Å that one atom may be moved in all: about the error of a sampled grid's atom, and less than half a bond's length
apart from the next site, so that a push mends a place and never makes another structure."""
MAX_SWEEPS = 60


class DistanceTable:
    """Shortest distances by pair of elements.

    Parameters
    ----------
    min_distances : mapping of str to float
        Å per pair, such as ``{"O-O": 2.2, "Ru-O": 1.6, "Ru-Ru": 2.3}``, in either order.
    """

    def __init__(self, min_distances: Mapping[str, float]) -> None:
        self._table: dict[frozenset[int], float] = {}
        for pair, distance in min_distances.items():
            first, second = pair.split("-")
            self._table[frozenset((atomic_numbers[first], atomic_numbers[second]))] = float(distance)

    def between(self, numbers: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Least distances (n, m) in Å; 0 for a pair that has none."""
        kinds, columns = np.unique(numbers), np.unique(others)
        table = np.array([[self._table.get(frozenset((int(a), int(b))), 0.0) for b in columns] for a in kinds])
        if table.size == 0:
            return np.zeros((len(numbers), len(others)))
        return table[np.searchsorted(kinds, numbers)[:, None], np.searchsorted(columns, others)[None, :]]


def push_apart(numbers: np.ndarray, positions: np.ndarray, template: Template, least: DistanceTable) -> np.ndarray:
    """Move free atoms until no pair is nearer than it may be.

    Every pair that is too near is moved apart along its axis, both atoms by half of what is missing and a free atom by
    all of it if the other is frozen; this is repeated until no pair is left (projection onto one constraint after
    another, as in position-based dynamics, Müller et al., J. Vis. Commun. Image R. 18, 109 (2007)).

    Parameters
    ----------
    numbers : array, shape (n,)
    positions : array, shape (n, 3)
        Å, in the template's frame.
    template : Template
    least : DistanceTable

    Returns
    -------
    numpy.ndarray, shape (n, 3)
        The positions as they were if pushing does not settle, or would move an atom by more than `LARGEST_SHIFT`: such
        a structure is left to the checks that reject it.
    """
    moved = np.array(positions, dtype=float)
    n = len(moved)
    if n == 0:
        return moved
    everything = np.concatenate([numbers, template.frozen_numbers])
    wanted = least.between(numbers, everything)
    wanted[np.arange(n), np.arange(n)] = 0.0
    share = np.where(np.arange(len(everything)) < n, 0.5, 1.0)
    lateral = np.asarray(template.cell[:2])
    for _ in range(MAX_SWEEPS):
        offsets = moved[:, None] - np.concatenate([moved, template.frozen_positions])[None]  # (n, n + n_frozen, 3)
        offsets[..., :2] -= lateral * np.round(offsets[..., :2] / lateral)
        distances = np.sqrt(np.einsum("ijk,ijk->ij", offsets, offsets))
        missing = np.where(distances < wanted, wanted + MARGIN - distances, 0.0)
        if not missing.any():
            return moved
        directions = offsets / np.maximum(distances, 1e-9)[..., None]
        moved += np.einsum("ij,ijk->ik", share * missing, directions)
        if np.linalg.norm(moved - positions, axis=1).max() > LARGEST_SHIFT:
            break
    return np.array(positions, dtype=float)
