"""Every force call of a relaxation passes here: it is counted, checked, recorded, and may end the relaxation."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError, CalculatorSetupError, all_changes

from relax.checks import CheckLimits, check_input, check_output
from relax.potential import CountingCalculator

MAX_CALLS: Final = "max_calls"
CONVERGED: Final = "converged"
POTENTIAL_FAILED: Final = "potential_failed"
LAST_SNAPSHOT: Final = 64
"""Force call beyond which no frame is kept: by then most relaxations have ended, and the rest creep."""

StopCriterion = Callable[[Atoms, float, int], str | None]
"""Given atoms, energy in eV and the number of force calls so far: a reason code to stop, or None. The atoms' forces
are at hand without a further call."""


class RelaxationEnds(Exception):
    """Ends an optimiser from inside; its text is the reason code."""


class Watch(Calculator):
    """Stands between an optimiser and the potential, also inside line searches, which know no checks.

    Parameters
    ----------
    counter : CountingCalculator
    free : array, shape (n_free,)
        Indices of the atoms whose forces count.
    fmax : float
        Converged when no free atom's force is larger, in eV/Å.
    max_calls : int
    snapshots : int
        Frames kept of the path, densest at its start.
    limits : CheckLimits
    criteria : sequence of StopCriterion
        Asked after every call, in this order.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]  # type: ignore[misc]

    def __init__(
        self,
        counter: CountingCalculator,
        free: np.ndarray,
        fmax: float,
        max_calls: int,
        snapshots: int,
        limits: CheckLimits,
        criteria: Sequence[StopCriterion],
    ) -> None:
        super().__init__()
        self._counter, self._free, self._limits, self._criteria = counter, free, limits, criteria
        self._fmax, self._max_calls = fmax, max_calls
        self._first_call = counter.force_calls
        fraction = np.linspace(0.0, 1.0, snapshots) ** 2.0
        last = min(max_calls, LAST_SNAPSHOT)
        self._wanted = {1 + round(float(x) * (last - 1)) for x in fraction}
        self.energy = self.max_force = np.nan
        self.positions: np.ndarray | None = None
        """(n_atoms, 3) in Å, of the last call that was believed"""
        self.forces: np.ndarray | None = None
        """(n_atoms, 3) in eV/Å, of the same"""
        self.path: list[tuple[np.ndarray, np.ndarray, float, int]] = []
        """Positions, forces, energy and number of the call, of the frames that are kept"""

    @property
    def calls(self) -> int:
        """Force calls of this relaxation."""
        return self._counter.force_calls - self._first_call

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What differs from the atoms of the last call: within a relaxation nothing but positions can."""
        same = self.atoms is not None and np.array_equal(atoms.positions, self.atoms.positions)
        return [] if same else ["positions"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate energy and forces; raises `RelaxationEnds` with a reason code if that was the last time."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None  # set by the base class just above
        fault = check_input(self.atoms, (), self._limits)
        if fault is not None:
            raise RelaxationEnds(fault)
        if self.calls >= self._max_calls:
            raise RelaxationEnds(MAX_CALLS)
        try:
            self._counter.calculate(self.atoms, ["energy", "forces"], list(all_changes))
        except CalculatorSetupError:
            raise
        except (CalculatorError, RuntimeError, ArithmeticError):
            # what never works has failed with the references and seeds already
            raise RelaxationEnds(POTENTIAL_FAILED) from None
        energy, forces = float(self._counter.results["energy"]), np.array(self._counter.results["forces"])
        fault = check_output(energy, forces[self._free], self._limits)
        if fault is not None:
            raise RelaxationEnds(fault)
        self.results: dict[str, Any] = {"energy": energy, "free_energy": energy, "forces": forces}
        self._record(self.atoms.positions, energy, forces)
        # a copy whose calculator already has the answer, so that a criterion that asks for forces costs nothing
        self.atoms.calc = self
        for criterion in self._criteria:
            reason = criterion(self.atoms, energy, self.calls)
            if reason is not None:
                raise RelaxationEnds(reason)
        if self.max_force <= self._fmax:
            raise RelaxationEnds(CONVERGED)

    def _record(self, positions: np.ndarray, energy: float, forces: np.ndarray) -> None:
        self.energy, self.forces = energy, forces
        self.max_force = float(np.max(np.linalg.norm(forces[self._free], axis=1), initial=0.0))
        self.positions = positions.copy()
        if self.calls in self._wanted and (not self.path or self.path[-1][3] != self.calls):
            self.path.append((self.positions, forces, energy, self.calls))
