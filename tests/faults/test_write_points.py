"""Faults 1, 2 and 13: killed, or out of space, at every write, fsync, rename and removal of a campaign's files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(6 * 3600)]

ROOT = Path(__file__).parents[2]
PER_PROCESS = 100  # points that one interpreter tries before a fresh one takes over
PARTS = 12


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
        shutil.rmtree(folder)
        folder.mkdir()
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    return run


@pytest.fixture(scope="module")
def counted(under):
    """Names of all points of a campaign's iterations and of the whole command, uninterrupted; the digest of both."""
    iterations, command = under("count")
    assert iterations["digest"] == command["digest"]
    # the library sees what SQLite, torch and Python write
    files = (
        "write campaign.db-wal",
        "fsync campaign.db-wal",
        "write campaign.commits",
        "rename .weights.safetensors.part",
    )
    assert {f"before {name}" for name in files} <= set(iterations["points"])
    assert {f"before rename {name}.new" for name in ("report.html", "accepted.db")} <= set(command["points"])
    return iterations["points"], command["points"], iterations["digest"]


@pytest.fixture(scope="module")
def whole(counted):
    """Names of all points of the iterations, and the digest."""
    return counted[0], counted[2]


@pytest.fixture(scope="module")
def command(counted):
    """Names of all points of the command, and the digest."""
    return counted[1:]


def spread(n_points, n):
    return sorted({round(i * (n_points - 1) / max(n - 1, 1)) for i in range(min(n, n_points))})


def share(points, part):
    """The points of one part of a test that is long: what has passed is not repeated when it is cut short."""
    return [point for index, point in enumerate(points) if index * PARTS // len(points) == part]


def pytest_generate_tests(metafunc):
    if "part" in metafunc.fixturenames:
        long = metafunc.config.getoption("--long-faults")
        metafunc.parametrize("part", range(PARTS) if long else [None])


def tried(under, mode, points):
    answers = [a for i in range(0, len(points), PER_PROCESS) for a in under(mode, *points[i : i + PER_PROCESS])]
    assert [a["point"] for a in answers] == points
    return answers


def test_killed_at_a_write_it_ends_like_the_uninterrupted_one(under, whole, amount, tell):
    names, digest = whole
    points = spread(len(names), amount(3, 40))
    wrong = [(names[a["point"]], a) for a in tried(under, "kill", points) if (a["first"], a["digest"]) != (-9, digest)]
    assert not wrong
    tell(2, "SIGKILL before or after a write, fsync, rename", len(points), "equal digest each time")


def test_killed_while_it_writes_what_people_read_it_writes_it_again(under, command, amount, tell):
    names, digest = command
    projections = [i for i, name in enumerate(names) if any(file in name for file in ("accepted.db", "report.html"))]
    points = [projections[i] for i in spread(len(projections), amount(2, 40))]
    answers = tried(under, "kill-command", points)
    assert not [(names[a["point"]], a) for a in answers if (a["first"], a["digest"]) != (-9, digest)]
    tell(2, "SIGKILL while report or accepted structures are written", len(points), "equal digest each time")


def test_what_any_write_leaves_behind_is_taken_up(under, whole, part, tell):
    """The files as they stand between any two calls are what a kill there would leave."""
    names, digest = whole
    points = range(300, 310) if part is None else share(range(len(names)), part)
    answers = under("states", points[0], len(points))
    assert answers and all(points[0] <= a["point"] <= points[-1] for a in answers)
    assert not [(names[a["point"]], a) for a in answers if a["digest"] != digest]
    tell(
        2, "stopped before and after every write, fsync, rename", len(points), "equal digest from every state of files"
    )


def test_a_full_disk_at_every_write_is_told_and_nothing_is_torn(under, command, part, tell):
    names, digest = command
    writes = [i for i, name in enumerate(names) if name.startswith("before write")]
    points = [writes[i] for i in spread(len(writes), 3)] if part is None else share(writes, part)
    # after the last transaction only SQLite's own tidying is left, which may fail without loss
    last = max(i for i, name in enumerate(names) if name == "after write campaign.commits")
    for a in tried(under, "full", points):
        assert a["first"] == 5 or (a["first"] == 0 and a["point"] > last), (names[a["point"]], a)
        assert a["digest"] == digest, (names[a["point"]], a)
    tell(13, "no space left from the n-th write on", len(points), "exit 5, then equal digest each time")


def test_killed_at_random_instants_it_ends_like_the_uninterrupted_one(under, whole, part, amount, tell):
    kills = amount(3, 180 // PARTS)
    answers = under("instants", part or 0, kills)
    assert answers[-1]["kills"] >= kills and {a["digest"] for a in answers} == {whole[1]}
    tell(1, "SIGKILL at random instants, potential remembered", answers[-1]["kills"], "equal digest each time")


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
