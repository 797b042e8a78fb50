"""Local relaxation with a budget of force calls, early reasons to stop and a record of the path."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from relax.checks import CheckLimits, check_input
from relax.optimisers import OPTIMISERS, OptimiserName, make_optimiser
from relax.overlaps import frozen_indices, push_apart
from relax.potential import CountingCalculator
from relax.stopping import exploding, leaving_window
from relax.watching import CONVERGED, RelaxationEnds, StopCriterion, Watch

__all__ = ["RelaxationResult", "RelaxationSettings", "RelaxationSettingsError", "StopCriterion", "relax"]

OPTIMISER_FAILED: Final = "optimiser_failed"
STIFFEST: Final = 200.0
"""eV/Å², stiffer than any bond. A step as short as if one were stiffer means that the optimiser's Hessian has gone
wrong, as it does where the curvature changes its sign; it begins anew."""
LONGEST_STEP: Final = 1.0
"""Å; ASE's optimisers refuse more."""


class RelaxationSettingsError(ValueError):
    """Relaxation settings outside of what is allowed."""


@dataclass(frozen=True)
class RelaxationSettings:
    """How a structure is relaxed.

    Attributes
    ----------
    fmax : float
        Converged when no free atom's force is larger, in eV/Å.
    max_calls : int
        Budget of force calls.
    optimiser : str
        One of `relax.optimisers.OPTIMISERS`; ``by_size`` takes BFGS with a model Hessian for few free atoms and
        preconditioned LBFGS for many.
    fire_calls : int
        At most so many force calls by FIRE first, while the largest force is above `calm_force`.
    calm_force : float
        In eV/Å.
    maxstep : float
        Longest step of an atom in Å.
    snapshots : int
        Frames kept of the path besides the last one, densest at its start.
    window : (float, float) or None
        Lowest and highest z in Å of free atoms; beyond it the relaxation stops as `leaving_window`.
    max_rise : float or None
        Energy in eV above the start at which the relaxation stops as `exploding`.
    push_apart : mapping of str to float
        Distances in Å, per pair of symbols in alphabetical order, to which free atoms are moved apart before the first
        force call; empty for none.
    """

    fmax: float = 0.05
    max_calls: int = 200
    optimiser: OptimiserName = "by_size"
    fire_calls: int = 0
    calm_force: float = 10.0
    maxstep: float = 0.15
    snapshots: int = 8
    window: tuple[float, float] | None = None
    max_rise: float | None = 30.0
    push_apart: dict[str, float] = field(default_factory=lambda: {"O-O": 1.6, "O-Ru": 1.6, "Ru-Ru": 2.2})
    limits: CheckLimits = field(default_factory=CheckLimits)

    def __post_init__(self) -> None:
        for name in ("fmax", "maxstep", "calm_force", "max_rise"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise RelaxationSettingsError(f"`relaxation.{name}` is {value} but must be positive")
        if self.optimiser not in OPTIMISERS:
            raise RelaxationSettingsError(
                f"`relaxation.optimiser` is {self.optimiser!r} but must be one of {OPTIMISERS}"
            )
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
        Largest force of a free atom in eV/Å; NaN likewise.
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


def relax(
    atoms: Atoms,
    calculator: Calculator,
    settings: RelaxationSettings | None = None,
    criteria: Sequence[StopCriterion] = (),
    known_species: Collection[str] = (),
) -> RelaxationResult:
    """Relax the atoms that no `FixAtoms` holds: apart if they overlap, by FIRE while forces are violent, then to fmax.

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
    free = np.setdiff1d(np.arange(len(atoms)), frozen_indices(atoms))
    watch = Watch(
        counter,
        free,
        settings.fmax,
        settings.max_calls,
        settings.snapshots,
        settings.limits,
        [*_own_criteria(settings), *criteria],
    )
    reason = fault or _optimise(atoms, free, watch, settings)
    return _result(atoms, watch, reason)


def _loose(limits: CheckLimits) -> CheckLimits:
    """Without overlap: that is looked at once the atoms have been pushed apart."""
    return CheckLimits(**{**vars(limits), "overlap": {}, "overlap_otherwise": 0.01})


def _own_criteria(settings: RelaxationSettings) -> list[StopCriterion]:
    criteria = [] if settings.max_rise is None else [exploding(settings.max_rise)]
    return criteria if settings.window is None else [*criteria, leaving_window(*settings.window)]


def _optimise(atoms: Atoms, free: np.ndarray, watch: Watch, settings: RelaxationSettings) -> str:
    """Step until `watch` says why it is over."""
    atoms.calc = watch
    try:
        atoms.get_potential_energy()
        _step(atoms, free, watch, settings)
    except RelaxationEnds as end:
        return str(end)
    return OPTIMISER_FAILED


def _step(atoms: Atoms, free: np.ndarray, watch: Watch, settings: RelaxationSettings) -> None:
    """Step until `watch` ends it, or an optimiser cannot go on."""
    try:
        if settings.fire_calls and watch.max_force > settings.calm_force:
            fire = make_optimiser("fire", atoms, free, settings.maxstep)
            while watch.calls <= settings.fire_calls and watch.max_force > settings.calm_force:
                fire.step()
                atoms.get_potential_energy()
        while True:
            optimiser = make_optimiser(settings.optimiser, atoms, free, settings.maxstep)
            moves = True
            while moves:
                force, before = watch.max_force, atoms.positions.copy()
                optimiser.step()
                atoms.get_potential_energy()
                moves = np.abs(atoms.positions - before).max() > force / STIFFEST
    except (ValueError, RuntimeError):  # a line search without a way down, a Hessian without eigenvectors
        return


def _result(atoms: Atoms, watch: Watch, reason: str) -> RelaxationResult:
    """The record of what was reached, with the last positions whose energy is known."""
    path = [frame for frame in watch.path if frame[2] != watch.calls]
    return RelaxationResult(
        numbers=atoms.numbers.copy(),
        positions=atoms.positions.copy() if watch.positions is None else watch.positions,
        energy=float(watch.energy),
        max_force=float(watch.max_force),
        force_calls=watch.calls,
        converged=reason == CONVERGED,
        reason=None if reason == CONVERGED else reason,
        path_positions=np.array([p for p, _, _ in path]).reshape(len(path), len(atoms), 3),
        path_energies=np.array([e for _, e, _ in path], dtype=float),
        path_calls=np.array([c for _, _, c in path], dtype=int),
    )
