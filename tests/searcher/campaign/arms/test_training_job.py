"""An iteration's training as a job: the same weights, again after a job that ended early, and never without an end."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from threading import Event, Timer
from types import SimpleNamespace

import pytest
from rich.console import Console

from searcher.campaign.arms import training_job
from searcher.campaign.arms.training_job import finished, leave, submitted
from searcher.campaign.campaign import open_campaign
from searcher.campaign.loop import run_campaign
from searcher.campaign.storage.verification import digest
from searcher.errors import SearchFailed, StoppedOnRequest
from searcher.loading import load_config

ROOT = Path(__file__).parents[4]
TINY = ROOT / "tests" / "configs" / "tiny.yaml"
FOUR_STEPS = "training.settings={steps: 4, batch_size: 4, checkpoint_every: 1}"
COMMAND = [sys.executable, "-c", "from searcher.cli import main; main()", "train-iteration"]


def campaign_with(tmp_path, *command):
    """As much of a campaign as waiting for a job needs."""
    training = SimpleNamespace(submit=command)
    return SimpleNamespace(config=SimpleNamespace(training=training), folder=tmp_path, stop=Event())


def python(text):
    return (sys.executable, "-c", text)


def test_what_a_job_leaves_comes_back_if_its_weights_are_whole(tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    leave(tmp_path, [("loss", 1, 0.5), ("loss", 1, 0.25)], weights, [{"name": "fine"}])
    assert finished(tmp_path, weights).metrics == [("loss", 1, 0.25)]
    assert finished(tmp_path, weights).findings == [{"name": "fine"}]
    weights.write_bytes(b"weight")
    assert finished(tmp_path, weights) is None


def test_a_job_that_gets_further_is_submitted_again(tmp_path):
    folder = tmp_path / "training"
    job = (
        "import hashlib, json, pathlib, sys\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        "n = len(list(folder.glob('checkpoint-*.json')))\n"
        "(folder / f'checkpoint-{n}.json').touch()\n"
        "if n < 2: sys.exit(1)\n"
        "(folder / 'weights.safetensors').write_bytes(b'w')\n"
        "record = {'sha256': hashlib.sha256(b'w').hexdigest(), 'metrics': [], 'findings': []}\n"
        "(folder / 'training.json').write_text(json.dumps(record))\n"
    )
    submitted(campaign_with(tmp_path, *python(job)), 0, "gan", folder / "weights.safetensors")
    assert len(list(folder.glob("checkpoint-*.json"))) == 3


def test_a_job_that_gets_no_further_ends_the_search_with_its_code(tmp_path):
    with pytest.raises(SearchFailed, match="ended with code 7"):
        submitted(campaign_with(tmp_path, *python("import sys; sys.exit(7)")), 0, "gan", tmp_path / "t" / "weights")
    with pytest.raises(SearchFailed, match="cannot be run"):
        submitted(campaign_with(tmp_path, "/no/such/sbatch"), 0, "gan", tmp_path / "t" / "weights")


def test_a_request_to_stop_ends_the_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(training_job, "POLL_S", 0.05)
    campaign = campaign_with(tmp_path, *python("import time; time.sleep(600)"))
    Timer(0.3, campaign.stop.set).start()
    with pytest.raises(StoppedOnRequest):
        submitted(campaign, 0, "gan", tmp_path / "t" / "weights")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def run(runs, *overrides):
    config = load_config(TINY, [f"runs={runs}", "budget.iterations=1", FOUR_STEPS, *overrides])
    campaign = open_campaign(config, Event())
    try:
        run_campaign(campaign, Console(quiet=True), lambda *_: None)
        return digest(campaign.ledger), campaign.ledger.metrics(0)
    finally:
        campaign.close()


@pytest.fixture
def path_of_the_program(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
def test_a_job_trains_the_weights_that_the_driver_would_have_even_if_it_is_cut_short(tmp_path, path_of_the_program):
    expected, metrics = run(tmp_path / "driver")
    # the first job is killed once its second checkpoint is there, as by a wall time without warning
    quoted = " ".join(f"'{word}'" for word in COMMAND)
    job = script(
        tmp_path / "job.sh",
        f'if [ -e {tmp_path}/cut ]; then exec {quoted} "$@"; fi\n'
        f'touch {tmp_path}/cut; {quoted} "$@" & job=$!\n'
        f"until ls {tmp_path}/job/tiny/iterations/000/training-gan/checkpoint-00000002.json 2> /dev/null\n"
        "do kill -0 $job || break; sleep 0.01; done\n"
        "kill -9 $job\n",
    )
    found, through_job = run(tmp_path / "job", f"training.submit={json.dumps([str(job)])}")
    assert found == expected
    last = {name: points[-1] for name, points in metrics.items() if not name.startswith("seconds")}
    assert {name: points[-1] for name, points in through_job.items() if name in last} == last


@pytest.mark.slow
def test_two_processes_of_torchrun_train_an_iteration(tmp_path, path_of_the_program):
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words += ["-m", "searcher.cli", "train-iteration"]
    found, metrics = run(tmp_path, f"training.submit={json.dumps(words)}")
    assert found and metrics["critic_loss"][-1][0] == 4


def test_an_iteration_that_is_not_under_way_is_refused(tmp_path):
    folder = tmp_path / "tiny"
    config = load_config(TINY, [f"runs={tmp_path}"])
    open_campaign(config, Event()).close()
    done = subprocess.run(
        [*COMMAND, str(folder), "0", "gan"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2 and "no arm `gan` that trains in iteration 0" in done.stderr, done.stderr
