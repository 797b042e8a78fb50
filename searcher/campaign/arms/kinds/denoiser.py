"""Arms of kind `denoiser`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from generators.denoising.proposer import DenoiserProposer
from generators.denoising.settings import (
    DenoiserNetworkSettings,
    DenoiserSamplingSettings,
    DenoiserTrainingSettings,
)
from generators.fields import with_tuples
from searcher.campaign.arms import learned
from searcher.campaign.arms.conditions import condition_specs
from searcher.campaign.arms.grid_proposer import grid_proposer
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.config import CampaignConfig
from searcher.config.arm_kinds.denoiser import DenoiserArm
from searcher.errors import InputError

Section = TypeVar("Section")


def check(config: CampaignConfig, arm: DenoiserArm) -> None:
    """Refuse unfit settings before anything is written.

    Raises
    ------
    InputError
        Naming the setting.
    """
    _settings(arm, "network", DenoiserNetworkSettings)
    training = _settings(arm, "training", DenoiserTrainingSettings)
    sampling = _settings(arm, "sampling", DenoiserSamplingSettings)
    told = config.conditioning.enabled and config.conditioning.conditions
    if sampling.guidance != 1.0 and not (told and training.condition_dropout):
        raise InputError(
            f"`sampling` of arm `{arm.name}`: `guidance` is {sampling.guidance} but must be 1 without conditions, and "
            "with `condition_dropout` 0"
        )
    if arm.transfer and not Path(arm.transfer).is_file():
        raise InputError(f"`transfer` of arm `{arm.name}`: `{arm.transfer}` does not exist")


class DenoiserLearner(learned.Learner):
    """The denoiser as an arm trains it and draws from it."""

    def __init__(self, campaign: Campaign, problem: SurfaceProblem, arm: DenoiserArm) -> None:
        config = campaign.config
        threads = config.execution.training_threads
        super().__init__(config, problem, _settings(arm, "training", DenoiserTrainingSettings, threads=threads))
        conditions = condition_specs(config, problem)
        self.networks = _settings(arm, "network", DenoiserNetworkSettings, conditions=conditions)
        self.sampling = _settings(arm, "sampling", DenoiserSamplingSettings)
        self.transfer = Path(arm.transfer) if arm.transfer else None

    def _proposer(self, settings: DenoiserTrainingSettings, **keywords: Any) -> DenoiserProposer:
        return grid_proposer(
            DenoiserProposer, self.config, self.problem, self.networks, settings, sampling=self.sampling, **keywords
        )


learner, learn = DenoiserLearner, learned.learn


def _settings(arm: DenoiserArm, section: str, made: Callable[..., Section], **defaults: Any) -> Section:
    """Settings with the arm's own keys; `conditions` follow from the campaign.

    Raises
    ------
    InputError
        For an unknown or unfit setting.
    """
    own = with_tuples(getattr(arm, section))
    try:
        if "conditions" in own:
            raise TypeError("`conditions` are those of the campaign, `conditioning.conditions`")
        return made(**{**defaults, **own})
    except (TypeError, ValueError) as error:
        raise InputError(f"`{section}` of arm `{arm.name}`: {error}") from None
