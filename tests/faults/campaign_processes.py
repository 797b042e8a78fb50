"""A driver in a process of its own, its children, and what it leaves."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).parent
TINY = "tests/configs/tiny.yaml"


def words(*rest):
    return [sys.executable, "-c", "from searcher.cli import main; main()", *map(str, rest)]


def environment(**more):
    paths = [str(ROOT), str(FAULTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **more}


def start(runs, *overrides, config=TINY, **more):
    """A running driver of the tiny campaign."""
    settings = [word for override in (f"runs={runs}", *overrides) for word in ("--set", override)]
    return subprocess.Popen(
        words("run", config, *settings),
        cwd=ROOT,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(runs, *overrides, code=0, **more):
    process = start(runs, *overrides, **more)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == code, output
    return output


def call(*rest):
    """(exit code, stdout, stderr) of a command."""
    done = subprocess.run(words(*rest), cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def digest(runs, name="tiny"):
    code, out, complaint = call("verify", Path(runs) / name, "--digest")
    assert code == 0, complaint
    return out.strip()


def wait_for(process, text):
    """Read a driver's output until a line holds `text`."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    raise AssertionError("".join(lines))


def descendants(process):
    return psutil.Process(process.pid).children(recursive=True)


def none_left(children, within_s=20.0):
    _, alive = psutil.wait_procs(children, timeout=within_s)
    return not [child for child in alive if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def ended_within(process, seconds):
    """Exit code and how long it took."""
    began = time.monotonic()
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, time.monotonic() - began, output
