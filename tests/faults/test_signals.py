"""Faults 1, 3 and 4: kills at random instants, requests to stop, Ctrl-C, the wall time; no process is left behind."""

import os
import random
import signal
import time

import pytest
from campaign_processes import descendants, digest, ended_within, finish, none_left, start, wait_for

from searcher.campaign.storage.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(6 * 3600)]

LONGEST_S = 30.0  # promised from a request to the end
SLOW = ('potential={import_path: "slow_potential:SlowRuO", arguments: {delay_s: 0.5}}', "execution.executor=local")


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    runs = tmp_path_factory.mktemp("whole")
    finish(runs)
    return digest(runs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_request_to_stop_is_answered_in_time_and_tracked(tmp_path, number, tell):
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
    tell(3, f"{number.name}, MLflow on", 1, f"exit 75 after {seconds:.1f} s, nothing left running")


def test_a_whole_process_group_told_to_stop_fails_no_candidate(tmp_path, oracle, tell):
    process = start(tmp_path, "execution.executor=local")
    wait_for(process, "relaxing 3 seeds")
    os.killpg(process.pid, signal.SIGTERM)
    code, _, output = ended_within(process, LONGEST_S)
    assert code == 75, output
    finish(tmp_path, "execution.executor=local")
    ledger = Ledger(tmp_path / "tiny" / "campaign.db", read_only=True)
    assert not [reason for _, reason, _ in ledger.reasons() if reason in ("worker_died", "timeout")]
    tell(3, "SIGTERM to driver and workers at once", 1, "exit 75, no candidate fails")


def test_ctrl_c_once_is_clean_and_twice_immediate(tmp_path, tell):
    for presses in (1, 2):
        process = start(tmp_path / str(presses), *SLOW)
        wait_for(process, "relaxing 3 seeds")
        time.sleep(3.0)
        children = descendants(process)
        began = time.monotonic()
        for _ in range(presses):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.01)
        code, _, output = ended_within(process, LONGEST_S)
        seconds = time.monotonic() - began
        assert code == 130 and "Traceback" not in output, output
        assert none_left(children)
        tell(4, f"Ctrl-C, {presses} times", 1, f"exit 130 after {seconds:.1f} s, nothing left running")
    finish(tmp_path / "1", *SLOW)


def test_what_does_not_listen_is_ended_in_time(tmp_path, tell):
    # a potential in the driver's own process hears of no request between two force calls
    hang = tmp_path / "hang"
    hang.touch()
    slow = f'potential={{import_path: "slow_potential:SlowRuO", arguments: {{hang: "{hang}"}}}}'
    process = start(tmp_path, slow)
    wait_for(process, "reference energies")
    time.sleep(3.0)
    process.terminate()
    code, seconds, output = ended_within(process, LONGEST_S)
    assert code == 75, output
    hang.unlink()
    finish(tmp_path, slow)
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
    for _ in range(4):
        process = start(tmp_path, local)
        process.stdout.readline()
        time.sleep(instants.uniform(0.0, 10.0))
        if process.poll() is None:
            children = descendants(process)
            process.kill()
            kills += 1
            assert none_left(children)
        process.communicate()
    finish(tmp_path, local)
    assert digest(tmp_path) == oracle
    tell(1, "SIGKILL of the driver at random instants, worker processes", kills, "equal digest, no worker left")
