"""How far labeller and potential are from density functional theory on cells that nobody was fitted to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from relax.labelling.frames import ENERGY_KEY, FORCES_KEY


@dataclass(frozen=True)
class Distance:
    """Deviations from density functional theory.

    Attributes
    ----------
    frames : int
    energy_rmse : float
        eV/atom, after one constant per element, since atomic references differ; NaN if the frames are too few to tell
        those constants.
    force_rmse : float
        eV/Å per component.
    force_rms : float
        eV/Å: the DFT forces themselves.
    """

    frames: int
    energy_rmse: float
    force_rmse: float
    force_rms: float


def distance_from_dft(dft: Sequence[Atoms], energies: Sequence[float], forces: Sequence[np.ndarray]) -> Distance:
    """Compare a method with DFT on the same frames.

    Parameters
    ----------
    dft : sequence of ase.Atoms
        Labelled frames, see `relax.labelling.frames`.
    energies : sequence of float
        eV, of the method.
    forces : sequence of numpy.ndarray, each of shape (n_atoms, 3)
        eV/Å, of the method.
    """
    sizes = np.array([len(atoms) for atoms in dft])
    differences = np.array([e - a.info[ENERGY_KEY] for e, a in zip(energies, dft, strict=True)])
    elements = sorted({int(z) for atoms in dft for z in atoms.numbers})
    counts = np.array([[np.count_nonzero(a.numbers == z) for z in elements] for a in dft], dtype=float)
    energy_rmse = float("nan")
    if len(dft) > 3 * len(elements) and np.linalg.matrix_rank(counts) == len(elements):
        constants = np.linalg.lstsq(counts / sizes[:, None], differences / sizes, rcond=None)[0]
        left = (differences - counts @ constants) / sizes
        energy_rmse = float(np.sqrt(np.sum(left**2) / (len(dft) - len(elements))))
    reference = np.concatenate([a.arrays[FORCES_KEY].ravel() for a in dft])
    errors = np.concatenate([np.ravel(f) for f in forces]) - reference
    return Distance(len(dft), energy_rmse, float(np.sqrt(np.mean(errors**2))), float(np.sqrt(np.mean(reference**2))))


def distance_of_labels(dft: Sequence[Atoms], labels: Mapping[str, Atoms]) -> Distance:
    """The same for a labeller, whose labels are found by family; every family has one frame."""
    found = [labels[str(atoms.info["family"])] for atoms in dft]
    return distance_from_dft(dft, [a.info[ENERGY_KEY] for a in found], [a.arrays[FORCES_KEY] for a in found])
