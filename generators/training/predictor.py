"""A small network that reads a condition from a grid, and pulls the generator towards lower values of it."""

import torch
from torch import Tensor
from torch.nn import functional

from generators.networks.conditioning import ConditionSpec, unit_interval
from generators.networks.dcwgan import Critic
from generators.networks.settings import NetworkSettings
from generators.training.ground import Ground
from generators.training.learning_term import LearningTerm
from generators.training.terms import GeneratorBatch

TARGET = "energy_class"
NARROWER = 4
"""than the critic, in features of each layer"""
FEWEST_FEATURES = 4


class Predictor(LearningTerm[Critic]):
    """The term `predictor`: mean energy class, as a share of the highest, that is read from generated grids.

    The network has the critic's layers with fewer features and is told the other conditions.

    Parameters
    ----------
    ground : Ground

    Raises
    ------
    ValueError
        If the energy class is no condition.
    """

    def __init__(self, ground: Ground) -> None:
        networks = ground.networks
        names = [spec.name for spec in networks.conditions]
        if TARGET not in names:
            raise ValueError(f"the term `predictor` needs the condition `{TARGET}`, but the conditions are {names}")
        self._column = names.index(TARGET)
        self._spec: ConditionSpec = networks.conditions[self._column]
        layout = NetworkSettings(
            conditions=tuple(spec for spec in networks.conditions if spec.name != TARGET),
            condition_method=networks.condition_method,
            condition_size=networks.condition_size,
            critic_stem=networks.critic_stem,
            critic_channels=tuple(max(FEWEST_FEATURES, n // NARROWER) for n in networks.critic_channels),
            critic_hidden=max(FEWEST_FEATURES, networks.critic_hidden // NARROWER),
            minibatch_deviation=False,
        )
        super().__init__(Critic(layout, ground.frozen, ground.periodic), ground)

    def __call__(self, batch: GeneratorBatch) -> Tensor:
        """Learn from the real grids of a batch, and predict the generated ones' mean."""
        assert batch.real_grids is not None
        others = torch.cat([batch.conditions[:, : self._column], batch.conditions[:, self._column + 1 :]], dim=1)
        self.network.requires_grad_(True)
        read = self.network(batch.real_grids, others)
        error = functional.mse_loss(read, self._share(batch.conditions[:, self._column]))
        self.learn(error)
        self.network.requires_grad_(False)
        self.told = {"predictor_error": error.detach()}
        predicted: Tensor = self.network(batch.grids, others)
        return predicted.mean()

    def _share(self, values: Tensor) -> Tensor:
        if self._spec.kind == "class":
            return values / max(1, self._spec.n_classes - 1)
        return unit_interval(values, self._spec)
