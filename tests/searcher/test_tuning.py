"""Settings are tried over a grid, once each, and the front holds what none beats."""

import importlib.util
from pathlib import Path
from threading import Event

import pytest
from test_assessment import DEFAULT
from test_generation import SMALL, slabs

from searcher.campaign.workers.executor import InlineExecutor
from searcher.errors import EnvironmentProblem, InputError
from searcher.generation.tuning import Trial, grid, pareto_front, parse_choices, tune
from searcher.loading import load_generator_config
from searcher.results.generator_plots import pareto_picture

pytestmark = pytest.mark.filterwarnings("ignore::generators.grids.resolution.GridWarning")
CHOICES = {"training.generator_rate": (1e-4, 1e-3), "network.critic_hidden": (4, 8)}


def tried(out: Path, trials: int | None = None) -> list[Trial]:
    config = load_generator_config(DEFAULT, [*SMALL, "data.shape=[8, 8, 8]"])
    told: list[Trial] = []
    found = tune(config, slabs(), CHOICES, out, InlineExecutor(Event()), 8, trials, told.append)
    assert told == found
    return found


def test_every_combination_is_tried_once(tmp_path: Path) -> None:
    found = tried(tmp_path)
    assert [trial.settings for trial in found] == list(grid(CHOICES))
    assert all(trial.reason is not None for trial in found), "two steps make nothing that can be read"
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("trial.json")}
    assert len(times) == 4
    assert tried(tmp_path) == found
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("trial.json")} == times


def test_the_front_holds_what_none_beats() -> None:
    values = [(1.0, 0.2), (2.0, 0.5), (3.0, 0.4), (1.5, 0.2), (4.0, 0.9)]
    trials = [Trial({"number": number}, *value) for number, value in enumerate(values)]
    assert [trial.settings["number"] for trial in pareto_front(trials)] == [0, 1, 4]
    assert pareto_picture([*values, (1e9, 0.0)], [0, 1, 4]).startswith(b"\x89PNG")


@pytest.mark.skipif(importlib.util.find_spec("optuna") is not None, reason="Optuna is installed")
def test_trials_without_optuna_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="Optuna"):
        tried(tmp_path, trials=2)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is not installed")
def test_optuna_chooses_as_many_trials_as_asked_for(tmp_path: Path) -> None:
    assert len(tried(tmp_path, trials=2)) == 2


@pytest.mark.parametrize("text", ["generator_rate=1", "data.shape=1,2", "training.steps", "training.steps=[1"])
def test_choices_have_a_section_a_key_and_values(text: str) -> None:
    with pytest.raises(InputError, match="`--try"):
        parse_choices([text])


def test_values_are_read_as_yaml() -> None:
    assert parse_choices(["training.betas=[0.0, 0.9],[0.5, 0.9]", "training.critic_rate=1e-3,0.002"]) == {
        "training.betas": ([0.0, 0.9], [0.5, 0.9]),
        "training.critic_rate": (1e-3, 0.002),
    }
