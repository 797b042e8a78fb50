"""Isolated workers: every way in which a task can fail ends as that task's failure, and nothing else."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from searcher.campaign.executor import LocalExecutor
from searcher.errors import EnvironmentProblem


def double(payload):
    return {"value": 2 * payload["value"]}


def misbehave(payload):
    match payload.get("kind"):
        case "exit":
            os._exit(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "memory":
            return {"value": len(bytearray(8 * 2**30))}
        case "set-up":
            raise ValueError("no such potential")
    return double(payload)


@pytest.fixture
def executor():
    executor = LocalExecutor(workers=2, deadline_s=5.0, memory_gib=2.0, tasks_per_worker=50)
    yield executor
    executor.close()


def test_every_task_is_answered_once(executor):
    outcomes = {o.index: o.result for o in executor.map(double, [{"value": i} for i in range(7)])}
    assert outcomes == {i: {"value": 2 * i} for i in range(7)}


@pytest.mark.parametrize(
    ("kind", "failure"),
    [("exit", "worker_died"), ("kill", "worker_died"), ("hang", "timeout"), ("memory", "out_of_memory")],
)
def test_a_bad_task_fails_alone(executor, kind, failure):
    payloads = [{"value": 1}, {"value": 2, "kind": kind}, {"value": 3}]
    outcomes = {o.index: o for o in executor.map(misbehave, payloads)}
    assert outcomes[1].result is None and outcomes[1].failure == failure
    assert [outcomes[i].result for i in (0, 2)] == [{"value": 2}, {"value": 6}]


def test_a_faulty_set_up_ends_the_batch_with_its_message(executor):
    with pytest.raises(EnvironmentProblem, match="no such potential"):
        list(executor.map(misbehave, [{"value": 1, "kind": "set-up"}]))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process die with its parent")
def test_workers_die_with_their_driver(tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(
        "import time\n"
        "from searcher.campaign.executor import LocalExecutor\n"
        "if __name__ == '__main__':\n"
        "    pool = LocalExecutor(1, 600.0, 2.0, 50)\n"
        "    list(pool.map(time.sleep, [0.1]))\n"
        "    print('up', flush=True)\n"
        "    list(pool.map(time.sleep, [600]))\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout.readline() == "up\n"
        children = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert gone and not alive
