"""The conditioned convolutional generator and critic, for any window in two or three dimensions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from generators.networks.conditioning import (
    ConditionChannel,
    ConditionConstant,
    ConditionEncoder,
    ConditionProjection,
)
from generators.networks.heads import DensityHead, OccupancyHead
from generators.networks.lattice import LENGTHS
from generators.networks.layers import (
    CRITIC_STEMS,
    DOUBLINGS,
    LEAKY_SLOPE,
    NORMS,
    BesideFrozen,
    MinibatchDeviation,
    halving,
    initialise,
    keeping,
)
from generators.networks.settings import NetworkSettings
from generators.networks.stabilisers import (
    MinibatchDiscrimination,
    SeededDropout,
    apply_spectral_norm,
    draw_spectral_norms,
)

OUTPUT_SCALE = 0.3
"""What the last layer's first weights are multiplied by."""


@dataclass(frozen=True)
class Generated:
    r"""What a generator puts out.

    Attributes
    ----------
    grids : torch.Tensor, shape (batch, n_species, \*shape)
    lattice : torch.Tensor or None, shape (batch, 3)
        Logits of the scaled lengths, with a lattice head.
    """

    grids: Tensor
    lattice: Tensor | None


@dataclass(frozen=True)
class Judged:
    """What a critic says about a batch, or about its packs.

    Attributes
    ----------
    scores : torch.Tensor, shape (batch / packing,)
    features : torch.Tensor, shape (batch / packing, critic_hidden)
    lattice : torch.Tensor or None, shape (batch, 3)
        Logits of the scaled lengths.
    conditions : tuple of torch.Tensor
        Per condition logits (batch, n_classes), or the value scaled to [-1, 1], (batch, 1).
    information : torch.Tensor or None, shape (batch, information)
        First numbers of the noise as read from the grid.
    """

    scores: Tensor
    features: Tensor
    lattice: Tensor | None
    conditions: tuple[Tensor, ...]
    information: Tensor | None


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
        self.encoder = _encoder(settings)
        self.register_buffer("frozen", frozen[None].clone(), persistent=False)
        self.dense = nn.Linear(settings.latent + self.encoder.width, channels[0] * math.prod(self.coarse))
        self.first_norm = NORMS[settings.generator_norm](channels[0], len(shape))
        self.blocks = nn.ModuleList(
            _DoublingBlock(n_in, n_out, n_species, periodic, settings) for n_in, n_out in pairwise(channels)
        )
        last = DOUBLINGS[settings.doubling] if settings.generator_output == "doubling" else keeping
        self.output = BesideFrozen(last, channels[-1], n_species, n_species, periodic)
        self.output_norm = NORMS[settings.output_norm](n_species, len(shape))
        self.head = OccupancyHead(spread) if settings.generator_head == "occupancy" else DensityHead()
        self.lattice = nn.Linear(channels[0], len(LENGTHS)) if settings.lattice else None

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
        return self.generate(noise, conditions).grids

    def generate(self, noise: Tensor, conditions: Tensor) -> Generated:
        """Grids, and the cell's lengths where there is a head for them."""
        features = self.dense(torch.cat([noise, self.encoder(conditions)], dim=1))
        features = features.view(len(noise), -1, *self.coarse)
        features = functional.leaky_relu(self.first_norm(features), LEAKY_SLOPE)
        lattice = None if self.lattice is None else self.lattice(features.flatten(2).mean(dim=2))
        for block in self.blocks:
            features = block(features, self.frozen)
        return Generated(self.head(self.output_norm(self.output(features, self.frozen))), lattice)


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
        channels, hidden = settings.critic_channels, settings.critic_hidden
        coarse = coarse_shape(shape, settings.n_halvings)
        self.packing = settings.packing
        self.register_buffer("frozen", frozen[None].clone(), persistent=False)
        how = settings.critic_condition if settings.conditions else "none"
        self.channel = ConditionChannel(_encoder(settings), shape) if how in ("channel", "both") else None
        self.constant = ConditionConstant(_constant_encoder(settings)) if how == "constant" else None
        self.projection = ConditionProjection(_encoder(settings), hidden) if how in ("projection", "both") else None
        n_input = settings.packing * n_species + int(self.channel is not None)
        n_input += 0 if self.constant is None else self.constant.n_channels
        self.stem = BesideFrozen(CRITIC_STEMS[settings.critic_stem], n_input, n_species, channels[0], periodic)
        self.convolutions = nn.ModuleList(halving(n_in, n_out, periodic, True) for n_in, n_out in pairwise(channels))
        self.norms = nn.ModuleList(NORMS[settings.critic_norm](n, len(shape)) for n in channels)
        self.dropout = SeededDropout(settings.critic_dropout)
        self.deviation = MinibatchDeviation() if settings.minibatch_deviation else None
        n_coarse = (channels[-1] + int(settings.minibatch_deviation)) * math.prod(coarse)
        self.hidden = nn.Linear(n_coarse, hidden)
        n_kernels = settings.minibatch_kernels
        self.discrimination = MinibatchDiscrimination(hidden, n_kernels) if n_kernels else None
        self.head = nn.Linear(hidden + n_kernels, 1)
        self.lattice = nn.Linear(hidden, len(LENGTHS)) if settings.lattice else None
        told = settings.conditions if settings.condition_head else ()
        self.told = nn.ModuleList(nn.Linear(hidden, max(1, spec.n_classes)) for spec in told)
        self.information = nn.Linear(hidden, settings.information) if settings.information else None
        if settings.critic_spectral:
            apply_spectral_norm(self)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters from `generator`."""
        initialise(self, generator)
        draw_spectral_norms(self, generator)

    def forward(self, grids: Tensor, conditions: Tensor) -> Tensor:
        r"""Grids (batch, n_species, \*shape) and condition rows (batch, n_conditions) to scores (batch / packing,)."""
        return self.judge(grids, conditions).scores

    def judge(self, grids: Tensor, conditions: Tensor) -> Judged:
        """Scores, and what the heads read from the same features."""
        grids = grids.reshape(len(grids) // self.packing, -1, *grids.shape[2:])
        if self.channel is not None:
            grids = torch.cat([grids, self._packed(self.channel(conditions))], dim=1)
        if self.constant is not None:
            grids = torch.cat([grids, self._packed(self.constant(conditions, grids.shape[2:]))], dim=1)
        features = functional.leaky_relu(self.norms[0](self.stem(grids, self.frozen)), LEAKY_SLOPE)
        features = self.dropout(features)
        for convolution, norm in zip(self.convolutions, self.norms[1:], strict=True):
            features = functional.leaky_relu(norm(convolution(features)), LEAKY_SLOPE)
        if self.deviation is not None:
            features = self.deviation(features)
        features = functional.leaky_relu(self.hidden(features.flatten(1)), LEAKY_SLOPE)
        beside = features
        if self.discrimination is not None:
            beside = torch.cat([features, self.discrimination(features)], dim=1)
        scores: Tensor = self.head(beside)[:, 0]
        if self.projection is not None:
            scores = scores + self.projection(features, self._packed(self.projection.encode(conditions)))
        return Judged(
            scores,
            features,
            None if self.lattice is None else self.lattice(features),
            tuple(head(features) for head in self.told),
            None if self.information is None else self.information(features),
        )

    def _packed(self, values: Tensor) -> Tensor:
        """Mean over the samples of each pack."""
        if self.packing == 1:
            return values
        return values.view(len(values) // self.packing, self.packing, *values.shape[1:]).mean(dim=1)


def _encoder(settings: NetworkSettings) -> ConditionEncoder:
    return ConditionEncoder(settings.conditions, settings.condition_method, settings.condition_size)


def _constant_encoder(settings: NetworkSettings) -> ConditionEncoder:
    """An encoder that repeats nothing, since a channel already holds the value at every voxel."""
    largest = max(max(1, spec.n_classes) for spec in settings.conditions)
    size = {"integer": 1, "one_hot": largest}.get(settings.condition_method, settings.condition_size)
    return ConditionEncoder(settings.conditions, settings.condition_method, size)
