"""A driver killed at random instants: the campaign goes on and ends with the uninterrupted one's digest."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LONGEST_S = 12.0


def command(runs, *rest):
    script = "from searcher.cli import main; main()"
    return [sys.executable, "-c", script, *rest, "--set", f"runs={runs}"]


def start(runs):
    return subprocess.Popen(
        command(runs, "run", "tests/configs/small.yaml"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def digest(runs):
    script = "from searcher.cli import main; main()"
    words = [sys.executable, "-c", script, "verify", str(runs / "small"), "--digest"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def finish(runs):
    process = start(runs)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_twenty_times_it_ends_like_the_uninterrupted_one(tmp_path):
    finish(tmp_path / "whole")
    instants = random.Random(3)
    for _ in range(20):
        process = start(tmp_path / "killed")
        time.sleep(instants.uniform(0.5, LONGEST_S))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(tmp_path / "killed")
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


@pytest.mark.slow
def test_sigterm_ends_with_the_code_for_resumable(tmp_path):
    process = start(tmp_path)
    while "iteration 0" not in process.stdout.readline():
        assert process.poll() is None
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 75
    finish(tmp_path)
