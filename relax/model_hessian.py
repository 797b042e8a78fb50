"""A Hessian made of bond stretches, which a quasi-Newton method starts from instead of a multiple of the unit matrix.

Lindh, Bernhardsson, Karlström and Malmqvist, Chem. Phys. Lett. 241, 423 (1995); only its stretches are taken, since in
a close-packed oxide they span almost all that atoms can do against each other.
"""

from typing import Final

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree
from matscipy.neighbours import neighbour_list

STRETCH: Final = 0.45 * Hartree / Bohr**2
"""eV/Å², the published force constant at the reference distance."""
SOFTENING: Final = 0.5
"""Of the published constants, which are of molecules: with one half the largest eigenvalues of relaxed RuO2(110), 38
eV/Å² without and 84 eV/Å² with terminal oxygen, are met."""
REST: Final = 2.0
"""eV/Å² for what changes no bond's length."""
REFERENCE: Final = np.array([[1.35, 2.10, 2.53], [2.10, 2.87, 3.40], [2.53, 3.40, 3.40]]) * Bohr
"""Å, by the rows of the periodic table of both atoms, all beyond the third counted as the third."""
DECAY: Final = np.array([[1.0, 0.3949, 0.3949], [0.3949, 0.28, 0.28], [0.3949, 0.28, 0.28]]) / Bohr**2
REACH: Final = 4.0
"""Å; at larger distances a stretch is softer than 1 % of `REST`."""
LARGEST: Final = 100.0
"""eV/Å²; above it atoms overlap and the model means nothing."""


def stretch_hessian(atoms: Atoms, free: np.ndarray) -> np.ndarray:
    """Second derivatives of the energy by the free atoms' coordinates, as the model has them.

    Parameters
    ----------
    atoms : ase.Atoms
    free : array, shape (n_free,)
        Indices of atoms.

    Returns
    -------
    numpy.ndarray, shape (3 n_free, 3 n_free)
        In eV/Å², symmetric and positive definite.
    """
    n_free = len(free)
    place = np.full(len(atoms), -1)
    place[free] = np.arange(n_free)
    rows = np.searchsorted((2, 10), atoms.numbers, side="left")  # 0 for H and He, 1 for the second row, 2 beyond
    first, second, vectors, distances = neighbour_list("ijDd", atoms, REACH)
    kinds = rows[first], rows[second]
    constants = SOFTENING * STRETCH * np.exp(DECAY[kinds] * (REFERENCE[kinds] ** 2 - distances**2))
    units = vectors / np.maximum(distances, 1e-6)[:, None]
    blocks = np.minimum(constants, LARGEST)[:, None, None] * units[:, :, None] * units[:, None, :]  # (n_pairs, 3, 3)
    hessian = np.zeros((n_free, n_free, 3, 3))
    own, other = place[first], place[second]
    np.add.at(hessian, (own[own >= 0], own[own >= 0]), blocks[own >= 0])
    both = (own >= 0) & (other >= 0)
    np.subtract.at(hessian, (own[both], other[both]), blocks[both])
    return hessian.transpose(0, 2, 1, 3).reshape(3 * n_free, 3 * n_free) + REST * np.eye(3 * n_free)
