"""Labels survive an interruption, and what no learned labeller can judge is left out."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from relax_structures import distorted_slab, rutile

from relax.labelling.frames import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY, read_data, write_data
from relax.labelling.labels import label, read_labels
from relax.labelling.tasks import task_key
from relax.potential import PotentialError

ANALYTIC = "relax.analytic:AnalyticRuO"


def _task(atoms: Atoms, **info: object) -> Atoms:
    atoms.info.update(config_type="slab", **info)
    return atoms


def test_an_interrupted_labelling_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    crystal = _task(rutile(), family="crystal")
    path = _task(distorted_slab(seed=1), family="path", protocol="relax", steps=6, snapshots=3)
    hot = _task(
        distorted_slab(seed=2), family="hot", protocol="dynamics", steps=4, snapshots=2, temperature=300, seed=5
    )
    close = _task(Atoms("O2", positions=[[0, 0, 0], [0.5, 0, 0]], cell=[8, 8, 8], pbc=True), family="close")

    first = label([crystal, path], ANALYTIC, {}, out)
    assert (first.labelled, first.known, first.frames) == (2, 0, 4)
    with out.open("a") as stream:
        stream.write("0123 {torn by a power c")
        stream.write("\n")
    second = label([crystal, path, hot, close], ANALYTIC, {}, out)
    assert (second.labelled, second.known, second.frames) == (2, 2, 2)
    assert second.skipped == {"distance O-O": 1}

    frames = read_labels(out)
    assert len(frames) == 6
    assert {frame.info["family"] for frame in frames} == {"crystal", "path", "hot"}
    (labelled,) = (frame for frame in frames if frame.info["family"] == "crystal")
    assert labelled.calc is None
    assert VIRIAL_KEY in labelled.info

    write_data(frames, tmp_path / "data.extxyz.xz")
    again = read_data(tmp_path / "data.extxyz.xz")
    for one, two in zip(frames, again, strict=True):
        assert one.info[ENERGY_KEY] == two.info[ENERGY_KEY]
        # eV/Å: extended XYZ keeps eight decimals
        np.testing.assert_allclose(one.arrays[FORCES_KEY], two.arrays[FORCES_KEY], atol=1e-8)


def test_a_task_is_known_by_structure_protocol_and_calculator() -> None:
    atoms = _task(rutile())
    key = task_key(atoms, ANALYTIC, {})
    assert task_key(atoms.copy(), ANALYTIC, {}) == key
    assert task_key(atoms, ANALYTIC, {"x": 1}) != key
    longer = _task(rutile(), steps=3)
    assert task_key(longer, ANALYTIC, {}) != key


FORTY_SLOW_ATOMS = """
import signal
import sys
from pathlib import Path
from ase import Atoms
from relax.labelling.labels import label
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins with it ignored
    tasks = [Atoms("O", cell=[9, 9, 9 + 0.1 * n], pbc=True, info={"family": str(n)}) for n in range(40)]
    label(tasks, "slow_reference:SlowRuO", {"delay_s": 1.0}, Path(sys.argv[1]), processes=2)
"""


def test_an_interruption_does_not_wait_for_what_is_left(tmp_path: Path) -> None:
    out, script = tmp_path / "labels.jsonl", tmp_path / "script.py"
    script.write_text(FORTY_SLOW_ATOMS)
    (tmp_path / "slow_reference.py").write_text(
        (Path(__file__).parent.parent / "faults" / "slow_potential.py").read_text(encoding="utf-8")
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    run = subprocess.Popen([sys.executable, script, out], env=environment, start_new_session=True)
    while not (out.exists() and read_labels(out)):
        assert run.poll() is None, "labelling ended before its first label"
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGINT)  # to every process of the terminal, as Ctrl-C does
    run.wait(timeout=15)  # 19 s of labelling are left, or more
    assert 0 < len(read_labels(out)) < 40


@pytest.mark.parametrize(
    ("import_path", "arguments", "message"),
    [
        ("nothing", {}, "must look like"),
        ("no_such_package.calculator:Model", {}, "is its package installed"),
        ("relax.analytic:Absent", {}, "has no callable 'Absent'"),
        ("relax.gpaw_process:GpawProcess", {"model": "large"}, "do not fit"),
    ],
)
def test_a_labeller_that_cannot_be_made_is_named(
    tmp_path: Path, import_path: str, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(PotentialError, match=message):
        label([_task(rutile(), family="crystal")], import_path, arguments, tmp_path / "labels.jsonl")
