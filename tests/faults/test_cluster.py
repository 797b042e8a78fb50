"""Fault 26: a campaign on a real Dask cluster of several processes whose workers, nannies and scheduler are killed."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from campaign_processes import ROOT, digest, environment, finish, start, wait_for

from searcher.campaign.ledger import Ledger

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


class Cluster:
    """A scheduler and two workers with nannies, each a process tree of its own."""

    def __init__(self, folder):
        self.file, self.log = folder / "scheduler.json", (folder / "cluster.log").open("w")
        self.port = None
        self.trees = []
        self.scheduler = self.start_scheduler()
        for _ in range(2):
            self.start_worker()

    def _start(self, *words):
        tree = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]],
            cwd=ROOT,
            env=environment(DASK_DISTRIBUTED__WORKER__DAEMON="False", DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="1 hour"),
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.trees.append(tree)
        return tree

    def start_scheduler(self):
        self.file.unlink(missing_ok=True)
        tree = self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file)
        )
        while not self.file.exists():
            assert tree.poll() is None
            time.sleep(0.1)
        return tree

    def start_worker(self):
        words = ("--scheduler-file", str(self.file), "--nthreads", "1", "--no-dashboard", "--death-timeout", "60")
        return self._start("dask_worker", *words)

    def nannies(self):
        return [tree for tree in self.trees if tree is not self.scheduler and tree.poll() is None]

    def workers(self):
        """Processes below the nannies that hold a Dask worker."""
        return [child for nanny in self.nannies() for child in psutil.Process(nanny.pid).children()]

    def close(self):
        for tree in self.trees:
            for process in [*psutil.Process(tree.pid).children(recursive=True)] if tree.poll() is None else []:
                process.kill()
            tree.kill()
            tree.wait()
        self.log.close()


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


@pytest.mark.parametrize("victim", ["nobody", "worker", "nanny", "scheduler"])
def test_nothing_is_lost_or_doubled(cluster, tmp_path, victim, tell):
    slow = 'potential={import_path: "slow_potential:SlowRuO", arguments: {delay_s: 0.02}}'
    finish(tmp_path / "alone", slow)
    process = start(tmp_path, slow, f"execution={{executor: dask, scheduler: '{cluster.file}', training_threads: 1}}")
    wait_for(process, "relaxing 3 seeds")
    time.sleep(1.5)
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
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert digest(tmp_path) == digest(tmp_path / "alone")
    ledger = Ledger(tmp_path / "tiny" / "campaign.db", read_only=True)
    assert not [reason for _, reason, _ in ledger.reasons() if reason in ("worker_died", "timeout")]
    tell(26, f"Dask: {victim} killed", 1, "equal digest")
