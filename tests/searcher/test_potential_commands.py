"""The commands that make a potential, as their page of the documentation has them, with a stand-in that labels."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from test_docs import DOCS, command_lines

from relax.fitting.settings import FitSettings
from relax.labelling.frames import read_data
from searcher import potential_release

STAND_IN = "foreign_oxide:AnalyticIrO"
"""Of RuO2 and of IrO2"""
PLACEHOLDERS = {"sevenn.calculator:SevenNetCalculator": STAND_IN, '{"model": "7net-0"}': "{}"}
CHOSEN = FitSettings.for_data
MISSED = 4


def small(data):
    """As chosen for these data, yet a fit of a second."""
    settings = CHOSEN(data)
    return replace(settings, n_sparse=dict.fromkeys(settings.n_sparse, 8), n_max=4, l_max=2, pair_sparse=8)


def commands():
    """Word lists of `searcher potential label`, `fit` and `check`, in the page's order."""
    lines = [shlex.split(line)[1:] for line in command_lines(DOCS / "your-potential.md")]
    chosen = [words for words in lines if words[0] == "potential" and words[1] in ("label", "fit", "check")]
    return [[PLACEHOLDERS.get(word, word) for word in words] for words in chosen]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:The implementation of `fixcm=True`")  # as the shipped labels were made
@pytest.mark.filterwarnings("ignore:FixSymmetry adjust_cell")  # the stand-in's lattice is far from iridium's
def test_the_page_makes_measures_and_betters_a_potential(call, monkeypatch):
    monkeypatch.setattr(FitSettings, "for_data", small)
    monkeypatch.setattr(potential_release, "N_PROPOSALS", 1)
    steps = commands()
    assert [words[1] for words in steps] == ["label", "fit", "check", "label", "fit", "label", "fit", "check"]
    for words in steps:
        code, told, complaint = call(*words)
        if words[1] == "check":
            assert code == MISSED and told.strip() == f"{words[2]}/MODEL_CARD.md", complaint
            assert "misses what is asked of it" in complaint
        else:
            assert code == 0, complaint

    for place, metal in (("labeller.json", "Ru"), ("iridium/labeller.json", "Ir"), ("iro2/data/labeller.json", "Ir")):
        kept = json.loads(Path(place).read_text())
        assert kept["labeller"] == {"import_path": STAND_IN, "arguments": {}} and kept["oxide"]["metal"] == metal
    card = Path("iro2/MODEL_CARD.md").read_text()
    assert "IrO2" in card and "Ir-O " in card and "Ru" not in card, card
    assert set(json.loads(Path("iro2/settings.json").read_text())["settings"]["n_sparse"]) == {"O", "Ir"}
    folder = Path("my-potential")
    assert f"Labelled by `{STAND_IN}()`" in (folder / "MODEL_CARD.md").read_text()
    assert (folder / "parity.png").stat().st_size > 1000
    frames = [len(read_data(Path(name) / "data" / "frames.extxyz.xz")) for name in ("my-potential", "better-potential")]
    assert 0 < frames[0] < frames[1], "walks add what the potential met"

    # once more is nothing to do, and with another labeller nothing is done
    assert " 0 structures labelled now" in call(*steps[0])[1]
    code, _, complaint = call(*steps[0], "--arguments", '{"label": "other"}')
    assert code == 2 and "is asked for" in complaint
