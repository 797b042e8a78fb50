"""Does a surface hold together when it is hot? A potential with holes does not."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from relax.checks import check_input, check_output

TIMESTEP_FS = 2.0
FRICTION_PER_FS = 0.01
LOOK_EVERY = 25
SETTLING = 0.2
"""Share of the time after which the temperature counts"""


@dataclass(frozen=True)
class DynamicsFigures:
    """What became of a slab.

    Attributes
    ----------
    picoseconds : float
        Simulated time; less than asked for if something went wrong.
    temperature : float
        Mean in K, after the first fifth.
    largest_metal_shift : float
        Å, of a metal atom from its place at the start, against the slab's own drift.
    reason : str or None
        Code of `relax.checks` that ended it.
    """

    picoseconds: float
    temperature: float
    largest_metal_shift: float
    reason: str | None


def hot_slab(
    slab: Atoms, calculator: Calculator, temperature: float, picoseconds: float, rng: np.random.Generator
) -> DynamicsFigures:
    """Langevin dynamics of a slab, looked at every 50 fs.

    Parameters
    ----------
    slab : ase.Atoms
        Not changed; without constraints.
    temperature : float
        K.
    picoseconds : float
    rng : numpy.random.Generator
    """
    atoms = slab.copy()
    atoms.calc = calculator
    metal = atoms.numbers != 8
    start = atoms.positions.copy()
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=rng)  # half of it becomes potential energy
    walker = Langevin(
        atoms, TIMESTEP_FS * units.fs, temperature_K=temperature, friction=FRICTION_PER_FS / units.fs, rng=rng
    )
    looks = round(1000 * picoseconds / TIMESTEP_FS / LOOK_EVERY)
    temperatures: list[float] = []
    largest, reason, done = 0.0, None, 0
    for look in range(looks):
        walker.run(LOOK_EVERY)
        done = look + 1
        reason = check_input(atoms) or check_output(atoms.get_potential_energy(), atoms.get_forces())
        if reason is not None:
            break
        shift = atoms.positions - start
        shift -= shift.mean(axis=0)
        largest = max(largest, float(np.linalg.norm(shift[metal], axis=1).max()))
        if done > SETTLING * looks:
            temperatures.append(atoms.get_temperature())
    mean = float(np.mean(temperatures)) if temperatures else float("nan")
    return DynamicsFigures(done * LOOK_EVERY * TIMESTEP_FS / 1000, mean, largest, reason)
