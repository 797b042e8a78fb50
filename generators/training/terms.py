"""Further terms of the generator's loss, by name: what a batch should be like beside what the critic says of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from generators.grids.density import integral_counts
from generators.grids.spec import GridSpec
from generators.networks.conditioning import ConditionSpec
from generators.networks.dcwgan import Generator

LARGEST_DIVERSITY = 10.0
PATH_DECAY = 0.99
"""Of the running mean of path lengths (Karras et al., CVPR 2020)."""


@dataclass(frozen=True)
class GeneratorBatch:
    """What a generator's step has at hand."""

    generator: Generator
    averaged: Generator
    noise: Tensor
    conditions: Tensor
    grids: Tensor
    """of `noise`, with a gradient"""
    features: Tensor
    """of the critic for `grids`"""
    features_of: Callable[[Tensor], Tensor]
    """of the critic for other grids under the same conditions"""
    real: Callable[[], Tensor]
    """the critic's features of a real batch under the same conditions"""
    real_grids: Tensor | None
    """that batch, where a term needs it"""
    spec: GridSpec
    condition_specs: tuple[ConditionSpec, ...]
    random: torch.Generator
    memory: Tensor
    """(1,) running mean of path lengths, changed in place"""


def count(batch: GeneratorBatch) -> Tensor:
    """Mean square of the atoms that ∫ρ holds beyond those that the conditions ask for."""
    if batch.grids.dim() != 5:
        raise ValueError("the term `count` needs grids of three dimensions: a slice does not hold whole atoms")
    counts = integral_counts(batch.grids, batch.spec)  # (batch, n_species)
    oxygen = torch.tensor([symbol == "O" for symbol in batch.spec.species], device=counts.device)
    found = {"n_oxygen": counts[:, oxygen].sum(dim=1), "n_metal": counts[:, ~oxygen].sum(dim=1)}
    misses = [
        (found[spec.name] - batch.conditions[:, column]).square().mean()
        for column, spec in enumerate(batch.condition_specs)
        if spec.name in found
    ]
    if not misses:
        raise ValueError("the term `count` needs a condition `n_oxygen` or `n_metal`")
    return torch.stack(misses).mean()


def diversity(batch: GeneratorBatch) -> Tensor:
    """How little grids differ where their noise does (mode seeking, Mao et al., CVPR 2019)."""
    other = torch.randn(batch.noise.shape, generator=batch.random, device=batch.noise.device)
    apart = (batch.generator(other, batch.conditions) - batch.grids).abs().flatten(1).mean(dim=1)
    far = (other - batch.noise).abs().mean(dim=1)
    return (far / apart.clamp(min=1e-6)).clamp(max=LARGEST_DIVERSITY).mean()


def feature_matching(batch: GeneratorBatch) -> Tensor:
    """Square of the distance between the critic's mean features of real and generated (Salimans et al., 2016)."""
    return (batch.features.mean(dim=0) - batch.real().mean(dim=0)).square().sum()


def path_length(batch: GeneratorBatch) -> Tensor:
    """Variance of how far a step in the noise moves the grid (Karras et al., CVPR 2020)."""
    noise = batch.noise.detach().requires_grad_(True)
    grids = batch.generator(noise, batch.conditions)
    direction = torch.randn(grids.shape, generator=batch.random, device=grids.device) / math.sqrt(grids[0, 0].numel())
    (slope,) = torch.autograd.grad((grids * direction).sum(), noise, create_graph=True)
    lengths = slope.norm(dim=1)
    with torch.no_grad():
        batch.memory.lerp_(lengths.mean(), 1.0 - PATH_DECAY)
    return (lengths - batch.memory.clone()).square().mean()


def historical_average(batch: GeneratorBatch) -> Tensor:
    """Square of the distance of the generator's weights from their running mean (Salimans et al., 2016)."""
    pairs = zip(batch.generator.parameters(), batch.averaged.parameters(), strict=True)
    return torch.stack([(weight - mean).square().sum() for weight, mean in pairs]).sum()


TERMS: Mapping[str, Callable[[GeneratorBatch], Tensor]] = {
    "count": count,
    "diversity": diversity,
    "feature_matching": feature_matching,
    "historical_average": historical_average,
    "path_length": path_length,
}
"""Terms by name, each a function of what a generator's step has at hand."""
