"""Kinds of generators by name: what each is set by, how it is trained, and how its weights are sampled."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from generators.denoising.settings import DenoiserNetworkSettings, DenoiserTrainingSettings
from generators.networks.settings import NetworkSettings
from generators.training.settings import TrainingSettings

OLDEST = "gan"
"""of weights that do not say what they are of"""


@dataclass(frozen=True)
class GeneratorKind:
    """What the name of a kind stands for.

    Attributes
    ----------
    network, training : type
        Dataclasses of settings; `network` has a field `conditions`.
    module, proposer : str
        Where the rest is; it comes with torch, which a configuration that is only looked at does not wait for.
    """

    network: type[Any]
    training: type[Any]
    module: str
    proposer: str

    @property
    def trainer(self) -> Any:
        """A `generators.training.generator_training.GeneratorTraining`."""
        return getattr(import_module(self.module), self.proposer).TRAINER

    @property
    def sampler(self) -> Any:
        """A `generators.sampling.GridSampler` with ``load``: path, network settings, spec, template."""
        return getattr(import_module(self.module), self.proposer).SAMPLER


KINDS = {
    "gan": GeneratorKind(NetworkSettings, TrainingSettings, "generators.gan", "GanProposer"),
    "denoiser": GeneratorKind(
        DenoiserNetworkSettings, DenoiserTrainingSettings, "generators.denoising.proposer", "DenoiserProposer"
    ),
}
"""By the name that configurations and weights give them."""


def name_of(description: Mapping[str, Any]) -> str:
    """Which kind weights are of, by their description."""
    return str(description.get("generator", OLDEST))
