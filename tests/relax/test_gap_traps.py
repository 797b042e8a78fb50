"""Ways in which the GAP's library kills, hangs or lies, each met with the shipped potential.

Every one must end as one failed candidate, or as an error that names the file, before the library sees it.
"""

import ctypes
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, CalculatorSetupError
from relax_structures import distorted_slab, payload, rutile

from relax.analytic import AnalyticRuO
from relax.checks import CheckLimits
from relax.potential import CountingCalculator, PotentialError, gap_spec, potential_hash, sparse_files
from relax.relaxation import relax
from relax.relaxation_settings import RelaxationSettings
from relax.watching import POTENTIAL_FAILED
from relax.worker import evaluate_task, relax_task
from searcher.campaign.workers.executor import LocalExecutor

GAP = gap_spec("ruo2").as_dict()
RAW = """
import sys, numpy as np
from quippy.potential import Potential
from ase.spacegroup import crystal
from ase import Atoms
lengths = [4.4968, 4.4968, 3.1049, 90, 90, 90]
cell = crystal(["Ru", "O"], [(0, 0, 0), (0.3053, 0.3053, 0)], spacegroup=136, cellpar=lengths)
atoms = Atoms(cell.numbers, cell.positions, cell=cell.cell, pbc=True)
atoms.calc = Potential("", param_filename=sys.argv[1])
whole = atoms.get_potential_energy()
atoms.positions[2] = np.nan
print("energies", whole, atoms.get_potential_energy())
"""


@pytest.fixture(scope="module")
def worker() -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs tasks one after the other in one process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield lambda function, task: pool.submit(function, task).result(timeout=300)


def copied_gap(folder: Path) -> Path:
    for file in Path(GAP["path"]).parent.glob("gap.xml*"):
        shutil.copy(file, folder)
    return folder / "gap.xml"


def run_raw(gap: str) -> "subprocess.CompletedProcess[str]":
    """The library without any precaution, in a process that it may end."""
    return subprocess.run([sys.executable, "-c", RAW, gap], capture_output=True, text=True, timeout=300, check=False)


def hang(task: dict[str, Any]) -> dict[str, Any]:
    ctypes.PyDLL(None).sleep(60)  # holds the interpreter's lock, as the Fortran does
    return task


class Failing(Calculator):
    """Raises at every call, as a calculator does that does not converge."""

    implemented_properties = ("energy", "forces")

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def calculate(self, *arguments: object, **named: object) -> None:
        raise self.error


class Uncertain(Calculator):
    """Counts how often it is asked for its variance."""

    implemented_properties = ("energy", "forces")

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def calculate(self, atoms: Atoms, properties: object, changes: object, calc_args: str = "") -> None:
        self.asked.append(calc_args)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}
        self.extra_results = {"atoms": {"local_gap_variance": np.ones(len(atoms))}}


@pytest.mark.slow
def test_the_library_lies_and_dies_as_it_is_said_to(tmp_path: Path) -> None:
    """If this fails, the library has improved and some precautions may go."""
    lies = run_raw(GAP["path"])
    whole, holed = map(float, lies.stdout.split("energies")[1].split())
    assert np.isfinite(holed) and abs(whole - holed) > 1.0  # eV: as if the atom were deleted
    gap = copied_gap(tmp_path)
    gap.write_bytes(gap.read_bytes()[: gap.stat().st_size // 2])
    dies = run_raw(str(gap))
    assert dies.returncode == 0 and "energies" not in dies.stdout


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("not_finite", lambda atoms: atoms.positions.__setitem__(-1, np.nan)),
        ("unknown_species", lambda atoms: atoms.numbers.__setitem__(-1, 79)),
        ("bad_cell", lambda atoms: atoms.set_cell(atoms.cell.lengths() * [1, 1, 0.05])),
        ("too_dense", lambda atoms: atoms.set_cell(atoms.cell.lengths() * [0.5, 0.7, 0.2], scale_atoms=True)),
        ("outside_cell", lambda atoms: atoms.positions.__setitem__((-1, 2), 1e6)),
    ],
)
def test_what_the_gap_would_lie_about_or_hang_on_never_reaches_it(worker: Any, reason: str, spoil: Any) -> None:
    atoms = distorted_slab(seed=1)
    spoil(atoms)
    answer = worker(relax_task, payload(atoms, GAP))
    assert (answer["reason"], answer["force_calls"], answer["converged"]) == (reason, 0, False)
    assert np.isnan(answer["energy"])


@pytest.mark.fault(17, "a GAP's files changed under a worker", "hashed anew before its next task")
def test_a_worker_notices_that_a_gap_was_changed(worker: Any, tmp_path: Path) -> None:
    gap = copied_gap(tmp_path)
    task = payload(rutile(), {**GAP, "path": str(gap)})
    first, again = worker(relax_task, task), worker(relax_task, task)
    assert first["potential_hash"] == again["potential_hash"] == potential_hash(gap_spec("ruo2"))
    gap.write_text(gap.read_text().replace('value="-1.9479703903198242"', 'value="-1.9579703903198242"'))
    changed = worker(relax_task, task)
    assert changed["potential_hash"] == potential_hash(gap_spec(str(gap))) != first["potential_hash"]
    assert changed["energy"] == pytest.approx(first["energy"] - 0.01 * 4, abs=1e-6)  # four oxygen atoms


def test_a_good_structure_beside_garbage_is_evaluated(worker: Any) -> None:
    good, garbage, other = rutile(), rutile(), rutile()
    garbage.positions[0] = np.inf
    other.positions[-1, 2] += 0.1
    structures = [payload(atoms, {}) for atoms in (good, garbage, other)]
    answer = worker(evaluate_task, {"potential": GAP, "structures": structures})
    assert answer["reasons"] == [None, "not_finite", None] and answer["force_calls"] == 2
    assert answer["energies"][0] < answer["energies"][2] and np.isnan(answer["energies"][1])


def test_an_altered_sparse_file_is_another_potential_and_is_refused_in_words(worker: Any, tmp_path: Path) -> None:
    gap = copied_gap(tmp_path)
    sparse = tmp_path / sparse_files(gap_spec(gap))[0]
    before = potential_hash(gap_spec(gap))
    content = bytearray(sparse.read_bytes())
    content[-3] = ord("1") if content[-3] != ord("1") else ord("2")
    sparse.write_bytes(content)
    assert potential_hash(gap_spec(gap)) != before
    with pytest.raises(PotentialError) as refusal:
        worker(relax_task, payload(distorted_slab(seed=1), gap_spec(gap).as_dict()))
    assert str(gap) in str(refusal.value) and str(refusal.value).isprintable()


def test_a_call_that_holds_the_interpreters_lock_is_ended_from_outside() -> None:
    executor = LocalExecutor(workers=1, deadline_s=2.0, memory_gib=2.0, tasks_per_worker=50)
    (outcome,) = executor.map(hang, [{"value": 1}])
    executor.close()
    assert outcome.result is None and outcome.failure == "timeout"


def test_tasks_and_answers_are_plain_and_hold_no_calculator() -> None:
    """A pickled GAP is an address of another process."""
    task = payload(distorted_slab(seed=1), {"kind": "calculator", "import_path": "relax.analytic:AnalyticRuO"})
    answer = relax_task(task)
    for values in (task, answer):
        kinds = {type(value) for value in pickle.loads(pickle.dumps(values)).values()}
        assert kinds <= {int, float, str, bool, list, dict, np.ndarray, type(None)}


def test_a_worker_has_one_thread_unless_told_otherwise() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    script = "import relax.worker, os; print(os.environ['OMP_NUM_THREADS'])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.split() == ["1"]


def test_variance_is_asked_for_once_at_the_end() -> None:
    inner = Uncertain()
    calculator = CountingCalculator(inner)
    relax(distorted_slab(seed=1), calculator)
    assert inner.asked == [""]
    assert calculator.local_variance(distorted_slab(seed=1)).shape == (12,)
    assert inner.asked == ["", "local_gap_variance"]


@pytest.mark.parametrize("error", [CalculationFailed("no"), RuntimeError("no"), FloatingPointError("no")])
def test_a_calculator_that_fails_for_a_structure_fails_that_structure(error: Exception) -> None:
    result = relax(distorted_slab(seed=1), Failing(error))
    assert (result.reason, result.converged, result.force_calls) == (POTENTIAL_FAILED, False, 1)


def test_a_calculator_without_its_program_is_a_faulty_set_up() -> None:
    with pytest.raises(CalculatorSetupError):
        relax(distorted_slab(seed=1), Failing(CalculatorSetupError("no program")))


def test_a_line_search_is_checked_as_every_other_call() -> None:
    """A step of a line search may be far longer than `maxstep`; it must not bring atoms together unseen."""
    seen = []

    class Watching(CountingCalculator):
        def calculate(self, atoms: Atoms, *arguments: object, **named: object) -> None:
            super().calculate(atoms, *arguments, **named)
            distances = atoms.get_all_distances(mic=True)
            seen.append(distances[np.triu_indices(len(atoms), 1)].min())

    for name in ("bfgs_line_search", "preconditioned_lbfgs"):
        settings = RelaxationSettings(optimiser=name, max_calls=60)
        relax(distorted_slab(seed=3, width=0.3), Watching(AnalyticRuO()), settings)
    assert min(seen) >= min(CheckLimits().overlap.values())
