"""Energy classes of a campaign's minima, and edges for a fork."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from results_campaign import build_campaign

from searcher.errors import InputError
from searcher.loading import load_config
from searcher.results.classes import classes_record

DELTA_MU_O = -0.5  # eV, the default at which classes are made
ROUNDING = 0.005  # meV/Å²: edges are shown with two decimals


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "invented"
    return folder, build_campaign(folder)


def minima(ledger):
    return [c for c in ledger.candidates() if c.line is not None and c.verdict in ("accepted", "rejected", "reference")]


def heights(ledger):
    """meV/Å² above the lowest seed at the campaign's Δμ_O."""
    known = minima(ledger)
    lowest = min(c.line.at(DELTA_MU_O) for c in known if c.arm == "seed")
    return np.array([1000 * (c.line.at(DELTA_MU_O) - lowest) for c in known])


def test_recorded_classes_are_counted_as_they_were_recorded(campaign):
    record = classes_record(campaign[1])
    classes = [c.energy_class for c in minima(campaign[1])]
    assert record["recorded"]["edges"] == [5, 10, 20, 30, 45, 60, 80, 110, 150] and record["new"] is None
    assert record["recorded"]["counts"] == np.bincount(classes, minlength=10).tolist()
    assert record["minima"] == len(classes) == sum(record["recorded"]["counts"])


@pytest.mark.parametrize("bins", ["quantile", "equal-width"])
def test_new_edges_divide_the_heights_above_the_seeds(campaign, bins):
    found, values = classes_record(campaign[1], bins, 4)["new"], heights(campaign[1])
    shares = np.array([0.25, 0.5, 0.75])
    wanted = np.quantile(values, shares) if bins == "quantile" else values.min() + np.ptp(values) * shares
    np.testing.assert_allclose(found["edges"], wanted, rtol=0, atol=ROUNDING * 1.001)
    assert found["counts"] == np.histogram(values, [-np.inf, *found["edges"], np.inf])[0].tolist()
    assert found["unit"] == "meV/Å²"
    if bins == "quantile":
        assert max(found["counts"]) - min(found["counts"]) <= 2


def test_energies_divide_by_composition(campaign):
    ledger = campaign[1]
    found = classes_record(ledger, "equal-width", 3, "energy_per_atom")["new"]
    values = [ledger.energy(c.id, ledger.fact("potential")) / len(ledger.structure(c.relaxed)) for c in minima(ledger)]
    assert found["unit"] == "eV/atom" and found["setting"] is None
    assert found["counts"] == np.histogram(values, [-np.inf, *found["edges"], np.inf])[0].tolist()


def test_what_is_shown_can_be_pasted_and_changes_nothing(campaign, call):
    folder = campaign[0].resolve()
    before = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(folder.glob("*.db")))).hexdigest()
    code, shown, _ = call("classes", folder, "--bins", "quantile", "--n", 5)
    told = json.loads(call("classes", folder, "--bins", "quantile", "--n", 5, "--json")[1])["new"]
    assert code == 0 and shown.count("meV/Å²") == 4
    assert hashlib.sha256(b"".join(p.read_bytes() for p in sorted(folder.glob("*.db")))).hexdigest() == before

    pasted = re.search(r"--set '([^']*)' --fork NAME", shown)[1]
    Path("base.yaml").write_text("name: base\npotential: {gap: ruo2}\n", encoding="utf-8")
    by_option = load_config(Path("base.yaml"), [pasted]).conditioning.edges_mev_per_A2
    block = re.search(r"^conditioning:\n  .*\n", shown, re.MULTILINE)[0]
    Path("fork.yaml").write_text(f"name: fork\npotential: {{gap: ruo2}}\n{block}", encoding="utf-8")
    assert list(load_config(Path("fork.yaml"), []).conditioning.edges_mev_per_A2) == list(by_option) == told["edges"]


def test_what_cannot_be_told_is_refused(campaign, call, tmp_path):
    ledger = campaign[1]
    with pytest.raises(InputError, match="`--n 500` classes are more than the 27 minima"):
        classes_record(ledger, "quantile", 500)
    with pytest.raises(InputError, match=r"`--mode total_energy` needs `--bins"):
        classes_record(ledger, mode="total_energy")
    code, _, message = call("classes", campaign[0].resolve(), "--n", 4)
    assert code == 2 and "`--n 4` needs `--bins" in message


def test_equal_heights_make_no_edges(campaign, monkeypatch):
    seeds = [c for c in minima(campaign[1]) if c.arm == "seed"]
    monkeypatch.setattr(type(campaign[1]), "candidates", lambda self, **_: [seeds[0]] * 5)
    with pytest.raises(InputError, match="5 minima do not make `--n 4` classes.*too few different"):
        classes_record(campaign[1], "quantile", 4)


def test_a_campaign_that_has_relaxed_nothing_has_no_classes(campaign, monkeypatch):
    monkeypatch.setattr(type(campaign[1]), "candidates", lambda self, **_: [])
    with pytest.raises(InputError, match="no relaxed minimum yet"):
        classes_record(campaign[1], "quantile")
