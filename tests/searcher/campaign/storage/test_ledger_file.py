"""Ledgers of other versions of this program: older ones are brought up to date without loss, newer ones refused."""

import json
import sqlite3
import sys
from pathlib import Path
from threading import Event

import pytest

from searcher.campaign.campaign import open_campaign
from searcher.campaign.storage.candidate import Gate
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.storage.ledger_file import OlderSchema
from searcher.campaign.storage.ledger_tables import MIGRATIONS, SCHEMA_VERSION
from searcher.campaign.storage.locking import DriverLock
from searcher.campaign.storage.verification import digest
from searcher.cli import main
from searcher.errors import LockedError, StorageError
from searcher.loading import load_config

TINY = Path(__file__).parents[3] / "configs" / "tiny.yaml"
# what version 1 of the schema was; written out, since the program itself only knows how to leave it behind
VERSION_1 = """
CREATE TABLE fact (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE structure (
    key TEXT PRIMARY KEY, n_atoms INTEGER NOT NULL, n_frozen INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE TABLE candidate (
    id TEXT PRIMARY KEY, iteration INTEGER NOT NULL, arm TEXT NOT NULL, "index" INTEGER NOT NULL, seed INTEGER NOT NULL,
    passed INTEGER NOT NULL, verdict TEXT NOT NULL, reason TEXT, condition TEXT NOT NULL, confidence REAL,
    proposed TEXT REFERENCES structure(key), relaxed TEXT REFERENCES structure(key),
    force_calls INTEGER NOT NULL, fmax REAL, gamma_zero REAL, gamma_slope REAL, energy_class INTEGER,
    kappa REAL, nearest TEXT, above_envelope REAL, label TEXT
);
CREATE INDEX candidate_by_arm ON candidate (iteration, arm);
CREATE TABLE energy (
    candidate TEXT NOT NULL REFERENCES candidate(id), potential TEXT NOT NULL, energy REAL NOT NULL,
    PRIMARY KEY (candidate, potential)
);
CREATE TABLE snapshot (
    candidate TEXT NOT NULL REFERENCES candidate(id), call INTEGER NOT NULL, structure TEXT NOT NULL,
    energy REAL NOT NULL, PRIMARY KEY (candidate, call)
);
CREATE TABLE stage (
    iteration INTEGER NOT NULL, name TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (iteration, name)
);
CREATE TABLE metric (
    iteration INTEGER NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (iteration, name, step)
);
"""


def as_version_1(path):
    """Rewrite a ledger as version 1 of the schema held the same campaign."""
    old = path.with_suffix(".old")
    connection = sqlite3.connect(old)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(VERSION_1)
    connection.execute("ATTACH DATABASE ? AS now", (str(path),))
    for table in ("fact", "structure", "candidate", "energy", "snapshot", "stage", "metric"):
        names = [f'"{row[1]}"' for row in connection.execute(f"PRAGMA main.table_info({table})")]
        listed = ", ".join(names)
        connection.execute(f"INSERT INTO main.{table} ({listed}) SELECT {listed} FROM now.{table}")
    connection.execute("UPDATE main.fact SET value = '1' WHERE key = 'schema_version'")
    connection.commit()
    connection.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    old.replace(path)


def config(runs):
    return load_config(TINY, [f"runs={runs}", "budget.iterations=1"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A campaign of one iteration; (runs, digest)."""
    from rich.console import Console

    from searcher.campaign.loop import run_campaign

    runs = tmp_path_factory.mktemp("finished")
    campaign = open_campaign(config(runs), Event())
    run_campaign(campaign, Console(quiet=True), lambda *_: None)
    found = digest(campaign.ledger)
    campaign.close()
    return runs, found


@pytest.fixture
def old(finished, tmp_path):
    """The same campaign as an older version left it; (folder, digest)."""
    import shutil

    shutil.copytree(finished[0] / "tiny", tmp_path / "tiny")
    as_version_1(tmp_path / "tiny" / "campaign.db")
    shutil.rmtree(tmp_path / "tiny" / "potentials")
    return tmp_path / "tiny", finished[1]


def version_of(path):
    connection = sqlite3.connect(path)
    (value,) = connection.execute("SELECT value FROM fact WHERE key = 'schema_version'").fetchone()
    connection.close()
    return json.loads(value)


def test_every_older_version_has_a_way_up():
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_an_older_ledger_is_brought_up_to_date_and_the_old_one_kept(old):
    folder, expected = old
    ledger = Ledger(folder / "campaign.db")
    assert digest(ledger) == expected and ledger.candidates(reached=Gate.CONVERGED)
    assert ledger.potentials() == []
    ledger.close()
    assert version_of(folder / "campaign.db") == SCHEMA_VERSION
    assert version_of(folder / "campaign.db.schema-1") == 1


def test_an_older_campaign_goes_on_and_gets_its_copy_of_the_potential(old):
    folder, expected = old
    campaign = open_campaign(config(folder.parent), Event())
    assert [(row[0], row[1]) for row in campaign.ledger.potentials()] == [(0, campaign.ledger.fact("potential"))]
    assert digest(campaign.ledger) == expected
    campaign.close()


def test_reading_an_older_ledger_brings_it_up_to_date_unless_a_driver_is_at_work(old):
    folder, expected = old
    lock = DriverLock(folder)
    with pytest.raises(LockedError):
        Ledger.of_run(folder)
    lock.release()
    with pytest.raises(OlderSchema):
        Ledger(folder / "campaign.db", read_only=True)
    ledger = Ledger.of_run(folder)
    assert digest(ledger) == expected
    ledger.close()


def test_a_migration_that_fails_leaves_the_old_ledger(old, monkeypatch):
    folder, _ = old
    monkeypatch.setitem(MIGRATIONS, 1, (*MIGRATIONS[1], "CREATE TABLE fact (key TEXT)"))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        Ledger(folder / "campaign.db")
    assert version_of(folder / "campaign.db") == 1
    monkeypatch.undo()
    Ledger(folder / "campaign.db").close()


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 0, "two"])
def test_a_newer_or_unknown_version_is_refused_with_5(tmp_path, version, monkeypatch, capsys):
    ledger = Ledger.create(tmp_path / "campaign.db", {})
    ledger.set_fact("schema_version", version)
    ledger.close()
    with pytest.raises(StorageError, match=f"schema version {version!r}"):
        Ledger(tmp_path / "campaign.db")
    monkeypatch.setattr(sys, "argv", ["searcher", "status", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 5
    complaint = capsys.readouterr().err
    assert ("a newer version" if version == SCHEMA_VERSION + 1 else "does not know") in complaint
