"""The DCWGAN as a campaign configures it: networks, training, proposer."""

from typing import Any

from generators.fields import with_tuples
from generators.gan import GanProposer
from generators.networks.conditioning import ConditionSpec
from generators.networks.settings import NetworkSettings
from generators.training.settings import TrainingSettings
from searcher.campaign.arms.conditions import condition_specs
from searcher.campaign.arms.grid_proposer import grid_proposer
from searcher.campaign.problem import SurfaceProblem
from searcher.config import CampaignConfig
from searcher.errors import InputError

COUNT_WEIGHT = 0.5
"""Of the mean square of the atoms missing or too many, beside the critic's score; see docs/generator.md."""


def network_settings(config: CampaignConfig, problem: SurfaceProblem) -> NetworkSettings:
    """Layout and conditions of the networks, with heads for the cell's lengths where they see whole cells.

    Raises
    ------
    InputError
        For an unknown or unfit setting.
    """
    return _network_settings(config, condition_specs(config, problem))


def check_settings(config: CampaignConfig) -> None:
    """Refuse unfit settings of networks and training before anything is written.

    Raises
    ------
    InputError
        Naming the setting.
    """
    training_settings(config)
    told = config.conditioning.conditions if config.conditioning.enabled else ()
    _network_settings(config, tuple(ConditionSpec(name, "class", 2) for name in told))


def _network_settings(config: CampaignConfig, conditions: tuple[ConditionSpec, ...]) -> NetworkSettings:
    lattice = {"lattice": True} if config.grid.window == "cell" else {}
    try:
        return NetworkSettings(conditions=conditions, **{**lattice, **with_tuples(config.network.settings)})
    except (TypeError, ValueError) as error:
        raise InputError(f"`network.settings`: {error}") from None


def training_settings(config: CampaignConfig) -> TrainingSettings:
    """Settings of one iteration's training; where atoms are counted among the conditions, ∫ρ is drawn to the count.

    Raises
    ------
    InputError
        For an unknown or unfit setting.
    """
    told = config.conditioning.conditions if config.conditioning.enabled else ()
    defaults: dict[str, Any] = {"threads": config.execution.training_threads}
    try:
        if {"n_oxygen", "n_metal"} & set(told):
            steps = int(config.training.settings.get("steps", TrainingSettings.steps))
            defaults |= {"terms": {"count": COUNT_WEIGHT}, "terms_blend": steps // 2}
        return TrainingSettings(**{**defaults, **with_tuples(config.training.settings)})
    except (TypeError, ValueError) as error:
        raise InputError(f"`training.settings`: {error}") from None


def gan_proposer(
    config: CampaignConfig, problem: SurfaceProblem, settings: TrainingSettings | None = None, **keywords: Any
) -> GanProposer:
    """The DCWGAN as configured; further keywords as of `generators.gan.GanProposer`.

    Raises
    ------
    InputError
        For an unknown or unfit setting.
    """
    networks, settings = network_settings(config, problem), settings or training_settings(config)
    return grid_proposer(GanProposer, config, problem, networks, settings, **keywords)
