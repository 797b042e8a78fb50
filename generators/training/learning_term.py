"""Terms of the generator's loss whose own network learns beside the GAN."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from generators.networks.dcwgan import Critic
from generators.networks.encoder import Encoder
from generators.networks.layers import store_channels_last
from generators.training.ground import Ground
from generators.training.networks import prefixed, without_prefix
from generators.training.optimisers import descend, moments_of, restore_optimiser

RATE = 1e-3

Network = TypeVar("Network", Critic, Encoder)


class LearningTerm(Generic[Network]):
    """A term whose network takes one step on real grids for each of the generator's.

    Parameters
    ----------
    network : Critic or Encoder
        Its first weights are drawn here.
    ground : Ground
    """

    needs_real = True

    def __init__(self, network: Network, ground: Ground) -> None:
        self.network: Network = network.to(ground.settings.device)
        self.network.initialise(ground.random)
        if ground.settings.channels_last:
            store_channels_last(self.network)
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=RATE)
        self._processes = ground.processes
        self.told: dict[str, Tensor] = {}

    @property
    def kept(self) -> Mapping[str, nn.Module]:
        """None: the network is of no use after the training."""
        return {}

    def learn(self, loss: Tensor) -> None:
        """Take the network's own step."""
        descend(loss, self.network, self._optimiser, self._processes)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and the optimiser's moments."""
        tensors = prefixed("network", self.network.state_dict()) | prefixed("optimiser", moments_of(self._optimiser))
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave."""
        self.network.load_state_dict(without_prefix("network", tensors))
        restore_optimiser(self._optimiser, without_prefix("optimiser", tensors))
