"""The stop criterion of a hop that relaxes back to where it came from."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from relax.relaxation import StopCriterion

FELL_BACK = "fell_back"


def falling_back(positions: Sequence[Sequence[float]], distance: float) -> StopCriterion:
    """Stop once every free atom is back where it was.

    Parameters
    ----------
    positions : sequence, shape (n_free, 3)
        Of the minimum's free atoms in Å, in the order of the structure's last atoms.
    distance : float
        In Å.
    """
    minimum = np.array(positions, dtype=float).reshape(-1, 3)

    def criterion(atoms: Atoms, energy: float, calls: int) -> str | None:
        way = atoms.positions[len(atoms) - len(minimum) :] - minimum  # (n_free, 3)
        way[:, :2] -= atoms.cell.lengths()[:2] * np.round(way[:, :2] / atoms.cell.lengths()[:2])
        return FELL_BACK if np.linalg.norm(way, axis=1).max(initial=0.0) <= distance else None

    return criterion
