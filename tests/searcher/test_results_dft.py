"""Inputs for DFT codes and results read back, with the packages that others use."""

import json
import sys

import ase.db
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from results_campaign import build_campaign

from searcher.cli import main
from searcher.errors import InputError
from searcher.results.dft_inputs import k_points, oxygen_molecule
from searcher.results.dft_results import comparison, import_results
from searcher.results.export import FORMATS, export
from searcher.structures.crystal import Crystal
from searcher.structures.slabs import faces_are_equal

BULK, HALF_O2, GAMMA_BOTTOM = -24.0, -4.9, 0.07  # eV per formula unit, eV, eV/Å²


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "invented"
    ledger = build_campaign(folder, iterations=1)
    return folder, ledger


@pytest.fixture
def exported(campaign, tmp_path):
    names = [c.id for c in campaign[1].candidates(verdict="accepted")][:3]
    return names, export(*campaign, tmp_path / "out", FORMATS, names)


def finish(folder, energy, forces=0.0):
    """Leave what a finished GPAW run leaves."""
    atoms = read(folder / "structure.extxyz")
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.full((len(atoms), 3), forces))
    write(folder / "result.extxyz", atoms)
    return atoms


def finish_references(gpaw):
    finish(gpaw / "reference-bulk", 2 * BULK)
    finish(gpaw / "reference-O2", 2 * HALF_O2)
    bottom = read(gpaw / "reference-bottom" / "structure.extxyz")
    area = np.linalg.norm(np.cross(bottom.cell[0], bottom.cell[1]))
    finish(gpaw / "reference-bottom", (bottom.numbers == 44).sum() * BULK + 2 * area * GAMMA_BOTTOM)


def test_k_points_have_one_density_in_every_cell():
    bulk = Crystal().bulk()
    assert k_points(bulk) == (6, 6, 8)  # 24 Å over 4.50, 4.50 and 3.10 Å
    assert k_points(bulk * (2, 1, 1)) == (3, 6, 8)
    bulk.pbc = (True, True, False)
    assert k_points(bulk) == (6, 6, 1) and k_points(oxygen_molecule()) == (1, 1, 1)


def test_pymatgen_reads_every_export(campaign, exported):
    from pymatgen.core import Structure
    from pymatgen.io.pwscf import PWInput
    from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

    names, out = exported
    for name in names:
        stored = campaign[1].structure(campaign[1].candidate(name).relaxed)
        n_oxygen = int((stored.numbers == 8).sum())
        vasp = out / "vasp" / name
        structures = [
            Structure.from_file(out / f"{name}.cif"),
            Poscar.from_file(out / f"{name}.poscar", check_for_potcar=False).structure,
            Poscar.from_file(vasp / "POSCAR", check_for_potcar=False).structure,
            PWInput.from_file(out / "espresso" / name / "espresso.pwi").structure,
        ]
        for structure in structures:
            assert len(structure) == len(stored) and structure.composition["O"] == n_oxygen
            # Å³; CIF rounds cell lengths to 1e-8 Å or so
            assert structure.volume == pytest.approx(stored.cell.volume, rel=1e-6)
        assert Incar.from_file(vasp / "INCAR")["IDIPOL"] == 3
        assert tuple(Kpoints.from_file(vasp / "KPOINTS").kpts[0]) == k_points(stored)
    assert Incar.from_file(out / "vasp" / "reference-O2" / "INCAR")["ISPIN"] == 2
    assert json.loads((out / "table.json").read_text())[0]["id"] in names


def test_ase_reads_databases_and_inputs(campaign, exported):
    names, out = exported
    with ase.db.connect(out / "terminations.db") as database:
        rows = {row.candidate: row for row in database.select()}
    assert set(rows) == set(names)
    for name in names:
        stored = campaign[1].structure(campaign[1].candidate(name).relaxed)
        np.testing.assert_allclose(rows[name].toatoms().positions, stored.positions, atol=1e-12)
        slab = read(out / "espresso" / name / "espresso.pwi", format="espresso-in")
        assert len(slab) == len(stored)
        assert sorted(slab.numbers) == sorted(stored.numbers)
        compile((out / "gpaw" / name / "run.py").read_text(), "run.py", "exec")
        frozen = read(out / "gpaw" / name / "structure.extxyz").constraints[0].index
        assert len(frozen) == int((stored.get_tags() == 0).sum())
    described = json.loads((out / "descriptions.json").read_text())
    assert {one["id"] for one in described} == set(names) and "coverages" in described[0]


def test_symmetric_inputs_need_no_lower_face(campaign, tmp_path):
    name = campaign[1].candidates(verdict="accepted")[0].id
    out = export(*campaign, tmp_path / "both", ("gpaw",), [name], symmetric=True)
    slab = read(out / "gpaw" / name / "structure.extxyz")
    assert faces_are_equal(slab, 1e-3) and not slab.constraints
    assert not (out / "gpaw" / "reference-bottom").exists()


def test_results_come_back_with_their_states_and_ranks(campaign, exported):
    folder, ledger = campaign
    names, out = exported
    gpaw = out / "gpaw"
    first = import_results(folder, [out], "PBE")
    assert {row["state"] for row in first["candidates"]} == {"sent"} and first["references"] is None
    finish_references(gpaw)
    areas = {}
    for name, gamma in zip(names[:2], (0.05, 0.03), strict=True):
        atoms = read(gpaw / name / "structure.extxyz")
        areas[name] = float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1])))
        n_metal, n_oxygen = (atoms.numbers == 44).sum(), (atoms.numbers == 8).sum()
        energy = n_metal * BULK + (n_oxygen - 2 * n_metal) * HALF_O2 + areas[name] * (gamma + GAMMA_BOTTOM)
        finish(gpaw / name, energy)
    (out / "vasp" / names[2] / "OUTCAR").write_text("POSITION  TOTAL-FORCE\n")
    found = import_results(folder, [gpaw, out / "vasp"], "PBE", out / "training.extxyz")
    rows = {row["id"]: row for row in found["candidates"]}
    assert rows[names[2]]["state"] == "running"
    for name, gamma in zip(names[:2], (50.0, 30.0), strict=True):
        assert rows[name]["gamma_dft_at_0"] == pytest.approx(gamma, abs=1e-6)  # energies of a few hundred eV
    ranked = sorted(names[:2], key=lambda n: rows[n]["gamma_dft"])
    assert [rows[n]["rank_dft"] for n in ranked] == [1, 2]
    assert len(read(out / "training.extxyz", ":")) == 5  # two slabs and three references, with forces
    assert comparison(ledger, "PBE")["candidates"] == found["candidates"]


def test_files_of_structures_are_read_too(campaign, tmp_path):
    folder, ledger = campaign
    name = ledger.candidates(verdict="accepted")[0].id
    atoms = ledger.structure(ledger.candidate(name).relaxed)
    atoms.calc = SinglePointCalculator(atoms, energy=-300.0)
    with ase.db.connect(tmp_path / "dft.db") as database:
        database.write(atoms, key_value_pairs={"candidate": name})
    atoms.info["candidate"] = name
    write(tmp_path / "dft.extxyz", atoms)
    for path in ("dft.db", "dft.extxyz"):
        (row,) = import_results(folder, [tmp_path / path], path)["candidates"]
        assert (row["id"], row["state"]) == (name, "done")
    atoms.info["candidate"] = "nowhere"
    write(tmp_path / "dft.extxyz", atoms)
    with pytest.raises(InputError, match="no candidate"):
        import_results(folder, [tmp_path / "dft.extxyz"], "other")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["import", "nowhere", "."], 5, "holds no campaign"),
        (["import", "nowhere", "missing"], 2, "`missing` does not exist"),
        (["import", "nowhere", "empty"], 2, "hold no calculation"),
        (["import", "nowhere", "bad"], 2, "no list of jobs"),
    ],
)
def test_mistakes_of_an_import(tmp_path, monkeypatch, capsys, words, code, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "jobs.json").write_text("[1]")
    atoms = oxygen_molecule()
    atoms.calc = SinglePointCalculator(atoms, energy=-9.8)
    atoms.info["role"] = "oxygen"
    if words[2] == ".":
        write(tmp_path / "o2.extxyz", atoms)
        words = [*words[:2], "o2.extxyz"]
    monkeypatch.setattr(sys, "argv", ["searcher", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    complaint = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == code and says in complaint
