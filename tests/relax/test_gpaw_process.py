"""DFT in another interpreter is an ordinary calculator, and its failures are kept as such."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, CalculatorSetupError
from relax_structures import rutile

from relax import gpaw_process
from relax.gpaw_process import GpawProcess
from relax.labelling.labels import label, read_labels

STAND_IN = """
import json, sys
task = json.load(open(sys.argv[1]))
n = len(task["numbers"])
if n == 1:
    raise SystemExit("KohnShamConvergenceError: did not converge")
assert "PYTHONPATH" not in __import__("os").environ
answer = {"energy": -1.5 * n, "free_energy": -1.6 * n, "forces": [[0.0, 0.0, float(sum(task["sampled"]))]] * n}
json.dump(answer, open(sys.argv[2], "w"))
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpawProcess:
    """GPAW replaced by a script that speaks the same JSON."""
    script = tmp_path / "single_point.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(gpaw_process, "SCRIPT", script)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv(gpaw_process.PYTHON_VARIABLE, sys.executable)
    return GpawProcess()


def test_vacuum_is_not_sampled_and_bulk_is(stand_in: GpawProcess) -> None:
    bulk = rutile()
    bulk.calc = stand_in
    assert bulk.get_potential_energy() == -1.5 * len(bulk)
    assert np.all(bulk.get_forces()[:, 2] == 3)
    slab = rutile()
    slab.center(vacuum=4.0, axis=2)
    slab.calc = stand_in
    assert np.all(slab.get_forces()[:, 2] == 2)


def test_a_calculation_that_fails_says_what_was_said_last(stand_in: GpawProcess) -> None:
    atom = Atoms("O", cell=[5, 5, 5], pbc=True)
    atom.calc = stand_in
    with pytest.raises(CalculationFailed, match="did not converge"):
        atom.get_potential_energy()


def test_a_missing_interpreter_is_a_fault_of_the_set_up() -> None:
    atom = Atoms("O", cell=[5, 5, 5], pbc=True)
    atom.calc = GpawProcess(python="/no/such/python")
    with pytest.raises(CalculatorSetupError, match=gpaw_process.PYTHON_VARIABLE):
        atom.get_potential_energy()


CALCULATION = """
import sys
from ase import Atoms
from relax.gpaw_process import GpawProcess
atom = Atoms("O", cell=[5, 5, 5], pbc=True)
atom.calc = GpawProcess(python=sys.argv[1])
atom.get_potential_energy()
"""


def test_no_calculation_outlives_the_process_that_asked_for_it(tmp_path: Path) -> None:
    pid, interpreter = tmp_path / "pid", tmp_path / "endless"
    interpreter.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 300\n")
    interpreter.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    asking = subprocess.Popen([sys.executable, "-c", CALCULATION, interpreter], env=environment)
    while not (pid.exists() and pid.read_text().strip()):
        assert asking.poll() is None, "it ended before the calculation began"
        time.sleep(0.05)
    asking.kill()
    asking.wait()
    calculation, last = int(pid.read_text()), time.monotonic() + 10
    while psutil.pid_exists(calculation) and time.monotonic() < last:
        time.sleep(0.05)
    assert not psutil.pid_exists(calculation)


def test_failed_labels_are_kept_and_tried_again_on_request(tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    good, bad = rutile(), Atoms("O", cell=[5, 5, 5], pbc=True)
    for index, atoms in enumerate((good, bad)):
        atoms.info = {"config_type": "bulk", "family": f"f-{index}"}
    refuses = "refusing_calculator:RefusesSingleAtoms"
    first = label([good, bad], refuses, {}, out)
    assert (first.frames, first.skipped) == (1, {"calculator": 1})
    assert "one atom" in out.read_text()
    assert label([good, bad], refuses, {}, out).labelled == 0
    again = label([good, bad], refuses, {}, out, retry_failed=True)
    assert (again.labelled, again.known) == (1, 1)
    assert len(read_labels(out)) == 1


@pytest.mark.slow
def test_gpaw_itself_gives_forces_that_belong_to_its_energy() -> None:
    """Skipped where no interpreter has GPAW; a coarse basis is enough for the law."""
    molecule = Atoms("O2", positions=[[0, 0, 0], [0.05, 0.02, 1.30]], cell=[4.2, 4.4, 5.0], pbc=True)
    calculator = GpawProcess(cutoff=250.0, kpoint_length=4.0)
    molecule.calc = calculator
    try:
        force = molecule.get_forces()[1, 2]
    except CalculatorSetupError as error:
        pytest.skip(str(error))
    step, energies = 0.01, []
    for sign in (-1, 1):
        moved = molecule.copy()
        moved.positions[1, 2] += sign * step
        moved.calc = calculator
        moved.get_potential_energy()
        energies.append(calculator.results["free_energy"])
    # eV/Å: the egg-box error of a 250 eV basis is below 0.1, the force about 10
    assert force == pytest.approx(-(energies[1] - energies[0]) / (2 * step), abs=0.3)
