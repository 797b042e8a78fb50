"""Minima are traced back with what the generator would be told of them, and the page shows it only where asked."""

from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from results_campaign import build_campaign

from generators.networks.conditioning import ConditionSpec
from generators.training.view import WINDOW, View
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import InputError
from searcher.results import report_reach
from searcher.results.report import render
from searcher.results.report_reach import Reach, known_minima, reach_of
from searcher.structures.crystal import Crystal
from searcher.structures.templates import build_template

CONDITIONS = (ConditionSpec("energy_class", "class", 10), ConditionSpec("n_oxygen", "class", 30))
TOLD = {
    "structures": 12,
    "unexplained": {"median": 0.1, "largest": 0.5},
    "worst": [{"name": "<O-rich>", "unexplained": 0.5, "composition": "Ru4O12", "made": "low_confidence"}],
    "shared": [{"feature": "n_oxygen", "value": "12", "of_worst": 1.0, "of_all": 0.25, "chance": 0.0045}],
}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ledger]:
    folder = tmp_path_factory.mktemp("runs") / "invented"
    return folder, build_campaign(folder)


def sampler(view: View) -> SimpleNamespace:
    return SimpleNamespace(conditions=CONDITIONS, view=view)


def test_minima_have_the_conditions_of_their_own_atoms(campaign: tuple[Path, Ledger]) -> None:
    template = build_template(Crystal(), "110", (1, 2))
    known = known_minima(campaign[1], template, sampler(WINDOW))  # type: ignore[arg-type]
    assert known
    for one in known:
        assert one.record.condition["n_oxygen"] == int((one.atoms.numbers[template.n_frozen :] == 8).sum())
        assert one.labels["arm"] in ("gan", "random", "seed")
        assert len(one.record.numbers) == len(one.atoms) - template.n_frozen
    whole = known_minima(campaign[1], template, sampler(View("cell")))  # type: ignore[arg-type]
    assert [len(one.record.numbers) for one in whole] == [len(one.atoms) for one in known]


class Images(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.described: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.described.append(str(dict(attributes)["alt"]))


def test_the_page_shows_it_where_asked(campaign: tuple[Path, Ledger], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "What the generator cannot make" not in render(*campaign)
    made = Reach("weights.safetensors", TOLD, "data:image/png;base64,AAAA", "data:image/png;base64,AAAA")
    monkeypatch.setattr(report_reach, "reach_of", lambda folder, ledger, most: made)
    page = render(*campaign, reach=12)
    assert "What the generator cannot make" in page and "&lt;O-rich&gt;" in page
    assert "10.0 % stay unexplained in the median" in page and "n oxygen" in page
    images = Images()
    images.feed(page)
    assert any("ways" in text or "quarter circles" in text for text in images.described)


def test_a_campaign_without_weights_is_refused(campaign: tuple[Path, Ledger]) -> None:
    with pytest.raises(InputError, match="has trained none that are kept"):
        reach_of(*campaign, most=3)
