"""The report in a browser as a reader uses it: by keyboard, in the dark, on paper, and with many candidates."""

import base64
import re

import pytest
from chromium import CHROMIUM, Page
from results_campaign import build_campaign

from searcher.campaign.workers.executor import InlineExecutor
from searcher.results.report import write_report

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]

READABLE = 4.5  # contrast of normal text, WCAG 2.1 level AA
FLUID_S = 1.0
"""Processor time of the page's main thread for one act, four times what the slowest, sorting, was measured to take."""
CANDIDATES = 2000


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return written(tmp_path_factory, 12)


def written(tmp_path_factory, per_arm):
    folder = tmp_path_factory.mktemp("runs") / "invented"
    ledger = build_campaign(folder, iterations=1, per_arm=per_arm)
    return write_report(folder, ledger, InlineExecutor())


@pytest.fixture
def page(report, tmp_path):
    with Page(report, tmp_path / "profile") as opened:
        yield opened
        assert opened.complaints() == []


FOCUSED = "document.activeElement.closest('#terminations tbody tr')?.dataset.id ?? null"
CHOSEN = "[...document.querySelectorAll('#terminations tr.chosen')].map((row) => row.dataset.id)"


def test_the_keyboard_alone_reaches_and_chooses_a_row(page):
    stops = page.tell("document.querySelectorAll('a[href], button, input, select, summary, [tabindex=\"0\"]').length")
    for _ in range(stops + 1):
        page.press("Tab")
        if focused := page.tell(FOCUSED):
            break
    assert focused == page.tell("document.querySelector('#terminations tbody tr').dataset.id")
    assert page.tell("getComputedStyle(document.activeElement).outlineStyle") != "none", "one sees where one is"

    page.press("ArrowDown")
    below = page.tell(FOCUSED)
    assert below not in (None, focused) and page.tell(CHOSEN) == []
    page.press("Enter")
    assert page.tell(CHOSEN) == [below]
    assert page.tell("document.getElementById('viewer').dataset.shown") == below
    assert below in page.tell("document.getElementById('details').textContent")
    page.press("ArrowUp")
    page.press("Enter")
    assert page.tell(CHOSEN) == [focused]

    page.press("Tab")
    assert page.tell(FOCUSED) is None, "one key leaves the table, however long it is"


def test_a_heading_sorts_by_keyboard(page):
    page.tell("document.querySelector('#terminations thead button').focus()")
    page.press("Enter")
    assert page.tell("document.querySelector('#terminations thead [aria-sort]').ariaSort") == "ascending"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_schemes(page, scheme):
    media(page, "screen", scheme)
    paper = luminance(page.tell("getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.1) == (scheme == "dark")
    for place in ("body", ".note", "#terminations td", "#terminations th button", "dt", "svg text"):
        found = page.tell(f"(({SHOWN})(document.querySelector('{place}')))")
        assert contrast(*map(luminance, found)) >= READABLE, (place, found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_it_is_dark_on_white_and_whole(page, scheme):
    media(page, "print", scheme)
    assert luminance(page.tell("getComputedStyle(document.body).color")) < 0.1
    assert luminance(page.tell("getComputedStyle(document.body).backgroundColor")) > 0.9
    for hidden in ("#viewer", ".tools"):
        assert page.tell(f"getComputedStyle(document.querySelector('{hidden}')).display") == "none"
    document = base64.b64decode(page.send("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert document.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", document)) >= 2


@pytest.mark.timeout(600)
def test_a_large_campaign_stays_fluid(tmp_path_factory, tmp_path):
    large = written(tmp_path_factory, CANDIDATES // 2)
    acts = {
        "choose": "document.querySelectorAll('.point')[7].dispatchEvent(new MouseEvent('click', { bubbles: true }))",
        "sort": "document.querySelectorAll('#terminations thead button')[1].click()",
        "sort back": "document.querySelectorAll('#terminations thead button')[1].click()",
        "filter": "search.value = 'random-'; search.dispatchEvent(new Event('input'))",
        "show all": "search.value = ''; search.dispatchEvent(new Event('input'))",
        "other chemical potential": "mu.value = -1; mu.dispatchEvent(new Event('input'))",
    }
    with Page(large, tmp_path / "profile") as opened:
        rows = opened.tell("document.querySelectorAll('#terminations tbody tr').length")
        taken = {name: opened.processor_seconds(script) for name, script in acts.items()}
        assert opened.complaints() == []
    assert rows > CANDIDATES / 4
    assert all(0.0 < seconds < FLUID_S for seconds in taken.values()), taken


SHOWN = """(element) => {
  let behind = element;
  while (behind && getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
  const style = getComputedStyle(element);
  const colour = element instanceof SVGElement ? style.fill : style.color;
  return [colour, getComputedStyle(behind ?? document.documentElement).backgroundColor];
}"""


def media(page, kind, scheme):
    page.send("Emulation.setEmulatedMedia", media=kind, features=[{"name": "prefers-color-scheme", "value": scheme}])


def luminance(colour):
    """Relative luminance of ``rgb(r, g, b)`` as WCAG 2.1 defines it, 0 to 1."""
    parts = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
