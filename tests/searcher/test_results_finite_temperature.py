"""Dynamics and vibrations of a campaign's terminations, on the stand-in."""

import csv
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.campaign import open_campaign
from searcher.campaign.stopping import StopRequest
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.workers.executor import InlineExecutor
from searcher.loading import load_config
from searcher.results.export import chosen_terminations
from searcher.results.finite_temperature import AtTemperature, asked_for
from searcher.scoring.thermodynamics import HALF_ZERO_POINT_O2, vibrational_gamma

TINY = Path(__file__).parents[1] / "configs" / "tiny.yaml"


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A campaign with its seeds relaxed; the last oxygen atom of one stands where nothing holds it."""
    runs = tmp_path_factory.mktemp("runs")
    opened = open_campaign(
        load_config(TINY, [f"runs={runs}", "relaxation.fmax=0.05", "relaxation.max_calls=400"]), StopRequest()
    )
    prepare(opened, Console(quiet=True))
    folder = opened.folder
    opened.close()
    return folder


@pytest.fixture(scope="module")
def found(campaign):
    ledger = Ledger.of_run(campaign)
    ids = [c.id for c in ledger.candidates(verdict="reference")]
    terminations = chosen_terminations(campaign, ledger, ids)
    at = AtTemperature(campaign, ledger, InlineExecutor())
    return terminations, at, at.records(terminations, asked_for(30.0, 0.04, 400.0))


def test_cold_terminations_stay(found):
    terminations, _, records = found
    assert set(records) == {one.id for one in terminations} and len(records) >= 2
    for record in records.values():
        assert record["dynamics_K"] == 30.0 and record["dynamics_ps"] == 0.04
        if record["dynamics_reason"] is None:
            assert record["dynamics_stays"] is True and record["dynamics_kappa"] < 0.075
    assert any(record["dynamics_stays"] for record in records.values())


def test_equal_seeds_shake_equally(found):
    terminations, at, records = found
    again = at.dynamics(terminations, asked_for(30.0, 0.04, None).dynamics)
    for name, record in again.items():
        assert record == {key: records[name][key] for key in record}


def test_an_atom_that_nothing_holds_is_told(found):
    terminations, at, _ = found
    one = terminations[0]
    loose = one.atoms.copy()
    loose.positions[-1, 2] += 6.0  # beyond the stand-in's reach and above the window of the free atoms
    lost = type(one)(**{**vars(one), "atoms": loose})
    record = at.dynamics([lost], asked_for(30.0, 0.04, None).dynamics)[one.id]
    assert record["dynamics_stays"] is False and record["dynamics_reason"] == "leaving_window"


def test_vibrations_are_told_or_the_reason(found):
    _, _, records = found
    figures = [record for record in records.values() if record["vibrations_reason"] is None]
    assert figures
    for record in figures:
        assert record["vibrations_softest_meV"] > 0 and record["vibrations_zero_point_eV"] > 0
        # Reuter and Scheffler (2001) bound it by some 10 meV/Å² at 600 K for RuO2(110); the stand-in is not far stiffer
        assert abs(record["vibrations_gamma_meV_per_A2"]) < 50
    for record in records.values():
        assert (record["vibrations_gamma_meV_per_A2"] is None) == (record["vibrations_reason"] is not None)


def test_a_surface_that_swings_like_the_bulk_shifts_by_its_excess_oxygen_only():
    bulk = {"Ru": 0.02, "O": 0.05}
    same = {"Ru": [0.02] * 4, "O": [0.05] * 9}
    assert vibrational_gamma(same, bulk, 0, 40.0) == pytest.approx(0.0, abs=1e-15)
    assert vibrational_gamma(same, bulk, 2, 40.0) == pytest.approx(2 * (0.05 - HALF_ZERO_POINT_O2) / 40.0)
    softer = {**same, "O": [0.05] * 8 + [0.01]}
    assert vibrational_gamma(softer, bulk, 0, 40.0) == pytest.approx(-0.04 / 40.0)
    # a doubled cell with two of everything has the same γ
    doubled = {symbol: values * 2 for symbol, values in softer.items()}
    assert vibrational_gamma(doubled, bulk, 2, 80.0) == pytest.approx(vibrational_gamma(softer, bulk, 1, 40.0))


def test_an_export_carries_them_in_table_and_readme(call, campaign, tmp_path):
    name = Ledger.of_run(campaign).candidates(verdict="reference")[0].id
    words = ("export", campaign, "--out", "out", "--id", name, "--format", "extxyz")
    code, _, complaint = call(
        *words, "--dynamics", "30", "--picoseconds", "0.02", "--vibrations", "400", "--workers", "1"
    )
    assert code == 0, complaint
    (row,) = json.loads((tmp_path / "out" / "table.json").read_text())
    assert row["dynamics_K"] == 30.0 and row["vibrations_K"] == 400.0 and "dynamics_stays" in row
    with (tmp_path / "out" / "table.csv").open(newline="") as stream:
        (line,) = csv.DictReader(stream)
    assert math.isclose(float(line["vibrations_zero_point_eV"]), row["vibrations_zero_point_eV"])
    text = (tmp_path / "out" / "README.txt").read_text()
    assert "dynamics_stays" in text and "vibrations_gamma" in text
    assert call(*words)[0] == 0
    assert "dynamics_stays" not in (tmp_path / "out" / "README.txt").read_text()
    assert "dynamics_K" not in json.loads((tmp_path / "out" / "table.json").read_text())[0]


@pytest.mark.parametrize(
    "words", [("--dynamics", "0"), ("--dynamics", "300", "--picoseconds", "0"), ("--vibrations", "nan")]
)
def test_temperatures_are_positive(call, campaign, words):
    code, _, complaint = call("export", campaign, "--out", "out", *words)
    assert code == 2 and "must be positive" in complaint
