"""Relaxations with every step on disk, so that relaxers and stop criteria are compared afterwards.

Shared by `relaxation.py` and `early_stopping.py`.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from relax.potential import CountingCalculator, PotentialSpec, build_calculator
from relax.relaxation import relax
from relax.relaxation_settings import relaxation_settings
from relax.worker import plain_arrays
from searcher.campaign.workers.executor import Executor
from searcher.structures.files import read_structures


class Timed(CountingCalculator):
    """Knows how long its force calls took."""

    seconds = 0.0

    def calculate(self, *arguments: Any, **named: Any) -> None:
        began = time.perf_counter()
        super().calculate(*arguments, **named)
        self.seconds += time.perf_counter() - began


@dataclass(frozen=True)
class RecordedPath:
    """One relaxation: every frame with its energy and forces."""

    id: str
    source: str
    start: Atoms
    positions: np.ndarray
    """(n_calls, n_atoms, 3) in Å"""
    energies: np.ndarray
    """(n_calls,) in eV"""
    forces: np.ndarray
    """(n_calls, n_atoms, 3) in eV/Å"""
    converged: bool
    reason: str
    seconds: float
    force_seconds: float

    @property
    def calls(self) -> int:
        return len(self.energies)

    @property
    def n_frozen(self) -> int:
        return int(self.start.info["n_frozen"])

    def frames(self) -> Iterator[tuple[Atoms, float, int]]:
        """What a stop criterion was shown: atoms with their forces, energy, force calls so far."""
        for row, energy in enumerate(self.energies):
            atoms = self.frame(row)
            atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=self.forces[row])
            yield atoms, float(energy), row + 1

    def frame(self, row: int) -> Atoms:
        atoms = self.start.copy()
        atoms.positions = self.positions[row]
        atoms.set_constraint(FixAtoms(range(self.n_frozen)))
        return atoms


def read_proposals(path: Path, limit: int | None = None) -> list[Atoms]:
    """Recorded proposals; with `limit` so many, spread evenly over the file."""
    frames = read_structures(path)
    if limit is None or limit >= len(frames):
        return frames
    return [frames[int(row)] for row in np.linspace(0, len(frames) - 1, limit)]


def record(
    executor: Executor, potential: PotentialSpec, starts: Sequence[Atoms], settings: dict[str, Any], folder: Path
) -> list[RecordedPath]:
    """Relax every start that is not yet in `folder`, and read all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [atoms for atoms in starts if not (folder / f"{atoms.info['id']}.npz").exists()]
    # many free oxygen atoms take long; longest first leaves no idle worker at the end
    missing.sort(key=lambda atoms: (-len(atoms), str(atoms.info["id"])))
    payloads = [
        {
            "potential": json.dumps(potential.as_dict(), sort_keys=True),
            "settings": settings,
            "frozen": np.arange(int(atoms.info["n_frozen"])),
            **plain_arrays(atoms),
        }
        for atoms in missing
    ]
    for done, outcome in enumerate(executor.map(record_task, payloads), start=1):
        if outcome.result is None:
            raise SystemExit(f"{missing[outcome.index].info['id']}: {outcome.failure}, {outcome.message}")
        draft = folder / "draft.npz"
        np.savez_compressed(draft, **outcome.result)
        draft.rename(folder / f"{missing[outcome.index].info['id']}.npz")
        if done % 10 == 0:
            print(f"{folder.name}: {done} of {len(missing)}", flush=True)
    return [_read(folder / f"{atoms.info['id']}.npz", atoms) for atoms in starts]


def record_task(payload: dict[str, Any]) -> dict[str, Any]:
    """Relax one structure in a worker and return every step."""
    calculator = _calculator(payload["potential"])
    atoms = Atoms(payload["numbers"], payload["positions"], cell=payload["cell"], pbc=payload["pbc"])
    atoms.set_constraint(FixAtoms(payload["frozen"]))
    steps: list[tuple[np.ndarray, float, np.ndarray]] = []

    def recorder(frame: Atoms, energy: float, calls: int) -> None:
        steps.append((frame.positions.copy(), energy, frame.get_forces(apply_constraint=False)))

    began, calculator.seconds = time.perf_counter(), 0.0
    result = relax(atoms, calculator, relaxation_settings(payload["settings"]), [recorder])
    return {
        "positions": np.array([p for p, _, _ in steps], dtype=np.float64).reshape(-1, len(atoms), 3),
        "energies": np.array([e for _, e, _ in steps]),
        "forces": np.array([f for _, _, f in steps], dtype=np.float32).reshape(-1, len(atoms), 3),
        "converged": result.converged,
        "reason": result.reason or "",
        "seconds": time.perf_counter() - began,
        "force_seconds": calculator.seconds,
    }


@cache
def _calculator(potential: str) -> Timed:
    return Timed(build_calculator(PotentialSpec(**json.loads(potential))).inner)


def _read(path: Path, start: Atoms) -> RecordedPath:
    with np.load(path) as stored:
        return RecordedPath(
            id=str(start.info["id"]),
            source=str(start.info["source"]),
            start=start,
            positions=stored["positions"],
            energies=stored["energies"],
            forces=stored["forces"].astype(float),
            converged=bool(stored["converged"]),
            reason=str(stored["reason"]),
            seconds=float(stored["seconds"]),
            force_seconds=float(stored["force_seconds"]),
        )
