"""The conditioned convolutional generator and critic, for any window in two or three dimensions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from generators.networks.conditioning import (
    CONDITION_METHODS,
    ConditionChannel,
    ConditionEncoder,
    ConditionProjection,
    ConditionSpec,
)
from generators.networks.heads import HEADS, DensityHead, OccupancyHead
from generators.networks.layers import (
    DOUBLINGS,
    LEAKY_SLOPE,
    NORMS,
    BesideFrozen,
    MinibatchDeviation,
    halving,
    halving_evenly,
    initialise,
    keeping,
)

CRITIC_CONDITIONS = ("channel", "projection", "both")
OUTPUT_SCALE = 0.3
"""What the last layer's first weights are multiplied by."""
CRITIC_STEMS = {"halving": halving_evenly, "keeping": keeping}


@dataclass(frozen=True)
class NetworkSettings:
    """Layout of generator and critic.

    Attributes
    ----------
    conditions : tuple of ConditionSpec
        Empty for an unconditioned network.
    condition_method : {"embedding", "one_hot", "integer"}
        How both networks read conditions.
    condition_size : int
        Numbers per condition beside the noise.
    critic_condition : {"channel", "projection", "both"}
        Where the critic reads conditions: as a further channel, or as a product with its features.
    latent : int
        Length of the noise vector.
    generator_channels : tuple of int
        Features from the coarsest resolution to the finest but the output; the resolution doubles between neighbours.
    generator_refinements : int
        Further convolutions at each resolution but the coarsest.
    generator_output : {"keeping", "doubling"}
        Whether the last features already have the grid's resolution, or half of it, which is cheaper.
    critic_stem : {"keeping", "halving"}
        Whether the critic's first convolution keeps the resolution, or halves it, which is cheaper.
    critic_channels : tuple of int
        Features from the finest resolution to the coarsest; the resolution halves between neighbours.
    critic_hidden : int
        Width of the critic's dense head.
    generator_head : {"occupancy", "density"}
        How the last features become densities, see `generators.networks.heads`.
    occupancy_width : float
        Width of the Gaussian that spreads occupancies, relative to an atom's.
    generator_norm, critic_norm : str
        A name in `generators.networks.layers.NORMS`. Layer norm in the critic magnifies the first, nearly empty grids,
        which slows the start.
    doubling : str
        A name in `generators.networks.layers.DOUBLINGS`.
    minibatch_deviation : bool
        Let the critic see the spread within a batch.
    """

    conditions: tuple[ConditionSpec, ...] = ()
    condition_method: str = "embedding"
    condition_size: int = 16
    critic_condition: str = "projection"
    latent: int = 64
    generator_channels: tuple[int, ...] = (128, 64)
    generator_refinements: int = 0
    generator_output: str = "doubling"
    generator_head: str = "occupancy"
    occupancy_width: float = 0.6
    critic_stem: str = "halving"
    critic_channels: tuple[int, ...] = (32, 128)
    critic_hidden: int = 64
    generator_norm: str = "pixel"
    critic_norm: str = "none"
    doubling: str = "transposed"
    minibatch_deviation: bool = True

    def __post_init__(self) -> None:
        named = {
            "condition_method": (self.condition_method, CONDITION_METHODS),
            "critic_condition": (self.critic_condition, CRITIC_CONDITIONS),
            "generator_norm": (self.generator_norm, NORMS),
            "critic_norm": (self.critic_norm, NORMS),
            "doubling": (self.doubling, DOUBLINGS),
            "generator_output": (self.generator_output, ("keeping", "doubling")),
            "generator_head": (self.generator_head, HEADS),
            "critic_stem": (self.critic_stem, CRITIC_STEMS),
        }
        for name, (value, allowed) in named.items():
            if value not in allowed:
                raise ValueError(f"`{name}` is {value!r} but must be one of {sorted(allowed)}")
        for name in ("latent", "condition_size", "critic_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)} but must be at least 1")
        if not 0.0 < self.occupancy_width <= 1.0:
            raise ValueError(f"`occupancy_width` is {self.occupancy_width} but must lie above 0 and not above 1")

    @property
    def n_doublings(self) -> int:
        """How often the generator doubles the resolution."""
        return len(self.generator_channels) - 1 + int(self.generator_output == "doubling")

    @property
    def n_halvings(self) -> int:
        """How often the critic halves the resolution."""
        return len(self.critic_channels) - 1 + int(self.critic_stem == "halving")


def coarse_shape(shape: Sequence[int], n_halvings: int) -> tuple[int, ...]:
    """Return `shape` after `n_halvings`.

    Raises
    ------
    ValueError
        If an axis is not divisible.
    """
    factor = 2**n_halvings
    for n in shape:
        if n % factor:
            raise ValueError(
                f"`shape` is {tuple(shape)} but every axis must be divisible by {factor}, "
                f"because a network changes the resolution {n_halvings} times"
            )
    return tuple(n // factor for n in shape)


class Generator(nn.Module):
    r"""Noise and conditions to densities.

    Parameters
    ----------
    settings : NetworkSettings
    frozen : torch.Tensor, shape (n_species, \*shape)
        Density of the frozen atoms, seen at every resolution and never generated.
    periodic : sequence of bool
        Which spatial axes wrap.
    mean_density : sequence of float, length n_species
        Mean of the data per channel: the untrained network puts out about this.
    spread : sequence of torch.Tensor, one (n_axis, n_axis) per axis
        How the occupancy of one axis' voxels spreads along it; of no concern to a head that does without.
    """

    frozen: Tensor

    def __init__(
        self,
        settings: NetworkSettings,
        frozen: Tensor,
        periodic: Sequence[bool],
        mean_density: Sequence[float],
        spread: Sequence[Tensor],
    ) -> None:
        super().__init__()
        n_species, shape = len(frozen), frozen.shape[1:]
        channels = settings.generator_channels
        self.coarse = coarse_shape(shape, settings.n_doublings)
        self.mean_density = tuple(mean_density)
        self.encoder = ConditionEncoder(settings.conditions, settings.condition_method, settings.condition_size)
        self.register_buffer("frozen", frozen[None].clone(), persistent=False)
        self.dense = nn.Linear(settings.latent + self.encoder.width, channels[0] * math.prod(self.coarse))
        self.first_norm = NORMS[settings.generator_norm](channels[0], len(shape))
        self.blocks = nn.ModuleList(
            _DoublingBlock(n_in, n_out, n_species, periodic, settings) for n_in, n_out in pairwise(channels)
        )
        last = DOUBLINGS[settings.doubling] if settings.generator_output == "doubling" else keeping
        self.output = BesideFrozen(last, channels[-1], n_species, n_species, periodic)
        self.head = OccupancyHead(spread) if settings.generator_head == "occupancy" else DensityHead()

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters from `generator`; the output starts near the data's mean density."""
        initialise(self, generator)
        with torch.no_grad():
            for parameter in self.output.parameters():
                parameter.mul_(OUTPUT_SCALE)  # else the first outputs are far from the mean
            for name, parameter in self.output.named_parameters():
                if name.endswith("bias"):
                    parameter.copy_(self.head.logit(self.mean_density))

    def forward(self, noise: Tensor, conditions: Tensor) -> Tensor:
        r"""Noise (batch, latent) and condition rows (batch, n_conditions) to grids (batch, n_species, \*shape)."""
        features = self.dense(torch.cat([noise, self.encoder(conditions)], dim=1))
        features = features.view(len(noise), -1, *self.coarse)
        features = functional.leaky_relu(self.first_norm(features), LEAKY_SLOPE)
        for block in self.blocks:
            features = block(features, self.frozen)
        densities: Tensor = self.head(self.output(features, self.frozen))
        return densities


class _DoublingBlock(nn.Module):
    """Go to the next resolution, then refine there."""

    def __init__(
        self, n_in: int, n_out: int, n_species: int, periodic: Sequence[bool], settings: NetworkSettings
    ) -> None:
        super().__init__()
        norm, n_dimensions = NORMS[settings.generator_norm], len(periodic)
        n_refinements = settings.generator_refinements
        self.doubling = BesideFrozen(DOUBLINGS[settings.doubling], n_in, n_species, n_out, periodic)
        self.norm = norm(n_out, n_dimensions)
        self.refinements = nn.ModuleList(
            BesideFrozen(keeping, n_out, n_species, n_out, periodic) for _ in range(n_refinements)
        )
        self.refined_norms = nn.ModuleList(norm(n_out, n_dimensions) for _ in range(n_refinements))

    def forward(self, features: Tensor, frozen: Tensor) -> Tensor:
        features = functional.leaky_relu(self.norm(self.doubling(features, frozen)), LEAKY_SLOPE)
        for refinement, norm in zip(self.refinements, self.refined_norms, strict=True):
            features = features + functional.leaky_relu(norm(refinement(features, frozen)), LEAKY_SLOPE)
        return features


class Critic(nn.Module):
    r"""Densities and conditions to a score.

    Parameters
    ----------
    settings : NetworkSettings
    frozen : torch.Tensor, shape (n_species, \*shape)
    periodic : sequence of bool
    """

    frozen: Tensor

    def __init__(self, settings: NetworkSettings, frozen: Tensor, periodic: Sequence[bool]) -> None:
        super().__init__()
        n_species, shape = len(frozen), frozen.shape[1:]
        channels = settings.critic_channels
        coarse = coarse_shape(shape, settings.n_halvings)
        self.register_buffer("frozen", frozen[None].clone(), persistent=False)

        def encoder() -> ConditionEncoder:
            return ConditionEncoder(settings.conditions, settings.condition_method, settings.condition_size)

        conditioned = len(settings.conditions) > 0
        with_channel = conditioned and settings.critic_condition in ("channel", "both")
        with_projection = conditioned and settings.critic_condition in ("projection", "both")
        self.channel = ConditionChannel(encoder(), shape) if with_channel else None
        self.projection = ConditionProjection(encoder(), settings.critic_hidden) if with_projection else None
        n_input = n_species + int(with_channel)
        self.stem = BesideFrozen(CRITIC_STEMS[settings.critic_stem], n_input, n_species, channels[0], periodic)
        self.convolutions = nn.ModuleList(halving(n_in, n_out, periodic, True) for n_in, n_out in pairwise(channels))
        self.norms = nn.ModuleList(NORMS[settings.critic_norm](n, len(shape)) for n in channels)
        self.deviation = MinibatchDeviation() if settings.minibatch_deviation else None
        n_coarse = (channels[-1] + int(settings.minibatch_deviation)) * math.prod(coarse)
        self.hidden = nn.Linear(n_coarse, settings.critic_hidden)
        self.head = nn.Linear(settings.critic_hidden, 1)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters from `generator`."""
        initialise(self, generator)

    def forward(self, grids: Tensor, conditions: Tensor) -> Tensor:
        r"""Grids (batch, n_species, \*shape) and condition rows (batch, n_conditions) to scores (batch,)."""
        if self.channel is not None:
            grids = torch.cat([grids, self.channel(conditions)], dim=1)
        features = functional.leaky_relu(self.norms[0](self.stem(grids, self.frozen)), LEAKY_SLOPE)
        for convolution, norm in zip(self.convolutions, self.norms[1:], strict=True):
            features = functional.leaky_relu(norm(convolution(features)), LEAKY_SLOPE)
        if self.deviation is not None:
            features = self.deviation(features)
        features = functional.leaky_relu(self.hidden(features.flatten(1)), LEAKY_SLOPE)
        scores: Tensor = self.head(features)[:, 0]
        if self.projection is not None:
            scores = scores + self.projection(features, conditions)
        return scores
