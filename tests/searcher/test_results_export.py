import csv
import json
import subprocess
import sys
from pathlib import Path

import ase.db
import numpy as np
import pytest
from ase.constraints import FixAtoms
from ase.gui.images import Images
from ase.io import read
from results_campaign import POTENTIAL, build_campaign

from searcher.campaign.storage.ledger import Ledger
from searcher.errors import InputError, StorageError
from searcher.results.export import export, three_dimensional, write_accepted_db

EXTXYZ_ROUNDING = 1e-8  # Å: eight decimals
CIF_ROUNDING = 2e-6  # Å: eight decimals of a cell length below 40 Å, and eight of the length itself
POSCAR_ROUNDING = 1e-12  # Å: sixteen decimals, less what scaling to the cell and back costs


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ledger]:
    folder = tmp_path_factory.mktemp("runs") / "invented"
    return folder, build_campaign(folder)


@pytest.fixture(scope="module")
def exported(campaign: tuple[Path, Ledger], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export")
    export(*campaign, out)
    return out


def accepted(ledger: Ledger) -> list[str]:
    return [candidate.id for candidate in ledger.candidates(verdict="accepted")]


def test_every_accepted_structure_has_its_files(campaign, exported):
    for name in accepted(campaign[1]):
        for suffix in (".extxyz", ".cif", ".poscar"):
            assert (exported / f"{name}{suffix}").stat().st_size > 100
    assert not list(exported.glob(".*"))


def test_extxyz_reads_back(campaign, exported):
    ledger = campaign[1]
    name = accepted(ledger)[0]
    stored = ledger.structure(ledger.candidate(name).relaxed)
    atoms = read(exported / f"{name}.extxyz")
    np.testing.assert_allclose(atoms.positions, stored.positions, rtol=0, atol=EXTXYZ_ROUNDING)
    np.testing.assert_array_equal(atoms.numbers, stored.numbers)
    np.testing.assert_array_equal(atoms.get_tags(), stored.get_tags())
    assert list(atoms.pbc) == [True, True, False]
    assert isinstance(atoms.constraints[0], FixAtoms)
    assert atoms.get_potential_energy() == ledger.energy(name, POTENTIAL)
    assert atoms.info["candidate"] == name
    assert atoms.info["gamma_meV_per_A2"] == pytest.approx(
        1000 * (ledger.candidate(name).gamma_zero - 0.5 * ledger.candidate(name).gamma_slope), rel=1e-8
    )


@pytest.mark.parametrize(("suffix", "rounding"), [(".cif", CIF_ROUNDING), (".poscar", POSCAR_ROUNDING)])
def test_periodic_formats_read_back(campaign, exported, suffix, rounding):
    ledger = campaign[1]
    for name in accepted(ledger):
        stored = three_dimensional(ledger.structure(ledger.candidate(name).relaxed))
        atoms = read(exported / f"{name}{suffix}", format="vasp" if suffix == ".poscar" else "cif")
        np.testing.assert_array_equal(atoms.numbers, stored.numbers)
        difference = atoms.get_scaled_positions(wrap=False) - stored.get_scaled_positions(wrap=False)
        difference -= np.round(difference)
        np.testing.assert_allclose(difference @ stored.cell.array, 0, atol=rounding)
        assert atoms.pbc.all()


def test_poscar_freezes_the_frozen_atoms(campaign, exported):
    ledger = campaign[1]
    name = accepted(ledger)[0]
    stored = three_dimensional(ledger.structure(ledger.candidate(name).relaxed))
    text = (exported / f"{name}.poscar").read_text()
    assert "Selective dynamics" in text
    assert text.splitlines()[5].split() == ["Ru", "O"]
    atoms = read(exported / f"{name}.poscar", format="vasp")
    np.testing.assert_array_equal(np.sort(atoms.constraints[0].index), np.flatnonzero(stored.get_tags() == 0))


def test_tables_agree(campaign, exported):
    rows = json.loads((exported / "table.json").read_text())
    with (exported / "table.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [line["id"] for line in lines]
    assert set(accepted(campaign[1])) == {row["id"] for row in rows}
    gammas = [row["gamma_meV_per_A2"] for row in rows]
    assert gammas == sorted(gammas)
    # dγ/dΔμ_O of a one-sided slab is minus its excess oxygen per area where the invented slopes say so; areas agree
    assert all(row["excess_oxygen"] / row["area_A2"] == pytest.approx(row["excess_oxygen_per_A2"]) for row in rows)


@pytest.mark.fault(24, "ids such as `../../escape` when exporting", "files stay in the folder")
def test_an_unfriendly_id_stays_inside(campaign, tmp_path, monkeypatch):
    folder, ledger = campaign
    name = accepted(ledger)[0]
    stored = ledger.candidate(name)
    monkeypatch.setattr(Ledger, "candidate", lambda self, asked: stored.__class__(**{**vars(stored), "id": asked}))
    out = tmp_path / "out"
    ids = ["../../escape", "/etc/x", "..", "a/b", "a_b", "A_B"]
    export(folder, ledger, out, formats=("cif",), ids=ids)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert len({path.name.lower() for path in out.glob("*.cif")}) == len(ids), "no file took another's place"


def test_wrong_requests_are_refused(campaign, tmp_path):
    folder, ledger = campaign
    with pytest.raises(InputError, match="extxyz"):
        export(folder, ledger, tmp_path / "out", formats=("xyz",))
    with pytest.raises(InputError, match="no relaxed structure"):
        export(folder, ledger, tmp_path / "out", ids=["000-gan-00004"])
    with pytest.raises(StorageError, match="nothing"):
        export(folder, ledger, tmp_path / "out", ids=["nothing"])
    assert not (tmp_path / "out").exists()


def test_accepted_db_is_an_ase_database(campaign):
    folder, ledger = campaign
    for _ in range(2):  # replaced, not appended to
        path = write_accepted_db(folder, ledger)
    with ase.db.connect(path) as database:
        rows = list(database.select())
    assert sorted(row.candidate for row in rows) == accepted(ledger)
    assert rows[0].facet == "(110)"
    assert rows[0].energy == ledger.energy(rows[0].candidate, POTENTIAL)
    stored = ledger.structure(ledger.candidate(rows[0].candidate).relaxed)
    np.testing.assert_array_equal(rows[0].positions, stored.positions)


def test_a_campaign_without_accepted_structures_still_exports(tmp_path):
    ledger = build_campaign(tmp_path / "young", iterations=1, per_arm=0)
    export(tmp_path / "young", ledger, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "table.json").read_text()) == []
    assert write_accepted_db(tmp_path / "young", ledger).exists()


def test_ase_gui_reads_every_structure_file_and_database(campaign, exported, tmp_path):
    """What the window shows is what `ase.gui.images.Images` holds; it needs no display."""
    folder, ledger = campaign
    names = accepted(ledger)
    single = [path for path in sorted(exported.iterdir()) if path.suffix in (".extxyz", ".cif", ".poscar")]
    assert len(single) == 3 * len(names) + 1
    for path in (path for path in single if path.stem in names):
        images = Images()
        images.read([str(path)])
        stored = ledger.structure(ledger.candidate(path.stem).relaxed)
        assert len(images) == 1 and len(images[0]) == len(stored), path.name
        assert images[0].get_chemical_formula() == stored.get_chemical_formula(), path.name
    export(folder, ledger, tmp_path / "database", formats=("db",))
    (database,) = (tmp_path / "database").glob("*.db")
    for path in (exported / "combined.extxyz", database, write_accepted_db(folder, ledger)):
        images = Images()
        images.read([str(path)])
        assert len(images) == len(names), path.name


def test_the_command_ase_db_reads_the_database(campaign):
    folder, ledger = campaign
    path = write_accepted_db(folder, ledger)
    command = [sys.executable, "-m", "ase", "db", str(path)]
    listed = subprocess.run([*command, "-c", "candidate,facet,energy"], capture_output=True, text=True, check=True)
    for name in accepted(ledger):
        assert name in listed.stdout
    assert f"Rows: {len(accepted(ledger))}" in listed.stdout
    one = accepted(ledger)[0]
    told = subprocess.run([*command, f"candidate={one}", "-l"], capture_output=True, text=True, check=True).stdout
    assert one in told and "(110)" in told
