"""The commands that make a potential, as their page of the documentation has them, with a stand-in that labels."""

import json
import shlex
from pathlib import Path

import pytest
from test_docs import DOCS, command_lines

from relax.gap_fit import FitSettings
from relax.labelling import read_data
from searcher import potential_release

STAND_IN = "relax.analytic:AnalyticRuO"
PLACEHOLDERS = {"sevenn.calculator:SevenNetCalculator": STAND_IN, '{"model": "7net-0"}': "{}"}
SMALL = FitSettings(n_sparse={"O": 8, "Ru": 8}, n_max=4, l_max=2, pair_sparse=8)
MISSED = 4


def commands():
    """Word lists of `searcher potential label`, `fit` and `check`, in the page's order."""
    lines = [shlex.split(line)[1:] for line in command_lines(DOCS / "your-potential.md")]
    chosen = [words for words in lines if words[0] == "potential" and words[1] in ("label", "fit", "check")]
    return [[PLACEHOLDERS.get(word, word) for word in words] for words in chosen]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:The implementation of `fixcm=True`")  # as the shipped labels were made
def test_the_page_makes_measures_and_betters_a_potential(call, monkeypatch):
    monkeypatch.setattr(potential_release, "FitSettings", lambda: SMALL)
    monkeypatch.setattr(potential_release, "N_PROPOSALS", 1)
    steps = commands()
    assert [words[1] for words in steps] == ["label", "fit", "check", "label", "fit"]
    for words in steps:
        code, told, complaint = call(*words)
        if words[1] == "check":
            assert code == MISSED and told.strip() == "my-potential/MODEL_CARD.md", complaint
            assert "misses what is asked of it" in complaint
        else:
            assert code == 0, complaint

    assert json.loads(Path("labeller.json").read_text())["labeller"] == {"import_path": STAND_IN, "arguments": {}}
    folder = Path("my-potential")
    assert f"Labelled by `{STAND_IN}()`" in (folder / "MODEL_CARD.md").read_text()
    assert (folder / "parity.png").stat().st_size > 1000
    frames = [len(read_data(Path(name) / "data" / "frames.extxyz.xz")) for name in ("my-potential", "better-potential")]
    assert 0 < frames[0] < frames[1], "walks add what the potential met"

    # once more is nothing to do, and with another labeller nothing is done
    assert " 0 structures labelled now" in call(*steps[0])[1]
    code, _, complaint = call(*steps[0], "--arguments", '{"label": "other"}')
    assert code == 2 and "is asked for" in complaint
