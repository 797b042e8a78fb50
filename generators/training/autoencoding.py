"""An encoder that learns beside the GAN, and draws the generator to what it can be traced back to: a VAE-GAN.

Larsen et al., ICML 2016: what a real grid's noise becomes in the generator is to be like the grid, by the critic's
features or voxel by voxel, while the distribution of that noise stays near the standard normal one.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from generators.networks.encoder import Encoder
from generators.training.ground import Ground
from generators.training.learning_term import LearningTerm
from generators.training.terms import GeneratorBatch

DIVERGENCE_WEIGHT = 0.01
"""Of the divergence per number of noise beside the unexplained share. About what a likelihood with a standard deviation
of a tenth of an atom's height gives on a window with a dozen atoms."""
ENCODER = "encoder"
"""what its tensors are called among the weights"""


class Autoencoding(LearningTerm[Encoder]):
    """The terms `autoencoding` and `autoencoding_features`.

    The term is what the generator leaves unexplained of real grids whose noise the encoder drew. The encoder learns
    from that and from the divergence of its distributions from the standard normal one.

    Parameters
    ----------
    ground : Ground
    by_features : bool
        Compare the critic's features instead of voxels.

    Raises
    ------
    ValueError
        If grids of several samples are packed together, whose features are not those of single grids.
    """

    def __init__(self, ground: Ground, by_features: bool = False) -> None:
        networks = ground.networks
        if by_features and networks.packing > 1:
            raise ValueError(
                f"`packing` is {networks.packing} but must be 1 with the term `autoencoding_features`, which compares "
                "the critic's features of single grids"
            )
        self._by_features = by_features
        super().__init__(Encoder(networks, ground.frozen, ground.periodic), ground)

    @property
    def kept(self) -> Mapping[str, nn.Module]:
        """The encoder."""
        return {ENCODER: self.network}

    def __call__(self, batch: GeneratorBatch) -> Tensor:
        """Let the encoder learn from the real grids of a batch, and say what stays unexplained of them."""
        assert batch.real_grids is not None
        mean, log_variance = self.network(batch.real_grids, batch.conditions)
        chance = torch.randn(mean.shape, generator=batch.random, device=mean.device)
        noise = mean + torch.exp(0.5 * log_variance) * chance
        entered = noise.detach().requires_grad_(True)
        unexplained = self._unexplained(batch, batch.generator(entered, batch.conditions))
        (slope,) = torch.autograd.grad(unexplained, entered, retain_graph=True)  # the generator's own step comes later
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        self.learn((slope * noise).sum() + DIVERGENCE_WEIGHT * divergence)
        self.told = {"encoder_divergence": divergence.detach()}
        return unexplained

    def _unexplained(self, batch: GeneratorBatch, made: Tensor) -> Tensor:
        """Mean share of the real grids, or of their features, that the made ones miss."""
        assert batch.real_grids is not None
        given = batch.real_grids
        if self._by_features:
            given, made = batch.real().detach(), batch.features_of(made)
            whole = given.square().sum()
        else:
            flat = given.flatten(2)
            whole = (flat - flat.mean(dim=2, keepdim=True)).square().sum()
        return (given - made).square().sum() / whole.clamp(min=1e-6)
