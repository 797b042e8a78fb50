"""What a worker process returns, with the stand-in and with the shipped GAP."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from relax_structures import distorted_slab, payload, rutile

from relax.potential import PotentialError, PotentialSpec, gap_spec
from relax.worker import evaluate_task, relax_task

GAP_RUTILE_ENERGY = -44.117357565568575


def _in_fresh_process(tasks: list[tuple[Any, dict]]) -> list[dict]:
    """Results of tasks run one after the other in one new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return [pool.submit(function, task).result(timeout=120) for function, task in tasks]


def _assert_equal_bits(one: dict, two: dict) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name])


def test_a_task_tells_its_result_in_plain_values(analytic_spec: PotentialSpec) -> None:
    result = relax_task(payload(distorted_slab(seed=1), analytic_spec.as_dict(), settings={"fmax": 0.2}))
    assert result["converged"]
    assert result["max_force"] <= 0.2
    assert len(result["potential_hash"]) == 16


def test_a_bad_candidate_is_a_reason(analytic_spec: PotentialSpec) -> None:
    atoms = distorted_slab(seed=1)
    atoms.positions[-1] = np.nan
    assert relax_task(payload(atoms, analytic_spec.as_dict()))["reason"] == "not_finite"
    answer = evaluate_task({"potential": analytic_spec.as_dict(), "structures": [payload(atoms, {})]})
    assert answer["reasons"] == ["not_finite"]
    assert answer["force_calls"] == 0


def test_a_bad_set_up_raises(analytic_spec: PotentialSpec) -> None:
    atoms = distorted_slab(seed=1)
    with pytest.raises(PotentialError, match="does not exist"):
        relax_task(payload(atoms, gap_spec("absent.xml").as_dict()))
    with pytest.raises(ValueError, match="fmaxx"):
        relax_task(payload(atoms, analytic_spec.as_dict(), settings={"fmaxx": 0.2}))


def test_a_criterion_comes_by_its_import_path(analytic_spec: PotentialSpec) -> None:
    criterion = {"import_path": "relax_criteria:stop_after", "arguments": {"calls": 4}}
    result = relax_task(payload(distorted_slab(seed=1), analytic_spec.as_dict(), criteria=[criterion]))
    assert (result["reason"], result["force_calls"]) == ("enough", 4)


def test_the_gap_gives_equal_bits_in_fresh_and_used_workers_and_its_known_energy() -> None:
    spec = gap_spec("ruo2").as_dict()
    settings = {"max_calls": 12, "fmax": 0.05}
    first = payload(distorted_slab(seed=1), spec, settings=settings, variance=True)
    second = payload(distorted_slab(seed=2), spec, settings=settings, variance=True)
    crystal = {"potential": spec, "structures": [payload(rutile(), {})]}
    used = _in_fresh_process([(relax_task, second), (evaluate_task, crystal), (relax_task, first)])
    (fresh,) = _in_fresh_process([(relax_task, first)])
    _assert_equal_bits(fresh, used[2])
    assert fresh["local_variance"].shape == (len(fresh["numbers"]),)
    # eV; `init_args` that drop the pair term shift it by tens of eV, another machine's arithmetic by far less than 1e-5
    assert used[1]["energies"][0] == pytest.approx(GAP_RUTILE_ENERGY, abs=1e-5)
