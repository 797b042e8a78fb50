"""Faults 2 and 13: killed, or out of space, at every write, fsync, rename and removal of a campaign's files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(6 * 3600)]

ROOT = Path(__file__).parents[2]
PER_PROCESS = 50  # points that one interpreter tries before a fresh one takes over


@pytest.fixture(scope="module")
def under(interposer, tmp_path_factory):
    """Run `write_points.py` under the interposer and return its answers."""
    folder = tmp_path_factory.mktemp("points")

    def run(mode, *points):
        words = [sys.executable, str(Path(__file__).with_name("write_points.py")), str(folder), mode, *map(str, points)]
        environment = {
            **os.environ, "LD_PRELOAD": str(interposer), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)
        }  # fmt: skip
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    return run


@pytest.fixture(scope="module")
def whole(under):
    """Names of all points of an uninterrupted campaign, and its digest."""
    (answer,) = under("count")
    return answer["points"], answer["digest"]


def spread(n_points, n):
    return sorted({round(i * (n_points - 1) / max(n - 1, 1)) for i in range(min(n, n_points))})


def tried(under, mode, points):
    return [a for i in range(0, len(points), PER_PROCESS) for a in under(mode, *points[i : i + PER_PROCESS])]


def test_killed_at_every_write_it_ends_like_the_uninterrupted_one(under, whole, amount, tell):
    names, digest = whole
    points = spread(len(names), amount(5, len(names)))
    answers = tried(under, "kill", points)
    assert [a["point"] for a in answers] == points
    wrong = [(names[a["point"]], a) for a in answers if (a["first"], a["second"], a["digest"]) != (-9, 0, digest)]
    assert not wrong
    tell(2, "SIGKILL before and after every write, fsync, rename", len(points), "equal digest each time")


def test_a_full_disk_at_every_write_is_told_and_nothing_is_torn(under, whole, amount, tell):
    names, digest = whole
    writes = [i for i, name in enumerate(names) if name.startswith("before write")]
    points = [writes[i] for i in spread(len(writes), amount(4, len(writes)))]
    answers = tried(under, "full", points)
    # after the last transaction only SQLite's own tidying is left, which may fail without loss
    last = max(i for i, name in enumerate(names) if name == "after rename campaign.commits.new")
    for a in answers:
        assert a["first"] == 5 or (a["first"] == 0 and a["point"] > last), (names[a["point"]], a)
        assert (a["second"], a["digest"]) == (0, digest), (names[a["point"]], a)
    tell(13, "no space left from the n-th write on", len(points), "exit 5, then equal digest each time")


def test_a_small_file_system_that_grows_later(whole, tmp_path, amount, tell):
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-ec"]
    if not shutil.which("unshare") or subprocess.run([*mount, "mount -t tmpfs none /mnt"], check=False).returncode:
        pytest.skip("needs a user namespace that may mount a tmpfs")
    script = (
        'mount -t tmpfs -o size="$1"k none "$2"; cd "$3"\n'
        'searcher() { python=$1; shift; "$python" -c "from searcher.cli import main; main()" "$@"; }\n'
        'code=0; searcher "$4" run tests/configs/tiny.yaml --set runs="$2" || code=$?; echo "code $code"\n'
        'mount -o remount,size=64m "$2"\n'
        'searcher "$4" run tests/configs/tiny.yaml --set runs="$2" > /dev/null\n'
        'searcher "$4" verify "$2/tiny" --digest\n'
    )
    sizes = [40, 200, 20, 90, 130, 170, 240, 300, 360, 420][: amount(1, 10)]
    for size in sizes:
        words = [*mount, script, "sh", str(size), str(tmp_path), str(ROOT), sys.executable]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        assert "code 5" in lines and lines[-1] == whole[1], (size, done.stdout, done.stderr)
    tell(13, "a tmpfs of 20 to 420 KiB, enlarged later", len(sizes), "exit 5, then equal digest each time")
