"""Einstein's model of a solid: every atom swings for itself in the field of the others, which rest."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.thermochemistry import HarmonicThermo

from relax.potential import CountingCalculator

DISPLACEMENT = 0.01
"""Å"""


def einstein_energies(
    atoms: Atoms, indices: Sequence[int] | np.ndarray, calculator: Calculator, displacement: float = DISPLACEMENT
) -> np.ndarray:
    """Energies ħω of the three vibrations of single atoms, by central differences of forces.

    Parameters
    ----------
    atoms : ase.Atoms
        A minimum; not changed. Constraints are left aside.
    indices : sequence of int, length n
        Atoms to displace.
    calculator : ase.calculators.calculator.Calculator
        Called six times per atom.
    displacement : float
        Å

    Returns
    -------
    numpy.ndarray, shape (n, 3)
        In eV, rising; an imaginary ω, where the atom is at no minimum, is given as a negative number.

    Notes
    -----
    The periodic images of an atom move with it, so that a cell must be larger than the reach of the forces.
    """
    from ase.vibrations.data import VibrationsData  # loads matplotlib, which no other command is to wait for

    moved = atoms.copy()
    moved.set_constraint()
    moved.calc = calculator if isinstance(calculator, CountingCalculator) else CountingCalculator(calculator)
    energies = np.zeros((len(indices), 3))
    for row, index in enumerate(indices):
        block = np.zeros((3, 3))  # eV/Å²
        for axis in range(3):
            forces = []
            for sign in (1.0, -1.0):
                moved.positions = atoms.positions
                moved.positions[index, axis] += sign * displacement
                forces.append(moved.get_forces()[index])
            block[axis] = (forces[1] - forces[0]) / (2.0 * displacement)
        swinging = VibrationsData.from_2d(atoms, (block + block.T) / 2.0, indices=[int(index)])
        complex_energies = swinging.get_energies()
        energies[row] = np.sort(complex_energies.real - complex_energies.imag)
    return energies


def free_energies(energies: np.ndarray, temperature: float) -> np.ndarray:
    """Helmholtz free energy of independent oscillators, zero-point energy included, by ASE's `HarmonicThermo`.

    Parameters
    ----------
    energies : array, shape (n, 3)
        ħω in eV, all positive.
    temperature : float
        K, positive.

    Returns
    -------
    numpy.ndarray, shape (n,)
        In eV per atom.

    Raises
    ------
    ValueError
        If an energy or the temperature is not positive.
    """
    if not temperature > 0.0 or not (np.asarray(energies) > 0.0).all():
        raise ValueError(f"`temperature` is {temperature} K; it and all energies must be positive")
    return np.array([HarmonicThermo(list(row)).get_helmholtz_energy(temperature, verbose=False) for row in energies])
