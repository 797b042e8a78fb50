"""A campaign in a notebook, and campaigns beside each other."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from results_campaign import build_campaign

import searcher
from searcher.campaign.workers.executor import InlineExecutor
from searcher.errors import InputError, StorageError
from searcher.results.comparison import compare, merged


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        build_campaign(parent / name, name=name, iterations=1)
    return parent / "one", parent / "two"


def test_terminations_are_atoms_with_their_records(folders):
    run = searcher.open_run(folders[0])
    found = list(run.terminations())
    assert len(found) == run.status["accepted"] and all(isinstance(atoms, Atoms) for atoms in found)
    gammas = [atoms.info["gamma_meV_per_A2"] for atoms in found]
    assert gammas == sorted(gammas)
    rows = run.records()
    assert [row["id"] for row in rows] == [atoms.info["candidate"] for atoms in found]
    assert found[0].get_potential_energy() == rows[0]["energy_eV"]
    assert run.atoms(rows[0]["id"]) == found[0] and run.describe(rows[0]["id"])["coverages"]
    assert "accepted" in repr(run)


def test_the_diagram_covers_the_range_and_is_drawn(folders):
    run = searcher.open_run(str(folders[0]))
    windows = run.windows((1.0, 1e-10))
    assert (windows[0]["from"], windows[-1]["to"]) == (-1.68, 0.0)
    assert all(one["to"] == other["from"] for one, other in pairwise(windows))
    assert run.plot_diagram().axes


def test_mistakes(folders, tmp_path):
    with pytest.raises(StorageError, match="holds no campaign"):
        searcher.open_run(tmp_path)
    run = searcher.open_run(folders[0])
    nothing = next(c.id for c in run.ledger.candidates(verdict="rejected") if c.relaxed is None)
    with pytest.raises(KeyError):
        run.atoms(nothing)
    with pytest.raises(AttributeError):
        searcher.nothing  # noqa: B018


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, searcher; print([m for m in ('torch', 'ase', 'matplotlib', 'mlflow') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_cell_of_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    build_campaign(tmp_path / "runs" / "quickstart", name="quickstart", iterations=1)
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((Path(__file__).parents[2] / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert len(names["table"]) == len(names["found"]) > 0 and names["figure"].axes
    assert "meV/Å²" in capsys.readouterr().out


def test_equal_campaigns_share_everything(folders):
    record = compare(folders, InlineExecutor())
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    # both come from the same random numbers
    assert record["distinct"] == {"one": 0, "two": 0}
    assert record["shared"] == len(record["terminations"]) > 0
    accepted = record["runs"][0]["accepted"]
    assert sum(len(group["found"]["one"]) for group in record["terminations"]) == accepted
    assert {window["facet"] for window in record["windows"]} == {"110"}


def test_merged_terminations_are_all_different(folders):
    kept = merged(folders, InlineExecutor())
    assert len(kept) == len(compare(folders, InlineExecutor())["terminations"])
    assert all(np.count_nonzero(atoms.get_tags() == 0) == 24 for atoms in kept)


def test_campaigns_that_cannot_be_compared(folders, tmp_path: Path):
    with pytest.raises(InputError, match="two campaigns"):
        compare(folders[:1], InlineExecutor())
    with pytest.raises(InputError, match="called 'one'"):
        compare([folders[0], folders[0]], InlineExecutor())
    with pytest.raises(StorageError):
        compare([folders[0], tmp_path], InlineExecutor())
