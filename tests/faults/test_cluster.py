"""Fault 26: a campaign on a real Dask cluster of several processes whose workers, nannies and scheduler are killed."""

import os
import shutil
import subprocess
import threading
import time

import pytest
from campaign_processes import digest, finish, start, wait_for
from dask_cluster import Cluster, double, kill

from searcher.campaign.storage.ledger import Ledger

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from searcher.campaign.workers.cluster import DaskExecutor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


SLOW = 'potential={import_path: "slow_potential:SlowRuO", arguments: {delay_s: 0.02}}'


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    runs = tmp_path_factory.mktemp("alone")
    finish(runs, SLOW)
    return digest(runs)


def begun(cluster, runs):
    """A campaign on a cluster, whose first relaxations are under way."""
    process = start(runs, SLOW, f"execution={{executor: dask, scheduler: '{cluster.file}', training_threads: 1}}")
    wait_for(process, "relaxing 3 seeds")
    time.sleep(1.5)
    return process


def whole(process, runs, expected):
    """The campaign ends, with nothing lost, doubled or set aside."""
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    assert digest(runs) == expected
    ledger = Ledger(runs / "tiny" / "campaign.db", read_only=True)
    assert not [reason for _, reason, _ in ledger.reasons() if reason in ("worker_died", "timeout")]


@pytest.mark.parametrize("victim", ["nobody", "worker", "nanny", "scheduler"])
def test_nothing_is_lost_or_doubled(cluster, oracle, tmp_path, victim, tell):
    process = begun(cluster, tmp_path)
    if victim == "worker":
        cluster.workers()[0].kill()
    elif victim == "nanny":
        kill(cluster.nannies()[0])
        cluster.start_worker()
    elif victim == "scheduler":
        cluster.kill_all()
        cluster.start_again()
    whole(process, tmp_path, oracle)
    tell(26, f"Dask: {victim} killed", 1, "equal digest")


GIVEN_UP_S = 15.0  # longer than a client tries to find its scheduler again


def test_a_scheduler_that_went_between_two_batches_is_waited_for(cluster, tell):
    executor = DaskExecutor(str(cluster.file), deadline_s=60.0, memory_gib=2.0, tasks_per_worker=50)
    try:
        expected = {i: {"value": 2 * i} for i in range(4)}
        payloads = [{"value": i} for i in range(4)]
        assert {o.index: o.result for o in executor.map(double, payloads)} == expected
        cluster.kill_all()
        time.sleep(GIVEN_UP_S)
        threading.Timer(3.0, cluster.start_again).start()
        assert {o.index: o.result for o in executor.map(double, payloads)} == expected
    finally:
        executor.close()
    tell(26, "Dask: scheduler killed while the driver has no task for it", 1, "waited for, every task answered")


HERE, THERE = "10.213.77.1", "10.213.77.2"


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def link():
    """Name of this side of a cable to a network namespace, and that namespace's."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    name = f"faults{os.getpid()}"
    near, far = f"n{os.getpid()}", f"f{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
    except subprocess.CalledProcessError as error:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
    try:
        ip("addr", "add", f"{HERE}/24", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", name, "addr", "add", f"{THERE}/24", "dev", far)
        ip("-n", name, "link", "set", far, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield near, name
    finally:
        ip("netns", "del", name)  # takes the cable along


@pytest.mark.parametrize("mended_after_s", [None, 8.0])
def test_a_cut_network_costs_only_what_was_on_the_other_side(link, oracle, tmp_path, mended_after_s, tell):
    near, name = link
    cluster = Cluster(tmp_path, host=HERE, worker_ttl="15 s", prefix=("ip", "netns", "exec", name))
    try:
        process = begun(cluster, tmp_path)
        ip("link", "set", near, "down")
        if mended_after_s is not None:
            threading.Timer(mended_after_s, ip, ("link", "set", near, "up")).start()
        whole(process, tmp_path, oracle)
    finally:
        cluster.close()
    lasting = "for good" if mended_after_s is None else f"for {mended_after_s:g} s"
    tell(26, f"Dask: the network to one worker cut {lasting}", 1, "equal digest")
