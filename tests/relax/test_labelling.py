"""Labels survive an interruption, and what no learned labeller can judge is left out."""

from pathlib import Path

import numpy as np
from ase import Atoms
from relax_structures import distorted_slab, rutile

from relax.labelling import (
    ENERGY_KEY,
    FORCES_KEY,
    VIRIAL_KEY,
    label,
    read_data,
    read_labels,
    task_key,
    write_data,
)

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
