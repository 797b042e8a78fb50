"""The report as a page: the data inside, the map, and what a browser makes of it."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from chromium import CHROMIUM, FLAGS
from results_campaign import build_campaign

from searcher.campaign.workers.executor import InlineExecutor
from searcher.results.report import write_report
from searcher.results.report_data import example_pictures
from searcher.results.soap_map import CACHE, groups_of_kernel, likeness, most_different, principal_axes

ONCE = ("--virtual-time-budget=6000", "--enable-logging=stderr")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "invented"
    ledger = build_campaign(folder, iterations=1)
    write_report(folder, ledger, InlineExecutor())
    return folder, ledger


@pytest.fixture(scope="module")
def page(campaign):
    return (campaign[0] / "report.html").read_text(encoding="utf-8")


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_every_row_has_its_structure_and_point(campaign, page):
    data = data_of(page)
    rows = re.findall(r'<tr tabindex="-?[01]" data-id="([^"]*)"', page)
    assert rows and set(rows) == set(data["structures"]) == set(data["mapped"])
    assert set(re.findall(r'class="point [a-z0-9]+" data-id="([^"]*)"', page)) == set(rows)
    one = campaign[1].structure(campaign[1].candidate(rows[0]).relaxed)
    shown = data["structures"][rows[0]]
    np.testing.assert_allclose(np.array(shown["p"]).reshape(-1, 3), one.positions, atol=5.1e-4)  # three decimals
    assert shown["n"] == one.numbers.tolist() and data["details"][rows[0]]["wood"]


def test_data_cannot_leave_their_element(tmp_path):
    ledger = build_campaign(tmp_path / "evil", iterations=1)
    ledger._connection.execute("PRAGMA foreign_keys=OFF")
    ledger._connection.execute(
        "UPDATE candidate SET id = '</script><script>alert(1)</script>' WHERE id = (SELECT id FROM candidate "
        "WHERE verdict = 'accepted' LIMIT 1)"
    )
    page = write_report(tmp_path / "evil", ledger).read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert any("</script>" in name for name in data_of(page)["structures"])


def test_every_reason_with_a_structure_has_its_picture(campaign):
    pictures = example_pictures(campaign[1])
    assert set(pictures) == {"o_o_overlap", "timeout", "known"}  # what was not decoded has nothing to show
    assert all(picture.startswith("<svg") for picture in pictures.values())


def test_averaged_vectors_are_kept_and_equal_structures_lie_together(campaign):
    folder, ledger = campaign
    keys = [c.relaxed for c in ledger.candidates(verdict="accepted")]
    kept = likeness(folder, ledger, keys, None).vectors
    assert (folder / CACHE).is_file() and set(kept) == set(keys)
    doubled = {**kept, "again": kept[keys[0]]}
    places = principal_axes(doubled)
    assert places["again"] == pytest.approx(places[keys[0]], abs=1e-12)  # matrix products round row by row
    assert principal_axes({"a": np.zeros(3), "b": np.ones(3)}) == {}


def test_groups_are_of_like_structures(campaign):
    folder, ledger = campaign
    tabled = [c for c in ledger.candidates() if c.verdict in ("accepted", "reference")]
    groups = likeness(folder, ledger, [c.relaxed for c in tabled], None).groups
    compositions = {}
    for one in tabled:
        formula = ledger.structure(one.relaxed).get_chemical_formula()
        compositions.setdefault(formula, set()).add(groups[one.relaxed])
    # each is one of three seeds with noise: a termination is one group, and two are two
    assert len(compositions) == 3 and all(len(found) == 1 for found in compositions.values())
    assert set.union(*compositions.values()) == {1, 2, 3}


def test_groups_follow_the_distance_between_them():
    near, far = 1 - 0.05**2 / 2, 1 - 0.4**2 / 2  # kernels at distances 0.05 and 0.4
    kernel = np.array([[1, near, far], [near, 1, far], [far, far, 1]])
    found = groups_of_kernel(kernel)
    assert found[0] == found[1] != found[2]
    assert groups_of_kernel(np.ones((1, 1))).tolist() == [1]


def test_the_most_different_rows_span_a_line():
    rows = np.array([[0.0], [1.0], [10.0], [4.0]])
    assert most_different(rows, 3).tolist() == [0, 2, 3]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_opens_the_page_without_complaint(campaign, tmp_path):
    for name, size in (("desk", "1280,900"), ("phone", "390,800")):
        picture = tmp_path / f"{name}.png"
        found = browse(campaign[0] / "report.html", f"--window-size={size}", f"--screenshot={picture}")
        assert "CONSOLE" not in found.stderr, found.stderr
        assert picture.stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_sorting_and_choosing_in_a_browser(page, tmp_path):
    """The policy is taken out of a copy, so that a script can use the page as a reader would."""
    script = """
    <script>
    const told = {};
    const click = (element) => element.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    const rows = () => [...document.querySelectorAll("#terminations tbody tr")];
    const column = (n) => rows().map((row) => row.cells[n].textContent.trim());
    const heads = [...document.querySelectorAll("#terminations thead button")];
    const force = heads.findIndex((head) => head.textContent.startsWith("κ"));
    click(heads[force]);
    told.rising = column(force + 1);
    click(heads[force]);
    told.falling = column(force + 1);
    const point = document.querySelectorAll(".point")[2];
    click(point);
    told.point = point.dataset.id;
    told.shown = document.getElementById("viewer").dataset.shown;
    told.row = document.querySelector("#terminations tr.chosen").dataset.id;
    told.canvas = document.querySelectorAll("#viewer canvas").length;
    told.details = document.getElementById("details").textContent;
    const search = document.getElementById("search");
    search.value = "random-";
    search.dispatchEvent(new Event("input"));
    told.left = rows().filter((row) => !row.hidden).map((row) => row.dataset.arm);
    told.wide = document.documentElement.scrollWidth <= window.innerWidth;
    document.title = "told";
    const out = document.createElement("pre");
    out.id = "told";
    out.textContent = JSON.stringify(told);
    document.body.append(out);
    </script></body>
    """
    opened = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace("</body>", script)
    path = tmp_path / "page.html"
    path.write_text(opened, encoding="utf-8")
    found = browse(path, "--window-size=390,800", "--dump-dom").stdout
    told = json.loads(re.search(r'<pre id="told">(.*?)</pre>', found, re.DOTALL)[1].replace("&lt;", "<"))
    numbers = [float(value) for value in told["rising"] if value != "–"]
    assert numbers == sorted(numbers)
    assert [float(value) for value in told["falling"] if value != "–"] == numbers[::-1]
    assert told["point"] == told["shown"] == told["row"] and told["point"] in told["details"]
    assert told["canvas"] >= 1 and set(told["left"]) == {"random"} and told["wide"]


def browse(path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CHROMIUM), *FLAGS, *ONCE, *flags, path.resolve().as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
