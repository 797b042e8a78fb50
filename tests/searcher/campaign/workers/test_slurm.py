"""Worker jobs for SLURM: the script that is submitted, and what a driver does when jobs end; `sbatch` is played."""

import os
import signal
import stat
import sys
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

pytest.importorskip("dask_jobqueue", reason="the extra `cluster` is not installed")

from searcher.campaign.workers import slurm
from searcher.campaign.workers.slurm import SlurmExecutor, job_script, seconds
from searcher.config import ExecutionSection, SlurmSection
from searcher.errors import EnvironmentProblem

# what SLURM does with a job, as far as a driver can see it: starts it, and kills it with all that it started
SBATCH = """#!{python}
import subprocess, sys
job = subprocess.Popen(["bash", sys.argv[-1]], start_new_session=True, stdin=subprocess.DEVNULL,
                       stdout=open("{folder}/out", "a"), stderr=subprocess.STDOUT, close_fds=True)
open("{folder}/jobs", "a").write(f"{{job.pid}}\\n")
print(f"Submitted batch job {{job.pid}}")
"""
SCANCEL = """#!{python}
import os, sys
os.killpg(int(sys.argv[-1]), 9)
"""


def section(**changes):
    values = {"workers": 30, "workers_per_job": 16, "walltime": "1-02:00:00", "partition": "cpu", "account": "ru"}
    values |= changes
    workers = values.pop("workers")
    return ExecutionSection(
        executor="dask", workers=workers, memory_gib=3, deadline_s=600, slurm=SlurmSection(**values)
    )


@pytest.mark.parametrize(
    ("walltime", "expected"), [("00:10:00", 600), ("12:00:00", 43200), ("2-00:00:01", 172801), ("1-02:00:00", 93600)]
)
def test_a_walltime_in_seconds(walltime, expected):
    assert seconds(walltime) == expected


def test_the_job_script_asks_for_what_the_workers_need():
    execution = section(directives=("--constraint=avx2",), prologue=("module load python",), python="/env/bin/python")
    lines = job_script(execution, execution.slurm).splitlines()
    for directive in (
        "-J searcher-worker",
        "-p cpu",
        "-A ru",
        "-n 1",
        "--cpus-per-task=16",
        "--mem=64G",
        "-t 1-02:00:00",
        "--constraint=avx2",
    ):
        assert f"#SBATCH {directive}" in lines, directive
    command = lines[-1].split()
    assert command[:3] == ["/env/bin/python", "-m", "distributed.cli.dask_worker"]
    options = dict(pairwise(command))
    assert (options["--nthreads"], options["--nworkers"]) == ("1", "16") and "--nanny" in command
    # five minutes before the wall time of 26 h
    assert options["--lifetime"] == f"{26 * 3600 - 300}s"
    before = lines[: len(lines) - 1]
    assert before.index("module load python") < before.index("export OMP_NUM_THREADS=1")
    assert "export DASK_DISTRIBUTED__WORKER__DAEMON=False" in before


@pytest.mark.parametrize("walltime", ["12h", "12:00", "1:2:3", ""])
def test_a_walltime_of_another_form_is_refused(walltime):
    with pytest.raises(ValueError, match="walltime"):
        SlurmSection(walltime=walltime)


def test_a_cluster_is_either_there_or_submitted():
    with pytest.raises(ValueError, match="needs one of them"):
        ExecutionSection(executor="dask")
    with pytest.raises(ValueError, match="needs one of them"):
        ExecutionSection(executor="dask", scheduler="tcp://somewhere:1", slurm=SlurmSection())
    with pytest.raises(ValueError, match="belong to"):
        ExecutionSection(slurm=SlurmSection())


def test_without_slurm_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="no `sbatch`"):
        SlurmExecutor(section(workers=1, logs=tmp_path / "logs"))


@pytest.fixture
def played(tmp_path, monkeypatch):
    """A folder whose `sbatch` starts jobs as processes; process ids of all jobs stand in `jobs`."""
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        path = tmp_path / name
        path.write_text(text.format(python=sys.executable, folder=tmp_path))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    monkeypatch.setattr(slurm, "REPLACE_EVERY_S", 2.0)
    yield tmp_path
    for pid in job_ids(tmp_path):
        if psutil.pid_exists(pid):
            os.killpg(pid, signal.SIGKILL)


def job_ids(folder):
    return [int(line) for line in (folder / "jobs").read_text().split()] if (folder / "jobs").exists() else []


def double(payload):
    time.sleep(payload["seconds"])
    return {"twice": 2 * payload["number"]}


@pytest.mark.slow
@pytest.mark.fault(26, "SLURM's worker job ends (`sbatch` played)", "submitted again, nothing lost or doubled")
def test_a_job_that_ends_is_submitted_again_and_nothing_is_lost(played):
    executor = SlurmExecutor(section(workers=2, workers_per_job=2, logs=played / "logs", partition="", account=""))
    try:
        payloads = [{"number": number, "seconds": 0.5} for number in range(30)]
        answers = {}
        for outcome in executor.map(double, payloads):
            assert outcome.index not in answers
            answers[outcome.index] = outcome.result
            if len(answers) == 4:
                os.killpg(job_ids(played)[0], signal.SIGKILL)
    finally:
        executor.close()
    assert answers == {number: {"twice": 2 * number} for number in range(30)}
    assert len(job_ids(played)) == 2
    time.sleep(1.0)
    assert not [pid for pid in job_ids(played) if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


@pytest.mark.slow
@pytest.mark.fault(26, "`sbatch` refuses a worker job (played)", "submitted again until it is taken")
def test_a_job_that_slurm_does_not_take_is_submitted_again(played, caplog):
    (played / "sbatch").rename(played / "taken")
    refusing = f"#!/bin/sh\nif [ -e {played}/down ]; then echo no controller >&2; exit 1; fi\nexec {played}/taken $1\n"
    (played / "sbatch").write_text(refusing)
    (played / "sbatch").chmod(0o755)
    (played / "down").touch()
    executor = SlurmExecutor(section(workers=2, workers_per_job=2, logs=played / "logs", partition="", account=""))
    try:
        time.sleep(5.0)
        assert not job_ids(played)
        (played / "down").unlink()
        answers = {o.index: o.result for o in executor.map(double, [{"number": n, "seconds": 0.0} for n in range(4)])}
    finally:
        executor.close()
    assert answers == {number: {"twice": 2 * number} for number in range(4)}
    assert len(job_ids(played)) == 1 and "refused 1 worker jobs" in caplog.text
