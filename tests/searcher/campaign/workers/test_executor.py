"""Isolated workers: every way in which a task can fail ends as that task's failure, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from threading import Event

import psutil
import pytest
from pebble.pool.process import TaskManager

from searcher.campaign.workers import executor as executor_module
from searcher.campaign.workers.executor import LocalExecutor, _Submitted
from searcher.errors import EnvironmentProblem, StoppedOnRequest


def double(payload):
    return {"value": 2 * payload["value"]}


def nap(payload):
    time.sleep(0.05)
    return double(payload)


HELD = []


def leak(payload):
    """Keeps 160 MiB for ever with each call."""
    HELD.append(bytearray(160 * 2**20))
    return {**double(payload), "pid": os.getpid()}


def once_killed(payload):
    """The named task kills its worker at the first attempt; every attempt leaves a file."""
    attempts = payload["folder"] / str(payload["value"])
    attempts.mkdir(exist_ok=True)
    (attempts / str(os.getpid())).touch()
    if payload["value"] == payload["poisoned"] and len(list(attempts.iterdir())) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return double(payload)


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


@pytest.mark.parametrize(("kind", "failure"), [("memory", "out_of_memory"), ("kill", "worker_died")])
def test_a_worker_that_ends_before_the_pool_knows_what_it_does_is_understood(executor, monkeypatch, kind, failure):
    """On a busy machine a worker can be gone before the pool has read which task it had taken."""
    start = TaskManager.task_start

    def late(self, task_id, worker_id):
        time.sleep(0.4)
        start(self, task_id, worker_id)

    monkeypatch.setattr(TaskManager, "task_start", late)
    outcomes = {o.index: o for o in executor.map(misbehave, [{"value": 1, "kind": kind}, {"value": 2}])}
    assert outcomes[0].result is None and outcomes[0].failure == failure
    assert outcomes[1].result == {"value": 4}


@pytest.mark.fault(5, "a worker killed", "only its task is done again")
def test_only_the_killed_task_is_done_again(executor, tmp_path):
    payloads = [{"value": i, "poisoned": 2, "folder": tmp_path} for i in range(6)]
    outcomes = {o.index: o.result for o in executor.map(once_killed, payloads)}
    assert outcomes == {i: {"value": 2 * i} for i in range(6)}
    attempts = {int(folder.name): len(list(folder.iterdir())) for folder in tmp_path.iterdir()}
    assert attempts == {i: 2 if i == 2 else 1 for i in range(6)}


@pytest.mark.fault(9, "workers that leak memory", "replaced between tasks, every answer right")
def test_a_worker_that_leaks_is_replaced_and_no_task_suffers():
    executor = LocalExecutor(workers=1, deadline_s=60.0, memory_gib=1.0, tasks_per_worker=50)
    outcomes = list(executor.map(leak, [{"value": i} for i in range(9)]))
    executor.close()
    assert {o.index: o.result and o.result["value"] for o in outcomes} == {i: 2 * i for i in range(9)}
    assert len({o.result["pid"] for o in outcomes}) > 1


def test_failures_after_a_request_to_stop_are_nobodys_fault():
    stop = Event()
    executor = LocalExecutor(workers=1, deadline_s=60.0, memory_gib=2.0, tasks_per_worker=50, stop=stop)
    outcomes = executor.map(misbehave, [{"value": 1}, {"value": 2, "kind": "kill"}, {"value": 3, "kind": "kill"}])
    assert next(outcomes).result == {"value": 2}
    stop.set()
    with pytest.raises(StoppedOnRequest):
        list(outcomes)
    executor.close()


def test_results_that_keep_coming_do_not_put_off_a_stop():
    stop = Event()
    executor = LocalExecutor(workers=1, deadline_s=60.0, memory_gib=2.0, tasks_per_worker=5000, stop=stop)
    answered = 0
    with pytest.raises(StoppedOnRequest):
        for _ in executor.map(nap, [{"value": i} for i in range(100)]):
            answered += 1
            stop.set()
            time.sleep(0.1)  # writing it down takes so long that the next has come meanwhile
    executor.close()
    assert answered < 50


def test_a_worker_that_has_just_ended_may_still_have_answered(tmp_path, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    note = tmp_path / "note"
    note.write_text(str(ended.pid))
    task = _Submitted(Future(), 0, 1, note)
    assert not any(task.worker_vanished() for _ in range(3)), "however often it is asked at once"
    monkeypatch.setattr(executor_module, "ANSWER_UNDER_WAY_S", 0.0)
    assert task.worker_vanished()


def test_a_faulty_set_up_ends_the_batch_with_its_message(executor):
    with pytest.raises(EnvironmentProblem, match="no such potential"):
        list(executor.map(misbehave, [{"value": 1, "kind": "set-up"}]))


@pytest.mark.fault(4, "SIGKILL of a driver", "its workers end with it")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process die with its parent")
def test_workers_die_with_their_driver(tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(
        "import time\n"
        "from searcher.campaign.workers.executor import LocalExecutor\n"
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
