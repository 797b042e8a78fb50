"""A real Dask cluster of several processes."""

import os
import signal
import subprocess
import sys
import time

import psutil
from campaign_processes import ROOT, environment


def double(payload):
    return {"value": 2 * payload["value"]}


def kill(process):
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


class Cluster:
    """A scheduler and two workers with nannies, each a process tree of its own.

    Parameters
    ----------
    folder : pathlib.Path
        For scheduler file and log.
    host : str
        The address that the scheduler listens on.
    worker_ttl : str
        After this silence the scheduler gives a worker up.
    prefix : sequence of str
        What starts the second worker, for example in another network.
    """

    def __init__(self, folder, host="127.0.0.1", worker_ttl="1 hour", prefix=()):
        self.file, self.log = folder / "scheduler.json", (folder / "cluster.log").open("w")
        self._host, self._worker_ttl = host, worker_ttl
        self.trees = []
        self.scheduler = self.start_scheduler()
        self.start_worker()
        self.start_worker(prefix)

    def _start(self, *words, prefix=()):
        tree = subprocess.Popen(
            [*prefix, sys.executable, "-m", "distributed.cli." + words[0], *words[1:]],
            cwd=ROOT,
            env=environment(
                DASK_DISTRIBUTED__WORKER__DAEMON="False", DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=self._worker_ttl
            ),
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.trees.append(tree)
        return tree

    def start_scheduler(self):
        self.file.unlink(missing_ok=True)
        tree = self._start(
            "dask_scheduler", "--host", self._host, "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file)
        )
        while not self.file.exists():
            assert tree.poll() is None
            time.sleep(0.1)
        return tree

    def start_worker(self, prefix=()):
        words = ("--scheduler-file", str(self.file), "--nthreads", "1", "--no-dashboard", "--death-timeout", "60")
        return self._start("dask_worker", *words, prefix=prefix)

    def nannies(self):
        return [tree for tree in self.trees if tree is not self.scheduler and tree.poll() is None]

    def workers(self):
        """Processes below the nannies that hold a Dask worker."""
        return [child for nanny in self.nannies() for child in psutil.Process(nanny.pid).children()]

    def kill_all(self):
        for tree in (*self.nannies(), self.scheduler):
            kill(tree)

    def start_again(self):
        self.scheduler = self.start_scheduler()
        for _ in range(2):
            self.start_worker()

    def close(self):
        for tree in self.trees:
            for process in [*psutil.Process(tree.pid).children(recursive=True)] if tree.poll() is None else []:
                process.kill()
            tree.kill()
            tree.wait()
        self.log.close()
