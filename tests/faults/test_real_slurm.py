"""Fault 26 on a real SLURM: the scripts of `configs/cluster` as users submit them, and what a cluster does to them."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from campaign_processes import ROOT, TINY, digest, environment, finish
from slurm_server import Slurm, no_slurm

from searcher.campaign.storage.ledger import Ledger

pytest.importorskip("dask_jobqueue", reason="the extra `cluster` is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.skipif(bool(no_slurm()), reason=no_slurm())]

CLUSTER = ROOT / "configs" / "cluster"
SLOW = 'potential={import_path: "slow_potential:SlowRuO", arguments: {delay_s: 0.05}}'
PATIENCE_S = 900.0


@pytest.fixture(scope="module")
def slurm():
    with Slurm(Path(tempfile.mkdtemp(prefix="slurm-"))) as slurm:
        yield slurm


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    runs = tmp_path_factory.mktemp("alone")
    finish(runs, SLOW)
    return runs


def submit(slurm, folder, *options, settings):
    """Id of a batch job, submitted as a user would in a folder."""
    words = [str(ROOT / TINY), *(word for setting in settings for word in ("--set", setting))]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sbatch", "--parsable", f"--output={folder}/%x-%A.out", *options, *words],
        cwd=folder,
        env=environment(PATH=path, **slurm.environment),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def until(happened, folder, slurm):
    """Wait for something, and say what jobs told if it does not come."""
    end = time.monotonic() + PATIENCE_S
    while not happened():
        if time.monotonic() > end:
            logs = [path.read_text()[-3000:] for path in folder.rglob("*.out")]
            raise AssertionError("\n".join([*logs, slurm.call("scontrol", "show", "job")]))
        time.sleep(0.5)


def relaxed(runs):
    """How many candidates of the campaign have been relaxed so far."""
    if not (runs / "tiny" / "campaign.db").is_file():
        return 0
    ledger = Ledger(runs / "tiny" / "campaign.db", read_only=True)
    try:
        return sum(c.force_calls > 0 for c in ledger.candidates())
    finally:
        ledger.close()


def told(folder):
    return "".join(path.read_text() for path in folder.glob("searcher*.out"))


def rows(runs):
    """By candidate, what it became: most of what a digest is made of, in words."""
    ledger = Ledger(runs / "tiny" / "campaign.db", read_only=True)
    found = {
        c.id: (c.verdict, c.reason, int(c.passed), c.proposed, c.relaxed, c.force_calls, c.gamma_zero, c.kappa)
        for c in ledger.candidates()
    }
    ledger.close()
    return found


def whole(runs, oracle):
    mine, its = rows(runs), rows(oracle)
    assert not [row for row in mine.values() if row[1] in ("worker_died", "timeout")]
    assert {name: row for name, row in mine.items() if row != its.get(name)} == {}, told(runs)
    assert digest(runs) == digest(oracle)


def test_a_chain_of_drivers_submits_workers_and_trainings(slurm, oracle, tmp_path, tell):
    workers = f"{{workers_per_job: 1, walltime: '01:00:00', logs: {tmp_path}/logs}}"
    train = f"[sbatch, --wait, --output={tmp_path}/train.out, --cpus-per-task=1, {CLUSTER}/train.sh]"
    job = submit(
        slurm, tmp_path, "--array=1-6%1", "--mem=1G", CLUSTER / "driver.sh",
        settings=(
            f"runs={tmp_path}", SLOW, f"training.submit={train}",
            f"execution={{executor: dask, workers: 2, training_threads: 1, slurm: {workers}}}",
        ),
    )  # fmt: skip
    until(lambda: relaxed(tmp_path) >= 4, tmp_path, slurm)
    first = slurm.jobs("--name=searcher-worker", "--states=running")
    slurm.call("scancel", first[0])  # a node is taken away
    slurm.kill_controller()
    slurm.start_controller()
    until(lambda: relaxed(tmp_path) >= 6, tmp_path, slurm)
    slurm.call("scancel", "--batch", "--signal=USR1", f"{job}_1")  # the warning before the end of the time limit
    until(lambda: not [one for one in slurm.jobs() if one.startswith(job)], tmp_path, slurm)
    whole(tmp_path, oracle)
    assert "ExitCode=75" in slurm.call("scontrol", "show", "job", f"{job}_1")
    until(lambda: not slurm.jobs(), tmp_path, slurm)  # neither workers nor the rest of the chain stay behind
    tell(
        26,
        "SLURM: worker cancelled, controller killed, driver's job warned and followed by the next",
        1,
        "equal digest",
    )


def test_one_job_of_driver_and_workers_puts_itself_back(slurm, oracle, tmp_path, tell):
    job = submit(
        slurm, tmp_path, "--ntasks=2", "--mem-per-cpu=1G", CLUSTER / "job.sh",
        settings=(f"runs={tmp_path}", SLOW, "execution.training_threads=1", "execution.workers=2"),
    )  # fmt: skip
    until(lambda: relaxed(tmp_path) >= 4, tmp_path, slurm)
    slurm.call("scancel", "--batch", "--signal=USR1", job)
    until(lambda: "Restarts=1" in slurm.call("scontrol", "show", "job", job), tmp_path, slurm)
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or ())]
    slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now")  # SLURM lets it wait for two minutes
    until(lambda: "JobState=COMPLETED" in slurm.call("scontrol", "show", "job", job), tmp_path, slurm)
    whole(tmp_path, oracle)
    tell(26, "SLURM: a job of driver, scheduler and workers warned and put back into the queue", 1, "equal digest")
