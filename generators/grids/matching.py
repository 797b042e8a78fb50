"""How well atoms that were found agree with those that were there."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from generators.grids.spec import GridSpec

MATCH_DISTANCE = 0.5
"""Å; atoms of one species farther apart than this are not the same atom."""


@dataclass(frozen=True)
class Agreement:
    """Found atoms against true ones.

    Attributes
    ----------
    n_true, n_found : int
    distances : numpy.ndarray, shape (n_matched,)
        Å, from each matched true atom to its partner.
    """

    n_true: int
    n_found: int
    distances: np.ndarray

    @property
    def recall(self) -> float:
        """Share of the true atoms that were found."""
        return len(self.distances) / self.n_true if self.n_true else 1.0

    @property
    def precision(self) -> float:
        """Share of the found atoms that are true."""
        return len(self.distances) / self.n_found if self.n_found else 1.0

    @property
    def rmsd(self) -> float:
        """Root mean square distance of the matched atoms in Å, NaN without any."""
        return float(np.sqrt(np.mean(self.distances**2))) if len(self.distances) else float("nan")

    @property
    def max_error(self) -> float:
        """Largest distance of matched atoms in Å, NaN without any."""
        return float(self.distances.max()) if len(self.distances) else float("nan")

    @classmethod
    def over(cls, parts: "list[Agreement]") -> "Agreement":
        """All structures together."""
        distances = np.concatenate([part.distances for part in parts]) if parts else np.empty(0)
        return cls(sum(part.n_true for part in parts), sum(part.n_found for part in parts), distances)


def separations(positions: np.ndarray, others: np.ndarray, spec: GridSpec) -> np.ndarray:
    """Distances (n, m) in Å between the nearest images of positions (n, 3) and others (m, 3) in a grid's box."""
    squares = np.zeros((len(positions), len(others)))
    for axis in range(3):
        offsets = positions[:, None, axis] - others[None, :, axis]
        if spec.periodic[axis]:
            offsets -= spec.lengths[axis] * np.rint(offsets / spec.lengths[axis])
        squares += offsets * offsets
    return np.sqrt(squares)


def agreement(
    true: tuple[np.ndarray, np.ndarray],
    found: tuple[np.ndarray, np.ndarray],
    spec: GridSpec,
    distance: float = MATCH_DISTANCE,
) -> Agreement:
    """Pair found with true atoms: the same species, within `distance`, each at most once, in all as near as can be.

    Parameters
    ----------
    true, found : (numbers, positions)
        Atomic numbers (n,) and positions (n, 3) in Å.
    spec : GridSpec
        Box and periodicity.
    distance : float
        Å

    Returns
    -------
    Agreement
    """
    matched = []
    for number in np.unique(true[0]):
        pairs = separations(true[1][true[0] == number], found[1][found[0] == number], spec)
        # a pair beyond reach costs more than all others together, so that it never displaces one within
        rows, columns = linear_sum_assignment(np.where(pairs <= distance, pairs, distance * (1 + pairs.size)))
        best = pairs[rows, columns]
        matched.append(best[best <= distance])
    return Agreement(len(true[0]), len(found[0]), np.concatenate(matched) if matched else np.empty(0))
