"""Local relaxation with a budget of force calls, early reasons to stop and a record of the path."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from relax.checks import CheckLimits, check_input
from relax.optimisers import make_optimiser
from relax.overlaps import frozen_indices, push_apart
from relax.potential import CountingCalculator
from relax.relaxation_settings import RelaxationSettings
from relax.stopping import exploding, leaving_window
from relax.watching import CONVERGED, RelaxationEnds, StopCriterion, Watch

__all__ = ["RelaxationResult", "StopCriterion", "relax"]

OPTIMISER_FAILED: Final = "optimiser_failed"
STIFFEST: Final = 200.0
"""eV/Å², stiffer than any bond. A step as short as if one were stiffer means that the optimiser's Hessian has gone
wrong, as it does where the curvature changes its sign; it begins anew."""


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
    forces : numpy.ndarray, shape (n_atoms, 3)
        In eV/Å, of the last frame; NaN if no force call was made or believed.
    path_forces : numpy.ndarray, shape (n_snapshots, n_atoms, 3)
        In eV/Å.
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
    forces: np.ndarray
    path_forces: np.ndarray


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
    path = [frame for frame in watch.path if frame[3] != watch.calls]
    return RelaxationResult(
        numbers=atoms.numbers.copy(),
        positions=atoms.positions.copy() if watch.positions is None else watch.positions,
        energy=float(watch.energy),
        max_force=float(watch.max_force),
        force_calls=watch.calls,
        converged=reason == CONVERGED,
        reason=None if reason == CONVERGED else reason,
        path_positions=np.array([p for p, _, _, _ in path]).reshape(len(path), len(atoms), 3),
        path_energies=np.array([e for _, _, e, _ in path], dtype=float),
        path_calls=np.array([c for _, _, _, c in path], dtype=int),
        forces=np.full((len(atoms), 3), np.nan) if watch.forces is None else watch.forces,
        path_forces=np.array([f for _, f, _, _ in path]).reshape(len(path), len(atoms), 3),
    )
