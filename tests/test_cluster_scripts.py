"""The job scripts of `configs/cluster` with SLURM's and this program's commands played by others."""

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from searcher.loading import load_config

CLUSTER = Path(__file__).parents[1] / "configs" / "cluster"
# a driver, or a training, that saves when it is asked to end and otherwise ends with the code in `code`
PLAYED = """#!/bin/sh
echo "$0" "$@" >> {folder}/calls
trap 'exit 75' USR1 TERM
: > {folder}/started
if [ -e {folder}/code ]; then exit $(cat {folder}/code); fi
while :; do sleep 0.05; done
"""
NOTED = '#!/bin/sh\necho "$(basename "$0")" "$@" >> {folder}/calls\n'


@pytest.fixture
def played(tmp_path):
    """A folder that stands first in PATH, with what the scripts call."""
    for name, text in (("searcher", PLAYED), ("torchrun", PLAYED), ("scancel", NOTED), ("scontrol", NOTED)):
        path = tmp_path / name
        path.write_text(text.format(folder=tmp_path))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def start(folder, script, *words):
    slurm = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_JOB_ID": "78", "SLURM_GPUS_ON_NODE": "2", "SLURM_CPUS_PER_TASK": "8"}
    environment = {**os.environ, **slurm, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.Popen([CLUSTER / script, *words], cwd=folder, env=environment, start_new_session=True)


def calls(folder):
    return [line.removeprefix(f"{folder}/") for line in (folder / "calls").read_text().splitlines()]


@pytest.mark.parametrize(("code", "cancelled"), [(0, True), (2, True), (75, False)])
def test_the_chain_goes_on_only_where_the_campaign_can(played, code, cancelled):
    (played / "code").write_text(str(code))
    assert start(played, "driver.sh", "my.yaml", "--set", "seed=2").wait(20) == code
    found = calls(played)
    assert found[0] == "searcher run my.yaml --set seed=2"
    assert found[1:] == (["scancel --state=PENDING 77"] if cancelled else [])


@pytest.mark.parametrize(("script", "program"), [("driver.sh", "searcher"), ("train.sh", "torchrun")])
def test_the_clusters_warning_reaches_what_can_save(played, script, program):
    process = start(played, script, "a", "b")
    while not (played / "started").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 75 and calls(played)[0].startswith(program)


def test_a_training_has_one_process_per_gpu(played):
    (played / "code").write_text("0")
    assert start(played, "train.sh", "runs/x", "3", "gan").wait(20) == 0
    assert calls(played) == ["torchrun --standalone --nproc-per-node 2 -m searcher.cli train-iteration runs/x 3 gan"]


def test_the_ready_example_names_scripts_that_are_there():
    config = load_config(CLUSTER / "ruo2-110-slurm.yaml")
    assert config.execution.slurm is not None and config.training.submit is not None
    assert (CLUSTER / Path(config.training.submit[-1]).name).is_file()
