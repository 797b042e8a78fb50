"""Does a minimum stay where it is at a temperature? Short dynamics, then down to the next minimum."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from relax.checks import check_input, check_output
from relax.overlaps import frozen_indices
from relax.potential import CountingCalculator
from relax.relaxation import relax
from relax.relaxation_settings import RelaxationSettings
from relax.stopping import leaving_window


class DynamicsSettingsError(ValueError):
    """Settings of dynamics outside of what is allowed."""


@dataclass(frozen=True)
class DynamicsSettings:
    """How a structure is shaken.

    Attributes
    ----------
    temperature : float
        K
    picoseconds : float
        How long.
    timestep : float
        fs; oxygen on an oxide vibrates with periods of 40 fs and more.
    friction : float
        Of the Langevin thermostat in 1/fs.
    """

    temperature: float = 500.0
    picoseconds: float = 1.0
    timestep: float = 2.0
    friction: float = 0.02

    def __post_init__(self) -> None:
        for name in ("temperature", "picoseconds", "timestep", "friction"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise DynamicsSettingsError(f"`{name}` is {getattr(self, name)} but must be positive and finite")
        if self.timestep > 1000.0 * self.picoseconds:
            raise DynamicsSettingsError(
                f"`picoseconds` is {self.picoseconds} ps, less than one time step of {self.timestep} fs"
            )

    @property
    def steps(self) -> int:
        return round(1000.0 * self.picoseconds / self.timestep)


@dataclass(frozen=True)
class DynamicsResult:
    """What became of a structure.

    Attributes
    ----------
    positions : numpy.ndarray, shape (n_atoms, 3)
        Å, of the minimum below the last step; of the last believable step if something went wrong.
    energy : float
        eV of that minimum; NaN if there is none.
    mean_temperature : float
        K over the second half of the steps; NaN if it did not come so far.
    force_calls : int
    reason : str or None
        Why it ended early, or why no minimum was found: a code of `relax.checks` or `relax.relaxation`.
    """

    positions: np.ndarray
    energy: float
    mean_temperature: float
    force_calls: int
    reason: str | None


def shake(
    atoms: Atoms,
    calculator: Calculator,
    settings: DynamicsSettings,
    relaxation: RelaxationSettings,
    rng: np.random.Generator,
    known_species: Collection[str] = (),
) -> DynamicsResult:
    """Langevin dynamics of the atoms that no `FixAtoms` holds, then a relaxation.

    Parameters
    ----------
    atoms : ase.Atoms
        A minimum; not changed.
    calculator : ase.calculators.calculator.Calculator
    settings : DynamicsSettings
    relaxation : RelaxationSettings
        Its `window` bounds the free atoms while they move, its `limits` what is believed.
    rng : numpy.random.Generator
    known_species : collection of str
        Elements that the potential knows; empty if it does not say.

    Returns
    -------
    DynamicsResult
        A structure that falls apart is told by `reason`, never by an exception.
    """
    atoms = atoms.copy()
    counter = calculator if isinstance(calculator, CountingCalculator) else CountingCalculator(calculator)
    before, good = counter.force_calls, atoms.positions.copy()
    reason = check_input(atoms, known_species, relaxation.limits)
    temperatures: list[float] = []
    if reason is None:
        atoms.calc = counter
        MaxwellBoltzmannDistribution(atoms, temperature_K=settings.temperature, rng=rng)
        thermostat = Langevin(
            atoms,
            settings.timestep * units.fs,
            temperature_K=settings.temperature,
            friction=settings.friction / units.fs,
            fixcm=False,  # the frozen layers hold the slab
            rng=rng,
        )
        for _ in range(settings.steps):
            thermostat.step()
            reason = _fault(atoms, relaxation)
            if reason is not None:
                break
            good = atoms.positions.copy()
            temperatures.append(_temperature(atoms))
    atoms.positions = good
    mean = float(np.mean(temperatures[settings.steps // 2 :])) if len(temperatures) == settings.steps else np.nan
    if reason is not None:
        return DynamicsResult(good, np.nan, mean, counter.force_calls - before, reason)
    calmed = relax(atoms, counter, relaxation, (), known_species)
    reason = None if calmed.converged else calmed.reason or "not_converged"
    return DynamicsResult(calmed.positions, calmed.energy, mean, counter.force_calls - before, reason)


def _fault(atoms: Atoms, relaxation: RelaxationSettings) -> str | None:
    fault = check_input(atoms, (), relaxation.limits)
    if fault is not None:
        return fault
    free = np.setdiff1d(np.arange(len(atoms)), frozen_indices(atoms))
    fault = check_output(
        float(atoms.get_potential_energy()), atoms.get_forces(apply_constraint=False)[free], relaxation.limits
    )
    if fault is not None or relaxation.window is None:
        return fault
    return leaving_window(*relaxation.window)(atoms, 0.0, 1)


def _temperature(atoms: Atoms) -> float:
    """K of the atoms that move."""
    n_free = len(atoms) - len(frozen_indices(atoms))
    return float(2.0 * atoms.get_kinetic_energy() / (3.0 * n_free * units.kB)) if n_free else 0.0
