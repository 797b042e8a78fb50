"""Fault 26: a campaign on a real Dask cluster of several processes whose workers, nannies and scheduler are killed."""

import os
import shutil
import signal
import subprocess
import threading
import time

import psutil
import pytest
from campaign_processes import digest, finish, start, wait_for
from dask_cluster import Cluster

from searcher.campaign.storage.ledger import Ledger

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


def kill(process):
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


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
        kill(cluster.scheduler)
        for nanny in cluster.nannies():
            kill(nanny)
        cluster.scheduler = cluster.start_scheduler()
        for _ in range(2):
            cluster.start_worker()
    whole(process, tmp_path, oracle)
    tell(26, f"Dask: {victim} killed", 1, "equal digest")


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
