"""The inside of a search by another package: what it is given, how its force calls are counted and its minima kept.

It runs in a process of its own, in the other package's environment, and imports nothing of this program but `relax`.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.optimize import BFGS, FIRE
from ase.optimize.optimize import Optimizer

from relax.potential import PotentialSpec, build_calculator
from relax.relaxation import relax
from relax.relaxation_settings import RelaxationSettings

SET_UP = 2
"""Grows whenever a package is set up in another way; what was found before is then found anew."""
STEPS = 200
FMAX = 0.1
"""eV/Å"""


class BudgetSpent(BaseException):
    """Ends a search from inside; no `Exception`, because packages catch those and go on."""


@dataclass(frozen=True)
class Problem:
    """A cell in plain values; see `external_arms.write_problem`."""

    method: str
    table: str
    seed: int
    budget: int
    potential: dict[str, Any]
    relaxation: dict[str, Any]
    cell: list[float]
    n_frozen: int
    floor: float
    ceiling: float
    starts: list[dict[str, Any]]
    """one per composition: ``numbers`` and ``positions`` of all atoms, frozen ones first"""

    @classmethod
    def read(cls, path: Path) -> "Problem":
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def atoms(self, start: dict[str, Any]) -> Atoms:
        """A start as a slab, its frozen atoms held."""
        numbers, positions = np.array(start["numbers"]), np.array(start["positions"])
        slab = Atoms(numbers, positions, cell=np.diag(self.cell), pbc=(True, True, False))
        slab.set_constraint(FixAtoms(indices=range(self.n_frozen)))
        return slab


class Search:
    """One composition's share of a search: its potential, its budget, and the relaxations that ended."""

    def __init__(self, problem: Problem, budget: int) -> None:
        self.problem, self.budget = problem, budget
        self.calculator = build_calculator(PotentialSpec(**problem.potential))
        self.settings = RelaxationSettings(**problem.relaxation)
        self.relaxations: list[dict[str, Any]] = []

    def stop_if_spent(self) -> None:
        if self.calculator.force_calls >= self.budget:
            raise BudgetSpent

    def record(self, atoms: Atoms, converged: bool) -> None:
        """Keep the end of a relaxation; its energy is known already, so that no call is made."""
        kept = (
            {
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "energy": float(atoms.get_potential_energy()),
            }
            if converged
            else {"numbers": [], "positions": [], "energy": None}
        )
        self.relaxations.append({"calls": self.calculator.force_calls, **kept, "origin": self.problem.method})

    def optimiser(self) -> type[Optimizer]:
        """The class a package is given to relax by: the common relaxation in table A, its own one in table B."""
        if self.problem.table == "A":
            return type("PlainRelaxation", (_PlainRelaxation,), {"search": self})
        own = FIRE if self.problem.method == "ase_hopping" else BFGS
        return type("OwnRelaxation", (_Recorded, own), {"search": self})


class _PlainRelaxation(Optimizer):
    """`relax.relaxation.relax` with the looks of an ASE optimiser."""

    search: ClassVar[Search]

    def __init__(self, atoms: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(atoms, logfile=None, trajectory=None)
        self._slab = getattr(atoms, "atoms", atoms)

    def run(self, fmax: float = FMAX, steps: int = STEPS) -> bool:
        self.search.stop_if_spent()
        held = self._slab.copy()
        held.set_constraint(FixAtoms(indices=range(self.search.problem.n_frozen)))
        result = relax(held, self.search.calculator, self.search.settings)
        self._slab.positions[:] = result.positions
        self.search.record(self._slab, result.converged)
        self.call_observers()
        return result.converged


class _Recorded:
    """An ASE optimiser that leaves its end behind and never goes on for ever."""

    search: ClassVar[Search]

    def run(self, fmax: float = FMAX, steps: int = STEPS) -> bool:
        self.search.stop_if_spent()
        converged = bool(super().run(fmax=fmax, steps=min(steps, STEPS)))  # type: ignore[misc]
        slab = self.optimizable.atoms  # type: ignore[attr-defined]
        self.search.record(slab, converged)
        return converged


def run_parts(problem: Problem, folder: Path, search: Callable[[Search, Atoms, int], float]) -> None:
    """Search every composition with an equal share of the budget, one file each; what was asked before is kept.

    Parameters
    ----------
    search : callable
        Gets the `Search`, the composition's start and a seed; returns the seconds spent on training a surrogate. It may
        end by `BudgetSpent`.
    """
    share = problem.budget // len(problem.starts)
    asked = hashlib.sha256(f"{SET_UP} {asdict(problem)}".encode()).hexdigest()
    for number, start in enumerate(problem.starts):
        path = folder / f"part-{number:02d}.json"
        if path.is_file() and json.loads(path.read_text(encoding="utf-8"))["asked"] == asked:
            continue
        own = path.with_suffix("")  # packages write databases and pictures where they stand
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        part = Search(problem, share)
        training = Training()
        began = time.monotonic()
        with chdir(own), _until_spent():
            search(part, problem.atoms(start), problem.seed * 1000 + number, training)
        content = {
            "asked": asked,
            "calls": part.calculator.force_calls,
            "wall_s": time.monotonic() - began,
            "training_s": training.seconds,
            "relaxations": part.relaxations,
        }
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(content), encoding="utf-8")
        draft.replace(path)


class Training:
    """Seconds that a search spends on learning instead of calling the potential."""

    def __init__(self) -> None:
        self.seconds = 0.0


@contextmanager
def _until_spent() -> Iterator[None]:
    try:
        yield
    except BudgetSpent:
        return
