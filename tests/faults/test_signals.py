"""Faults 1, 3 and 4: kills at random instants, requests to stop, Ctrl-C, the wall time; no process is left behind."""

import os
import random
import shutil
import signal
import time

import pytest
from campaign_processes import call, descendants, digest, ended_within, finish, none_left, start, wait_for
from mlflow import MlflowClient

from searcher.campaign.storage.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(6 * 3600)]

LONGEST_S = 30.0  # promised from a request to the end
SLOW = ('potential={import_path: "slow_potential:SlowRuO", arguments: {delay_s: 0.5}}', "execution.executor=local")
IMMEDIATE_S = 5.0  # ending one process takes milliseconds; the rest is room for a loaded machine


def hanging(file):
    """The potential of a campaign whose force calls wait while a file exists."""
    return f'potential={{import_path: "slow_potential:SlowRuO", arguments: {{hang: "{file}"}}}}'


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    runs = tmp_path_factory.mktemp("whole")
    finish(runs)
    return digest(runs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_request_to_stop_is_answered_in_time_and_tracked(tmp_path, number, tell):
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    client.search_experiments()  # a store as there is from the second campaign on
    process = start(tmp_path, *SLOW, "tracking.enabled=true")
    wait_for(process, "relaxing 3 seeds")
    time.sleep(3.0)
    children = descendants(process)
    os.kill(process.pid, number)
    code, seconds, output = ended_within(process, LONGEST_S)
    assert code == 75 and "goes on" in output, output
    assert none_left(children)
    ledger = Ledger(tmp_path / "tiny" / "campaign.db", read_only=True)
    assert ledger.fact("ended") == "KILLED"
    if "took longer" in output:  # a machine so loaded that MLflow could not be told within the time
        assert call("sync-mlflow", tmp_path / "tiny")[0] == 0
    (run,) = client.search_runs([client.get_experiment_by_name("surface-searcher").experiment_id])
    assert run.info.status == "KILLED", output
    tell(3, f"{number.name}, MLflow on", 1, f"exit 75 after {seconds:.1f} s, KILLED in MLflow, nothing left running")


def test_a_whole_process_group_told_to_stop_fails_no_candidate(tmp_path, oracle, tell):
    process = start(tmp_path, "execution.executor=local")
    wait_for(process, "relaxing 3 seeds")
    os.killpg(process.pid, signal.SIGTERM)
    code, _, output = ended_within(process, LONGEST_S)
    assert code == 75, output
    finish(tmp_path, "execution.executor=local")
    ledger = Ledger(tmp_path / "tiny" / "campaign.db", read_only=True)
    assert not [reason for _, reason, _ in ledger.reasons() if reason in ("worker_died", "timeout")]
    assert digest(tmp_path) == oracle
    tell(3, "SIGTERM to driver and workers at once", 1, "exit 75, no candidate fails, equal digest")


def test_ctrl_c_once_is_clean(tmp_path, tell):
    process = start(tmp_path, *SLOW)
    wait_for(process, "relaxing 3 seeds")
    time.sleep(3.0)
    children = descendants(process)
    os.killpg(process.pid, signal.SIGINT)
    code, seconds, output = ended_within(process, LONGEST_S)
    assert code == 130 and "Traceback" not in output, output
    assert none_left(children)
    finish(tmp_path, *SLOW)
    tell(4, "Ctrl-C once", 1, f"exit 130 after {seconds:.1f} s, nothing left running, goes on")


def test_ctrl_c_twice_is_immediate(tmp_path, tell):
    # a driver that hears of no request between two force calls would need up to 30 s after the first press
    hang = tmp_path / "hang"
    hang.touch()
    process = start(tmp_path, hanging(hang))
    wait_for(process, "reference energies")
    time.sleep(3.0)
    children = descendants(process)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(2.0)
    assert process.poll() is None, "it waits for the force call to end"
    os.killpg(process.pid, signal.SIGINT)
    code, seconds, output = ended_within(process, LONGEST_S)
    assert code == 130 and "Traceback" not in output, output
    assert seconds < IMMEDIATE_S and none_left(children)
    hang.unlink()
    finish(tmp_path, hanging(hang))
    tell(4, "Ctrl-C twice while a force call hangs in the driver", 1, f"exit 130 after {seconds:.1f} s, goes on")


def test_what_does_not_listen_is_ended_in_time(tmp_path, tell):
    # a potential in the driver's own process hears of no request between two force calls
    hang = tmp_path / "hang"
    hang.touch()
    process = start(tmp_path, hanging(hang))
    wait_for(process, "reference energies")
    time.sleep(3.0)
    process.terminate()
    code, seconds, output = ended_within(process, LONGEST_S)
    assert code == 75, output
    hang.unlink()
    finish(tmp_path, hanging(hang))
    tell(3, "SIGTERM while a force call hangs in the driver", 1, f"exit 75 after {seconds:.1f} s")


def test_the_wall_time_ends_it_before_it_is_over(tmp_path, tell):
    process = start(tmp_path, *SLOW, "budget.wall_time_hours=0.008")  # 28.8 s
    began = time.monotonic()
    code, _, output = ended_within(process, 90)
    seconds = time.monotonic() - began
    assert code == 75 and "wall time" in output, output
    tell(3, "a wall time of 28.8 s", 1, f"exit 75 after {seconds:.1f} s")


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_driver_takes_its_workers_along_and_goes_on(tmp_path, oracle, seed, amount, tell):
    if seed >= amount(1, 5):
        pytest.skip("one of five campaigns in the short form")
    instants, local, kills = random.Random(seed), "execution.executor=local", 0
    while kills < 4:
        process = start(tmp_path, local)
        process.stdout.readline()
        time.sleep(instants.uniform(0.0, 10.0))
        if process.poll() is None:
            children = descendants(process)
            process.kill()
            assert none_left(children)
        process.communicate()
        if process.returncode != -signal.SIGKILL:  # it had come to its end: from the beginning again
            shutil.rmtree(tmp_path / "tiny")
            continue
        kills += 1
    finish(tmp_path, local)
    assert digest(tmp_path) == oracle
    tell(1, "SIGKILL of the driver at random instants, worker processes", kills, "equal digest, no worker left")
