import base64
import fcntl
import hashlib
import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from results_campaign import build_campaign
from rich.console import Console

from searcher.campaign.storage.iterations import finished_iterations
from searcher.errors import InputError
from searcher.results import plots, report_training, svg
from searcher.results.report import render, write_report
from searcher.results.status import print_status, status, yield_per_thousand
from searcher.results.terminations import described
from searcher.scoring.thermodynamics import Line

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "invented"
    return folder, build_campaign(folder)


@pytest.fixture(scope="module")
def page(campaign):
    return write_report(*campaign).read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Tags that are opened and closed in order, attributes, and identifiers."""

    void = ("meta", "input", "img", "br", "link")

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.rows = [], [], []

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag == "tr" and "data-id" in dict(attributes):
            self.rows.append(dict(attributes)["data-id"])
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(text):
    parser = Outline()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_every_accepted_termination_and_seed_has_a_row(campaign, page):
    ledger = campaign[1]
    expected = [c.id for c in ledger.candidates() if c.verdict in ("accepted", "reference")]
    assert sorted(outline(page).rows) == sorted(expected)


def test_the_page_asks_for_nothing_from_outside(page):
    addresses = [v for _, name, v in outline(page).attributes if name in ("src", "href", "srcset", "action", "data")]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    viewer = (Path(svg.__file__).parent / "templates" / "vendor" / "3Dmol-min.js").read_text(encoding="utf-8")
    # the viewer's own functions for fetching molecules are never called, and the policy would stop them
    assert viewer in page and not re.search(r"https?://|url\((?!#)|@import", page.replace(viewer, ""))


@pytest.mark.fault(24, "the report's content security policy", "its own script and style only")
def test_the_policy_allows_the_pages_own_script_and_style_only(page):
    policy = next(v for tag, name, v in outline(page).attributes if tag == "meta" and "default-src" in v)
    assert policy.startswith("default-src 'none'")
    for tag, number in (("style", 1), ("script", 2)):
        contents = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(contents) == number
        (allowed,) = re.findall(rf"{tag}-src ([^;]*);", policy)
        for content in contents:
            assert f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'" in allowed
    inline = [name for _, name, _ in outline(page).attributes if name == "style" or name.startswith("on")]
    assert inline == [], "inline handlers and styles would be blocked by the policy"


@pytest.mark.fault(24, "`<script>` in names and structure info", "escaped")
def test_what_comes_from_files_is_escaped(tmp_path):
    ledger = build_campaign(tmp_path / "evil", name="evil", iterations=1)
    ledger.set_fact("name", "<script>alert(1)</script>")
    ledger.set_fact("withheld", [{"name": '"><img src=x onerror=alert(2)>', "found_by": None, "kappa": None}])
    ledger.set_fact("host", "<b>host</b>")
    ledger._connection.execute("UPDATE candidate SET nearest = '<svg onload=alert(3)>'")
    text = render(tmp_path / "evil", ledger)
    for attack in ("<script>alert", "<img src=x", "<b>host", "<svg onload"):
        assert attack not in text
    outline(text)


@pytest.mark.fault(24, "a password in the settings", "not in the report")
def test_passwords_of_the_settings_are_not_shown(tmp_path):
    ledger = build_campaign(tmp_path / "secret", iterations=1, per_arm=2)
    config = ledger.fact("config")
    config["tracking"]["uri"] = "postgresql://me:hunter2@host/db"
    ledger.set_fact("config", config)
    text = render(tmp_path / "secret", ledger)
    assert "hunter2" not in text
    assert "me:***@host" in text


def test_a_campaign_that_has_not_begun_has_a_report(tmp_path):
    ledger = build_campaign(tmp_path / "young", iterations=1, per_arm=0)
    ledger._connection.execute("DELETE FROM energy")
    ledger._connection.execute("DELETE FROM candidate")
    ledger._connection.execute("DELETE FROM stage")
    text = render(tmp_path / "young", ledger)
    assert "Nothing has been relaxed yet" in text
    outline(text)


def test_the_slope_in_the_table_is_minus_the_excess_oxygen(campaign):
    ledger = campaign[1]
    for termination in described(ledger, ledger.candidates(verdict="accepted")):
        # rutile slabs: dγ/dΔμ_O = −(N_O − 2 N_metal)/A; the invented slopes are rounded to four digits
        assert termination.line.slope == pytest.approx(-termination.excess_oxygen_per_area, abs=1e-5)


def test_the_envelope_is_drawn_through_its_corners():
    lines = [svg.Curve("poor", "poor", "seed", Line(0.12, 0.05)), svg.Curve("rich", "rich", "arm0", Line(0.07, 0.0))]
    drawn = svg.diagram(lines, (-2.0, 0.0), (1.0,))
    points = re.search(r'class="envelope" data-facet="" points="([^"]*)"', drawn)[1].split()
    assert len(points) == 3
    x = [float(point.split(",")[0]) for point in points]
    # 0.12 + 0.05 Δμ = 0.07 at Δμ = −1, the middle of the range; a tenth of a unit is the drawing's rounding
    assert x[1] == pytest.approx((x[0] + x[2]) / 2, abs=0.1)


def test_facets_have_an_envelope_each_and_are_chosen_by_boxes(campaign, tmp_path):
    folder, ledger = campaign
    other = build_campaign(tmp_path / "other", name="other", iterations=1)
    template = ledger.fact("template")
    other.set_fact("template", {**template, "facet": "100"})
    text = render(folder, ledger, None, [tmp_path / "other"])
    assert re.findall(r'class="envelope" data-facet="(\d+)"', text) == ["110", "100"]
    assert re.findall(r'type="checkbox" value="(\d+)"', text) == ["110", "100"]
    assert 'data-id="other 000-gan-' in text and 'id="facets"' not in render(folder, ledger)
    outline(text)
    other.set_fact("potential", "another")
    with pytest.raises(InputError, match="cannot be compared"):
        render(folder, ledger, None, [tmp_path / "other"])


def test_health_tells_what_every_iteration_gave(campaign):
    rows = report_training.health(campaign[1])
    assert [row["iteration"] for row in rows] == [0, 1]
    for row in rows:
        # of six proposals one is not decoded and one is decoded but not valid; all that relax are novel
        assert row["decoded"] == pytest.approx(5 / 6) and row["valid"] == pytest.approx(4 / 6)
        assert row["novel"] == 1.0 and row["steps"] == 390 and 1.0 < row["critic_gradient"] < 1.2


def test_what_the_checks_found_is_told(campaign, page):
    found = report_training.findings(campaign[1])
    assert [(one["iteration"], one["step"]) for one in found] == [(0, 300), (1, 300)]
    assert report_training.checks(campaign[1]).names == ["health_diversity"] and 'id="checks"' in page
    assert "the generator makes few different grids" in page and "roll back" in page


def test_a_sample_lies_beside_the_real_structure_that_it_came_from(campaign):
    folder, ledger = campaign
    seeds = [ledger.structure(c.relaxed) for c in ledger.candidates(verdict="reference")]
    names = {c.label or c.id: c for c in ledger.candidates()}
    found = report_training.samples(folder, ledger)
    for seed, one in zip(seeds, found, strict=True):
        # the nearest may be the seed or another of its composition
        assert ledger.structure(names[one.nearest].relaxed).get_chemical_formula() == seed.get_chemical_formula()
    # the samples are the seeds with their atoms 0.15 Å off, which takes about 7 % from the overlap with σ = 0.5 Å
    assert all(0.85 < one.likeness < 1.0 for one in found)
    for one in found:
        assert len(one.generated) == len(one.real) == 4
        assert base64.b64decode(one.generated[0].source.partition(",")[2]).startswith(PNG)


def test_a_structure_is_drawn_with_every_atom(campaign):
    ledger = campaign[1]
    termination = described(ledger, ledger.candidates(verdict="accepted"))[0]
    for view in ("top", "side"):
        drawn = svg.structure(termination.atoms, termination.n_frozen, view)
        assert drawn.count("<circle") == termination.n_atoms
        assert drawn.count('class="frozen') == termination.n_frozen


def test_pictures_are_png(campaign):
    folder, ledger = campaign
    samples = folder / "iterations" / "000" / "samples-gan.npz"
    lines = {"a": Line(0.1, 0.05), "b": Line(0.08, -0.01)}
    pictures = [
        plots.losses(ledger.metrics(0)),
        plots.funnels(ledger),
        plots.diagram(lines, ["a"], (-1.68, 0.0)),
        plots.energy_classes(ledger),
        plots.slices(samples),
    ]
    for picture in pictures:
        assert picture.startswith(PNG)
        assert 5_000 < len(picture) < 500_000


def test_status_counts_what_the_ledger_holds(campaign):
    folder, ledger = campaign
    found = json.loads(json.dumps(status(folder, ledger), allow_nan=False))
    assert found["state"] == "finished"
    assert found["iterations"] == len(finished_iterations(ledger)) == 2
    assert found["arms"]["gan"] == ledger.funnel("gan")
    assert found["accepted"] == len(ledger.candidates(verdict="accepted"))
    assert found["force_calls"] == sum(funnel["force_calls"] for funnel in found["arms"].values())
    assert found["references"] == {"seed": 3}
    gates = [found["arms"]["random"][gate] for gate in ("proposed", "decoded", "valid", "converged", "accepted")]
    assert gates == sorted(gates, reverse=True)


def test_a_locked_campaign_is_running_and_a_left_one_has_stopped(tmp_path):
    folder = tmp_path / "half"
    ledger = build_campaign(folder, iterations=2)
    ledger._connection.execute("DELETE FROM stage WHERE iteration = 1")
    assert status(folder, ledger)["state"] == "stopped"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert status(folder, ledger)["state"] == "running"
    assert status(folder, ledger)["state"] == "stopped"


def test_status_prints_both_arms(campaign):
    text = StringIO()
    print_status(status(*campaign), Console(file=text, width=100))
    assert "gan" in text.getvalue()
    assert "random" in text.getvalue()
    assert "2 of 2 iterations" in text.getvalue()


def test_yield_intervals_match_garwood():
    # Garwood (1936), 95 %: 0 counts 0 to 3.689, 10 counts 4.795 to 18.39
    assert yield_per_thousand(0, 1000) == pytest.approx((0.0, 0.0, 3.689), abs=0.001)
    assert yield_per_thousand(10, 1000) == pytest.approx((10.0, 4.795, 18.39), abs=0.005)
    assert yield_per_thousand(3, 0) is None
    assert np.isfinite(yield_per_thousand(5, 2)).all()
