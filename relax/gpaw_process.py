"""GPAW as an ordinary ASE calculator, run by another Python than this one.

GPAW is often a package of the system, out of reach of a virtual environment. Every calculation is a process of its own;
what it needs and answers travels as JSON.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, CalculatorSetupError, all_changes

from relax.lifetime import end_with_parent

PYTHON_VARIABLE = "GPAW_PYTHON"
SCRIPT = Path(__file__).with_name("gpaw_single_point.py")
EMPTY = 6.0
"""Å without an atom along an axis that make it a vacuum, to be sampled by one k-point"""


class GpawProcess(Calculator):
    """Density functional theory by GPAW with plane waves, not spin-polarised.

    Parameters
    ----------
    xc : str
        Exchange and correlation, as GPAW names it.
    cutoff : float
        Of the plane waves, in eV.
    kpoint_length : float
        Number of k-points times cell length in Å is at least this; one k-point along a vacuum.
    smearing : float
        Fermi–Dirac width in eV.
    max_iterations : int
        After which a calculation counts as not converged.
    timeout_s : float
        Seconds after which a calculation is ended.
    python : str, optional
        The interpreter that has GPAW; by default what the environment variable ``GPAW_PYTHON`` says, else ``python3``.
        It changes no result, so leave it out where labels are to be known again on another machine.

    Raises
    ------
    CalculatorSetupError
        From a calculation: if the interpreter does not exist or has no GPAW.
    CalculationFailed
        From a calculation: if it does not converge in time; its message ends with what GPAW said last.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]  # type: ignore[misc]

    def __init__(
        self,
        xc: str = "PBE",
        cutoff: float = 400.0,
        kpoint_length: float = 24.0,
        smearing: float = 0.1,
        max_iterations: int = 150,
        timeout_s: float = 86400.0,
        python: str | None = None,
    ) -> None:
        super().__init__()
        self.settings: Mapping[str, Any] = {
            "xc": xc,
            "cutoff": cutoff,
            "kpoint_length": kpoint_length,
            "smearing": smearing,
            "max_iterations": max_iterations,
        }
        self.timeout_s = timeout_s
        self.python = python or os.environ.get(PYTHON_VARIABLE, "python3")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """One single-point calculation with forces."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None  # set by the base class just above
        task = {
            "numbers": self.atoms.numbers.tolist(),
            "positions": self.atoms.positions.tolist(),
            "cell": self.atoms.cell.array.tolist(),
            "pbc": self.atoms.pbc.tolist(),
            "sampled": [
                bool(periodic) and not _is_vacuum(self.atoms, axis) for axis, periodic in enumerate(self.atoms.pbc)
            ],
            "settings": dict(self.settings),
        }
        with tempfile.TemporaryDirectory() as scratch:
            answer = self._run(task, Path(scratch))
        self.results = {
            "energy": answer["energy"],
            "free_energy": answer["free_energy"],
            "forces": np.array(answer["forces"]),
        }

    def _run(self, task: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        (folder / "input.json").write_text(json.dumps(task))
        log = folder / "log.txt"
        try:
            with log.open("w") as stream:
                code = subprocess.run(
                    [self.python, str(SCRIPT), "input.json", "output.json"],
                    cwd=folder,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=_environment(),
                    timeout=self.timeout_s,
                    preexec_fn=_end_with_this_process,
                    check=False,
                ).returncode
        except FileNotFoundError:
            raise CalculatorSetupError(
                f"`python` is {self.python!r}, which does not exist; name the interpreter that has GPAW, also by the "
                f"environment variable {PYTHON_VARIABLE}"
            ) from None
        except subprocess.TimeoutExpired:
            raise CalculationFailed(f"GPAW was ended after `timeout_s` {self.timeout_s:g} s") from None
        if code or not (folder / "output.json").exists():
            last = (log.read_text(errors="replace").split("\n\n")[-1].strip() or "it said nothing").splitlines()[-1]
            if last.startswith("ModuleNotFoundError"):
                raise CalculatorSetupError(f"`python` {self.python!r} has no GPAW ({last}); see {PYTHON_VARIABLE}")
            raise CalculationFailed(f"GPAW ended with code {code}: {last}")
        return json.loads((folder / "output.json").read_text())


def _is_vacuum(atoms: Atoms, axis: int) -> bool:
    """Whether a gap wider than `EMPTY` crosses the cell along an axis."""
    scaled = np.sort(atoms.get_scaled_positions()[:, axis] % 1.0)
    widest = np.max(np.diff(np.append(scaled, scaled[0] + 1.0)))
    height = atoms.get_volume() / np.linalg.norm(np.cross(atoms.cell[axis - 2], atoms.cell[axis - 1]))
    return bool(widest * height > EMPTY)


def _end_with_this_process() -> None:
    """A calculation of minutes must not go on for nobody, however this process ends."""
    end_with_parent(signal.SIGTERM)


def _environment() -> dict[str, str]:
    """This process's environment without what would lead another Python to this one's packages."""
    own = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {**{name: value for name, value in os.environ.items() if name not in own}, "OMP_NUM_THREADS": "1"}
