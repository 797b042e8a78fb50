"""Which settings train best: Fréchet distance against coverage over a grid, or over trials that Optuna proposes."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ase import Atoms
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from searcher.campaign.workers.executor import Executor
from searcher.errors import EnvironmentProblem, InputError, SearchFailed
from searcher.files import write_text
from searcher.generation.assessment import assess
from searcher.generation.data_set import data_set
from searcher.generation.sampling import open_sampler
from searcher.generation.settings import GeneratorConfig
from searcher.generation.training import train_on_files

RATES = {
    "training.generator_rate": (1e-4, 2e-4, 4e-4, 8e-4),
    "training.critic_rate": (2.5e-4, 5e-4, 1e-3, 2e-3),
}
"""What is tried where nothing else is named: both learning rates."""
RESULT = "trial.json"
UNREADABLE = 1e9
"""Fréchet distance of samples that are no structures; JSON knows no infinity"""
Choices = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Trial:
    """One set of settings and what it reached.

    Attributes
    ----------
    settings : dict
        By dotted key.
    frechet, coverage : float
        Of samples from held-out structures; `UNREADABLE` and 0 where too few samples could be read.
    reason : str or None
        Why nothing could be compared.
    """

    settings: dict[str, Any]
    frechet: float
    coverage: float
    reason: str | None = None


def parse_choices(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """``section.key=value,value`` to values by dotted key.

    Raises
    ------
    InputError
        If a text has another form.
    """
    choices: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        key, separator, values = text.partition("=")
        section, _, name = key.partition(".")
        if not separator or section not in ("training", "network") or not name:
            raise InputError(f"`--try {text}` must have the form training.key=value,value or network.key=value,value")
        try:
            choices[key] = tuple(YAML(typ="safe").load(f"[{values}]"))
        except YAMLError:
            raise InputError(f"`--try {text}`: the values are not valid YAML") from None
    return choices


def with_settings(config: GeneratorConfig, settings: Mapping[str, Any]) -> GeneratorConfig:
    """The configuration with some keys of `network` and `training` changed."""
    sections = {"network": dict(config.network), "training": dict(config.training)}
    for key, value in settings.items():
        section, _, name = key.partition(".")
        sections[section][name] = value
    return config.model_copy(update=sections)


def tune(
    config: GeneratorConfig,
    named: Sequence[tuple[str, Atoms]],
    choices: Choices,
    out: Path,
    executor: Executor,
    n: int,
    trials: int | None,
    told: Callable[[Trial], None],
) -> list[Trial]:
    """Train and assess every combination, or `trials` of them that Optuna chooses; what is done is not done again.

    Parameters
    ----------
    config : GeneratorConfig
    named : sequence of (name, ase.Atoms)
    choices : mapping of str to sequence
        Values by dotted key.
    out : pathlib.Path
        A folder for each trial.
    executor : Executor
        For SOAP vectors.
    n : int
        Samples of each assessment.
    trials : int or None
        None for the whole grid.
    told : callable
        Gets each trial when it is done.

    Returns
    -------
    list of Trial

    Raises
    ------
    EnvironmentProblem
        If trials are asked for and Optuna is not installed.
    """

    def run(settings: Mapping[str, Any]) -> Trial:
        trial = _trial(with_settings(config, settings), dict(settings), named, out, executor, n)
        told(trial)
        return trial

    if trials is None:
        return [run(settings) for settings in grid(choices)]
    return _proposed(choices, trials, config.seed, run)


def grid(choices: Choices) -> Iterator[dict[str, Any]]:
    """Every combination of the values."""
    for values in product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that no other beats in both distance and coverage, by rising distance."""
    front = [
        one
        for one in trials
        if not any(
            other.frechet <= one.frechet
            and other.coverage >= one.coverage
            and (other.frechet, other.coverage) != (one.frechet, one.coverage)
            for other in trials
        )
    ]
    return sorted(front, key=lambda trial: trial.frechet)


def _trial(
    config: GeneratorConfig,
    settings: dict[str, Any],
    named: Sequence[tuple[str, Atoms]],
    out: Path,
    executor: Executor,
    n: int,
) -> Trial:
    folder = out / "_".join(f"{key.partition('.')[2]}={value}" for key, value in settings.items()).replace("/", "-")
    done = folder / RESULT
    if done.is_file():
        return Trial(**json.loads(done.read_text(encoding="utf-8")))
    try:
        train_on_files(config, named, folder)
        sampler, template = open_sampler(folder, None)
        found = assess(sampler, template, data_set(named, config.data), n, config.seed, executor, None)
        if "metrics" in found:
            trial = Trial(settings, found["metrics"]["frechet"]["value"], found["metrics"]["coverage"]["value"])
        else:
            trial = Trial(settings, UNREADABLE, 0.0, found.get("not_compared", "slices hold no whole atoms"))
    except (InputError, SearchFailed) as error:
        if not done.parent.is_dir():  # the settings themselves do not fit
            raise
        trial = Trial(settings, UNREADABLE, 0.0, str(error))
    write_text(done, json.dumps(asdict(trial)) + "\n")
    return trial


def _proposed(choices: Choices, trials: int, seed: int, run: Callable[[Mapping[str, Any]], Trial]) -> list[Trial]:
    try:
        import optuna
    except ImportError:
        raise EnvironmentProblem("`--trials` needs Optuna: pip install 'surface-searcher[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=optuna.samplers.TPESampler(seed=seed))
    found: list[Trial] = []

    def objective(proposed: Any) -> tuple[float, float]:
        trial = run({key: proposed.suggest_categorical(key, list(values)) for key, values in choices.items()})
        found.append(trial)
        return trial.frechet, trial.coverage

    study.optimize(objective, n_trials=trials)
    return found
