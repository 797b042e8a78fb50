"""Arms of kind `gan`."""

from pathlib import Path
from typing import Any

from generators.gan import GanProposer
from generators.training.settings import TrainingSettings
from searcher.campaign.arms import learned
from searcher.campaign.arms.gan_arm import gan_proposer, training_settings
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.config.arm_kinds.gan import GanArm
from searcher.config.arm_kinds.latent_search import LatentSearchArm


class GanLearner(learned.Learner):
    """The DCWGAN as an arm trains it and draws from it."""

    def __init__(self, campaign: Campaign, problem: SurfaceProblem, arm: GanArm | LatentSearchArm) -> None:
        super().__init__(campaign.config, problem, training_settings(campaign.config))
        self.noise_temperature = arm.noise_temperature
        network = campaign.config.network
        self.warm_start = Path(network.warm_start) if network.warm_start else None
        self.transfer = Path(network.transfer) if network.transfer else None

    def _proposer(self, settings: TrainingSettings, **keywords: Any) -> GanProposer:
        temperature = self.noise_temperature
        return gan_proposer(self.config, self.problem, settings, noise_temperature=temperature, **keywords)


learner, learn = GanLearner, learned.learn
