"""Workers as jobs that the driver submits to SLURM, and submits again when they have ended.

The only module that uses `dask_jobqueue`.
"""

import logging
import math
import shutil
import sys
from threading import Event, Thread
from typing import Any

import dask
from dask_jobqueue.slurm import SLURMCluster, SLURMJob

from searcher.campaign.workers.cluster import ALLOWED_LOSSES, DaskExecutor
from searcher.config import ExecutionSection, SlurmSection
from searcher.errors import EnvironmentProblem

log = logging.getLogger(__name__)

RETIRE_BEFORE_S = 300
"""A worker stops so long before its job's end, so that no relaxation is cut."""
STAGGER_S = 120
REPLACE_EVERY_S = 30.0
BESIDE_GIB = 1.0
"""memory of a Dask worker and its nanny, beside the isolated process that relaxes"""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}


class SlurmExecutor(DaskExecutor):
    """Runs tasks on workers that SLURM starts; the scheduler lives in the driver's process.

    The number of jobs is fixed, since a search always has work. A job that ends, by its wall time or with its node, is
    replaced by a new one.

    Parameters
    ----------
    section : ExecutionSection
        With `slurm`.
    stop : threading.Event, optional

    Raises
    ------
    EnvironmentProblem
        If jobs cannot be submitted.
    """

    def __init__(self, section: ExecutionSection, stop: Event | None = None) -> None:
        assert section.slurm is not None
        if shutil.which("sbatch") is None:
            raise EnvironmentProblem(
                "`execution.slurm`: there is no `sbatch` here; start the driver where jobs are submitted"
            )
        # a worker whose task hangs is killed at the deadline; only silence beyond that means that it is lost
        dask.config.set(
            {
                "distributed.scheduler.worker-ttl": f"{2 * section.deadline_s + 60:.0f} s",
                "distributed.scheduler.allowed-failures": ALLOWED_LOSSES,
            }
        )
        self._jobs = math.ceil(section.workers / section.slurm.workers_per_job)
        section.slurm.logs.mkdir(parents=True, exist_ok=True)
        try:
            self._cluster = SLURMCluster(
                **job_settings(section, section.slurm),
                interface=section.slurm.interface or None,
                scheduler_options={"dashboard": False, "dashboard_address": ":0"},
            )
            self._cluster.scale(jobs=self._jobs)
        except (OSError, RuntimeError, ValueError) as error:
            raise EnvironmentProblem(f"`execution.slurm`: jobs cannot be submitted ({error})") from None
        super().__init__(
            self._cluster.scheduler_address, section.deadline_s, section.memory_gib, section.tasks_per_worker, stop
        )
        self._closing = Event()
        self._seen: set[str] = set()
        Thread(target=self._keep_jobs, daemon=True, name="slurm").start()

    def close(self) -> None:
        self._closing.set()
        super().close()
        self._cluster.close(timeout=20)

    def _keep_jobs(self) -> None:
        while not self._closing.wait(REPLACE_EVERY_S):
            self._replace_ended()

    def _replace_ended(self) -> None:
        """Submit again what had workers and has none any more; what waits in the queue has had none yet.

        Also what SLURM did not take when it was submitted, as while its controller is restarted.
        """
        names = [str(worker["name"]) for worker in self._cluster.scheduler_info["workers"].values()]
        jobs = {str(job) for job in self._cluster.worker_spec}
        alive = {job for job in jobs if any(name == job or name.startswith(f"{job}-") for name in names)}
        # a job is listed once the attempt to submit it is over
        refused = {str(name): job for name, job in self._cluster.workers.items() if job.job_id is None}
        for job in refused.values():
            job.status = type(job.status).closed  # else the cluster takes it for one that it has to end
        ended = (self._seen & jobs) - alive
        self._seen = alive | (self._seen & jobs) - ended  # a job that replaces another one takes its name
        if refused:
            log.warning("`sbatch` refused %d worker jobs; they are submitted again", len(refused))
        if ended:
            log.info("%d worker jobs have ended; as many are submitted", len(ended))
        if ended or refused:
            self._cluster.sync(self._cluster.scale_down, sorted(ended | refused.keys()))
            self._cluster.scale(jobs=self._jobs)


def job_settings(section: ExecutionSection, slurm: SlurmSection) -> dict[str, Any]:
    """What `dask_jobqueue` needs to write a worker's job script."""
    lifetime = max(seconds(slurm.walltime) - RETIRE_BEFORE_S, 60)
    extra = ["--no-dashboard", "--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{STAGGER_S}s"]
    return {
        "cores": slurm.workers_per_job,
        "processes": slurm.workers_per_job,
        "memory": f"{slurm.workers_per_job * (section.memory_gib + BESIDE_GIB):g}GiB",
        "walltime": slurm.walltime,
        "queue": slurm.partition or None,
        "account": slurm.account or None,
        "python": slurm.python or sys.executable,
        "job_name": "searcher-worker",
        "log_directory": str(slurm.logs),
        "job_extra_directives": list(slurm.directives),
        "job_script_prologue": [*slurm.prologue, *(f"export {name}={value}" for name, value in ENVIRONMENT.items())],
        "worker_extra_args": extra,
    }


def job_script(section: ExecutionSection, slurm: SlurmSection) -> str:
    """The script of one worker job, as it is submitted; no SLURM is asked."""
    job = SLURMJob(scheduler="tcp://DRIVER:PORT", name="searcher-0", **job_settings(section, slurm))
    return str(job.job_script())


def seconds(walltime: str) -> int:
    """Of ``D-HH:MM:SS`` or ``HH:MM:SS``."""
    days, _, rest = walltime.rpartition("-")
    hours, minutes, rest_s = (int(part) for part in rest.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest_s
