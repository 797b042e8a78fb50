"""Local relaxation with a budget of force calls, early reasons to stop and a record of the path."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from ase.optimize import FIRE, LBFGS

from relax.checks import CheckLimits, check_input, check_output
from relax.potential import CountingCalculator

MAX_CALLS: Final = "max_calls"
EXPLODING: Final = "exploding"
LEAVING_WINDOW: Final = "leaving_window"

LONGEST_STEP: Final = 1.0
"""Å; ASE's optimisers refuse more."""

StopCriterion = Callable[[Atoms, float, int], str | None]
"""Given atoms, energy in eV and the number of force calls so far: a reason code to stop, or None."""


class RelaxationSettingsError(ValueError):
    """Relaxation settings outside of what is allowed."""


@dataclass(frozen=True)
class RelaxationSettings:
    """How a structure is relaxed.

    Attributes
    ----------
    fmax : float
        Converged when no free atom's |F| is larger, in eV/Å.
    max_calls : int
        Budget of force calls.
    fire_calls : int
        At most so many of them by FIRE, which bears the violent start better than LBFGS.
    maxstep : float
        Longest step of an atom in Å.
    calm_force : float
        FIRE hands over to LBFGS early once |F| is below this, in eV/Å.
    snapshots : int
        Frames kept of the path besides the last one, densest at its start.
    window : (float, float) or None
        Lowest and highest z in Å of free atoms; beyond it the relaxation stops as `leaving_window`.
    max_rise : float
        Energy in eV above the start at which the relaxation stops as `exploding`.
    push_apart : mapping of str to float
        Distances in Å, per pair of symbols in alphabetical order, to which free atoms are moved apart before the first
        force call; empty for none.
    """

    fmax: float = 0.1
    max_calls: int = 200
    fire_calls: int = 30
    maxstep: float = 0.15
    calm_force: float = 2.0
    snapshots: int = 8
    window: tuple[float, float] | None = None
    max_rise: float = 30.0
    push_apart: dict[str, float] = field(default_factory=lambda: {"O-O": 1.6, "O-Ru": 1.6, "Ru-Ru": 2.2})
    limits: CheckLimits = field(default_factory=CheckLimits)

    def __post_init__(self) -> None:
        for name in ("fmax", "maxstep", "max_rise", "calm_force"):
            if not getattr(self, name) > 0:
                raise RelaxationSettingsError(f"`relaxation.{name}` is {getattr(self, name)} but must be positive")
        if self.maxstep > LONGEST_STEP:
            raise RelaxationSettingsError(f"`relaxation.maxstep` is {self.maxstep} Å but at most {LONGEST_STEP} Å")
        if self.max_calls < 1 or self.fire_calls < 0 or self.snapshots < 0:
            raise RelaxationSettingsError(
                f"`relaxation.max_calls` is {self.max_calls} (at least 1), `fire_calls` {self.fire_calls} and "
                f"`snapshots` {self.snapshots} (at least 0)"
            )


@dataclass(frozen=True)
class RelaxationResult:
    """A relaxation's outcome in plain arrays; equal input gives equal bits.

    Attributes
    ----------
    numbers : numpy.ndarray, shape (n_atoms,)
    positions : numpy.ndarray, shape (n_atoms, 3)
        In Å.
    energy : float
        In eV; NaN if no force call was made or believed.
    max_force : float
        Largest |F| of a free atom in eV/Å; NaN likewise.
    force_calls : int
    converged : bool
    reason : str or None
        Why it did not converge: a code of this module, of `relax.checks`, or of a stop criterion.
    path_positions : numpy.ndarray, shape (n_snapshots, n_atoms, 3)
        In Å; the last frame is not repeated here.
    path_energies : numpy.ndarray, shape (n_snapshots,)
        In eV.
    path_calls : numpy.ndarray, shape (n_snapshots,)
        Force calls made when the snapshot was taken, itself included.
    """

    numbers: np.ndarray
    positions: np.ndarray
    energy: float
    max_force: float
    force_calls: int
    converged: bool
    reason: str | None
    path_positions: np.ndarray
    path_energies: np.ndarray
    path_calls: np.ndarray


class _Stop(Exception):
    """Ends an optimiser from inside; its text is the reason code."""


def relax(
    atoms: Atoms,
    calculator: Calculator,
    settings: RelaxationSettings | None = None,
    criteria: Sequence[StopCriterion] = (),
    known_species: Collection[str] = (),
) -> RelaxationResult:
    """Relax the atoms that no `FixAtoms` holds, first by FIRE, then by LBFGS.

    Parameters
    ----------
    atoms : ase.Atoms
        Not changed.
    calculator : ase.calculators.calculator.Calculator
    settings : RelaxationSettings, optional
    criteria : sequence of StopCriterion
        Asked after every force call.
    known_species : collection of str
        Elements that the potential knows; empty if it does not say.

    Returns
    -------
    RelaxationResult
        A structure that cannot be relaxed is told by `reason`, never by an exception.
    """
    settings = settings or RelaxationSettings()
    atoms = atoms.copy()
    fault = check_input(atoms, known_species, _loose(settings.limits))
    if fault is None:
        push_apart(atoms, settings.push_apart)
        fault = check_input(atoms, known_species, settings.limits)
    counter = calculator if isinstance(calculator, CountingCalculator) else CountingCalculator(calculator)
    follower = _Follower(atoms, counter, settings, criteria)
    if fault is not None:
        return follower.result(fault)
    atoms.calc = counter
    try:
        follower.check()
        if settings.fire_calls:
            _run(FIRE, atoms, follower, max(settings.fmax, settings.calm_force), settings.fire_calls)
        _run(LBFGS, atoms, follower, settings.fmax, settings.max_calls)
    except _Stop as stop:
        return follower.result(str(stop))
    return follower.result(None)


def push_apart(atoms: Atoms, distances: dict[str, float], sweeps: int = 60) -> None:
    """Move free atoms out of each other's way, in place and without a force call.

    Each sweep moves the free atoms of every close pair along their line, half each or one alone if the other is frozen.
    Pairs that coincide part along z, the first atom downwards.
    """
    if not distances:
        return
    free = np.ones(len(atoms), dtype=bool)
    free[frozen_indices(atoms)] = False
    floors = np.zeros((119, 119))
    for pair, distance in distances.items():
        one, two = (atomic_numbers[symbol] for symbol in pair.split("-"))
        floors[one, two] = floors[two, one] = distance
    for _ in range(sweeps):
        first, second, vectors, lengths = neighbor_list("ijDd", atoms, float(floors.max()))
        missing = floors[atoms.numbers[first], atoms.numbers[second]] - lengths
        close = (missing > 1e-6) & free[first]
        if not np.any(close):
            return
        along_z = np.array([0.0, 0.0, 1.0]) * np.where(first < second, 1.0, -1.0)[:, None]
        apart = lengths[:, None] > 1e-6
        directions = np.where(apart, vectors / np.maximum(lengths, 1e-6)[:, None], along_z)
        share = np.where(free[second], 0.5, 1.0)
        steps = -directions * (share * np.minimum(missing, 0.3) * 1.02)[:, None]
        np.add.at(atoms.positions, first[close], steps[close])


def frozen_indices(atoms: Atoms) -> np.ndarray:
    """Indices (n_frozen,) of atoms held by `FixAtoms`, sorted."""
    held = [c.index for c in atoms.constraints if isinstance(c, FixAtoms)]
    return np.unique(np.concatenate([np.asarray(i, dtype=int) for i in held])) if held else np.zeros(0, dtype=int)


def _loose(limits: CheckLimits) -> CheckLimits:
    """Without overlap: that is looked at once the atoms have been pushed apart."""
    return CheckLimits(**{**vars(limits), "overlap": {}, "overlap_otherwise": 0.01})


def _run(optimiser: Any, atoms: Atoms, follower: "_Follower", fmax: float, calls: int) -> None:
    """Step until converged or the calls are used; every new evaluation is checked before the next step."""
    if follower.max_force <= fmax:
        return
    walker = optimiser(atoms, logfile=os.devnull, maxstep=follower.settings.maxstep)
    last = follower.calls + calls
    while follower.calls < last and follower.max_force > fmax:
        if follower.calls >= follower.settings.max_calls:
            raise _Stop(MAX_CALLS)
        walker.step()
        follower.check()


class _Follower:
    """Evaluates, checks and records; the optimiser only moves."""

    def __init__(
        self,
        atoms: Atoms,
        counter: CountingCalculator,
        settings: RelaxationSettings,
        criteria: Sequence[StopCriterion],
    ) -> None:
        self.atoms = atoms
        self.counter = counter
        self.settings = settings
        self.criteria = criteria
        self.first_call = counter.force_calls
        self.free = np.setdiff1d(np.arange(len(atoms)), frozen_indices(atoms))
        self.energy = self.start_energy = self.max_force = np.nan
        self.last_good = atoms.positions.copy()
        self.path: list[tuple[np.ndarray, float, int]] = []
        fraction = np.linspace(0.0, 1.0, settings.snapshots) ** 2.0
        self.wanted = (
            {1 + round(float(x) * (settings.max_calls - 1)) for x in fraction} if settings.snapshots else set()
        )

    @property
    def calls(self) -> int:
        return self.counter.force_calls - self.first_call

    def check(self) -> None:
        """Evaluate the present positions; raises `_Stop` with a reason code if the relaxation must end."""
        fault = check_input(self.atoms, (), self.settings.limits)
        if fault is not None:
            raise _Stop(fault)
        energy = float(self.atoms.get_potential_energy())
        forces = self.atoms.get_forces(apply_constraint=False)
        fault = check_output(energy, forces[self.free], self.settings.limits)
        if fault is not None:
            raise _Stop(fault)
        self._accept(energy, forces)
        if energy > self.start_energy + self.settings.max_rise:
            raise _Stop(EXPLODING)
        if self._outside_window():
            raise _Stop(LEAVING_WINDOW)
        for criterion in self.criteria:
            reason = criterion(self.atoms, energy, self.calls)
            if reason is not None:
                raise _Stop(reason)

    def _accept(self, energy: float, forces: np.ndarray) -> None:
        if not self.calls > 1:
            self.start_energy = energy
        self.energy = energy
        self.max_force = float(np.max(np.linalg.norm(forces[self.free], axis=1), initial=0.0))
        self.last_good = self.atoms.positions.copy()
        if self.calls in self.wanted and (not self.path or self.path[-1][2] != self.calls):
            self.path.append((self.last_good, energy, self.calls))

    def _outside_window(self) -> bool:
        if self.settings.window is None or not len(self.free):
            return False
        heights = self.last_good[self.free, 2]
        return bool(heights.min() < self.settings.window[0] or heights.max() > self.settings.window[1])

    def result(self, reason: str | None) -> RelaxationResult:
        """The record of what was reached, with the last positions whose energy is known."""
        path = [frame for frame in self.path if frame[2] != self.calls]
        return RelaxationResult(
            numbers=self.atoms.numbers.copy(),
            positions=self.last_good,
            energy=float(self.energy),
            max_force=float(self.max_force),
            force_calls=self.calls,
            converged=reason is None and bool(self.max_force <= self.settings.fmax),
            reason=reason,
            path_positions=np.array([p for p, _, _ in path]).reshape(len(path), len(self.atoms), 3),
            path_energies=np.array([e for _, e, _ in path], dtype=float),
            path_calls=np.array([c for _, _, c in path], dtype=int),
        )
