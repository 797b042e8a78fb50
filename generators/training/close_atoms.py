r"""How far a grid shows atoms nearer to each other than in any structure of the training set.

The product of two densities, one read at a lag Δ, shows a pair of atoms i, j at R as a peak at its midpoint m:

.. math:: \rho_a(r)\,\rho_b(r + \Delta) = \sum_{ij} e^{-|r - m|^2 / \sigma^2}\, e^{-|R - \Delta|^2 / 4\sigma^2}

Let d be the shortest distance that the pair of species may have. Different species are read at Δ = 0, where no allowed
pair is higher than exp(−d²/4σ²). One species is read at lags of about d/2 in many directions, where neither an atom
with itself (R = 0) nor an allowed pair is higher than exp(−min(Δ, d − Δ)²/4σ²). What exceeds this limit is the term.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from generators.grids.spec import GridSpec
from generators.proposal import TrainingRecord
from generators.template import Template
from generators.training.terms import GeneratorBatch

REACH = 5.0
"""Å; pairs of species that are never nearer than this are not looked at."""
TAILS = 0.1
"""By which share the tails of further atoms may raise an allowed peak; five atoms 4σ away raise it by 0.09."""
DIRECTIONS = 24
"""Lags in half a sphere, about 25° from each other."""

Pair = tuple[int, int]
Lag = tuple[int, int, int]


def least_distances(records: Sequence[TrainingRecord], spec: GridSpec, template: Template | None) -> dict[Pair, float]:
    """Shortest distance in Å, by pair of channels, that any structure has, its frozen atoms included.

    Parameters
    ----------
    records : sequence of TrainingRecord
    spec : GridSpec
        Says which axes are periodic, and how long where a record does not.
    template : Template or None
        Whose frozen atoms stand beside those of each record.
    """
    found: dict[Pair, float] = {}
    numbers = np.empty(0, dtype=int) if template is None else template.frozen_numbers
    positions = np.empty((0, 3)) if template is None else template.frozen_positions
    for record in records:
        lengths = np.array(spec.lengths if record.lengths is None else record.lengths)
        box = np.where(spec.periodic, lengths, 0.0)
        here = np.concatenate([record.positions, positions]) - np.array(spec.origin)
        here = np.where(spec.periodic, np.mod(here, lengths), here)
        channels = np.array([spec.channel_of(int(number)) for number in (*record.numbers, *numbers)])
        pairs = cKDTree(here, boxsize=box).query_pairs(REACH, output_type="ndarray")
        apart = here[pairs[:, 0]] - here[pairs[:, 1]]
        apart -= np.where(spec.periodic, lengths, 0.0) * np.round(apart / lengths)
        distances = np.linalg.norm(apart, axis=1)
        both = np.sort(channels[pairs], axis=1)
        for pair in {(int(a), int(b)) for a, b in both}:
            nearest = float(distances[(both == pair).all(axis=1)].min())
            found[pair] = min(found.get(pair, math.inf), nearest)
        images = min([length for length, wraps in zip(lengths, spec.periodic, strict=True) if wraps], default=math.inf)
        for channel in {int(channel) for channel in channels}:
            found[channel, channel] = min(found.get((channel, channel), math.inf), float(images))
    return found


class CloseAtoms:
    """The term `validity`.

    Parameters
    ----------
    distances : mapping of (int, int) to float
        Shortest allowed distance in Å by pair of channels, the smaller channel first.
    spec : GridSpec
    """

    needs_real = False

    def __init__(self, distances: Mapping[Pair, float], spec: GridSpec) -> None:
        self.spec = spec
        self.told: dict[str, Tensor] = {}
        self._lags = {
            pair: _lags(distance, spec)
            if pair[0] == pair[1]
            else [((0, 0, 0), math.exp(-(distance**2) / _width(spec)))]
            for pair, distance in distances.items()
        }

    @property
    def kept(self) -> Mapping[str, nn.Module]:
        """None."""
        return {}

    def __call__(self, batch: GeneratorBatch) -> Tensor:
        """Mean excess of a batch, its frozen atoms included.

        Raises
        ------
        ValueError
            For slices, in which a distance cannot be seen.
        """
        if batch.grids.dim() != 5:
            raise ValueError("the term `validity` needs grids of three dimensions: a slice does not show distances")
        return self.excess(batch.grids + batch.generator.frozen).mean()

    def excess(self, grids: Tensor) -> Tensor:
        r"""What exceeds the limits, (n,): about 1 for a pair of atoms in one place.

        Parameters
        ----------
        grids : torch.Tensor, shape (n, n_species, \*shape)
        """
        total = grids.new_zeros(len(grids))
        volume = self.spec.voxel_volume / (math.pi * self.spec.sigma**2) ** 1.5
        for (first, second), lags in self._lags.items():
            for lag, limit in lags:
                product = self._product(grids[:, first], grids[:, second], lag)
                above = (product - (1.0 + TAILS) * limit).clamp(min=0.0)
                total = total + volume / len(lags) * above.flatten(1).sum(dim=1)
        return total

    def tensors(self) -> dict[str, Tensor]:
        """Nothing changes."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing changes."""

    def _product(self, first: Tensor, second: Tensor, lag: Lag) -> Tensor:
        for axis, (steps, wraps) in enumerate(zip(lag, self.spec.periodic, strict=True), start=1):
            if wraps:
                second = torch.roll(second, -steps, dims=axis)
            elif steps:
                n = first.shape[axis] - abs(steps)
                first = first.narrow(axis, max(0, -steps), n)
                second = second.narrow(axis, max(0, steps), n)
        return first * second


def _width(spec: GridSpec) -> float:
    return 4.0 * spec.sigma**2


def _lags(distance: float, spec: GridSpec) -> list[tuple[Lag, float]]:
    """Lags in voxels, near half the distance in directions of a Fibonacci half sphere, each with its limit."""
    index = np.arange(DIRECTIONS)
    height = (index + 0.5) / DIRECTIONS
    turn = index * math.pi * (3.0 - math.sqrt(5.0))
    level = np.sqrt(1.0 - height**2)
    directions = np.column_stack([level * np.cos(turn), level * np.sin(turn), height])
    steps = np.unique(np.rint(0.5 * distance * directions / spec.spacing).astype(int), axis=0)
    lags = []
    for lag in steps:
        length = float(np.linalg.norm(lag * spec.spacing))
        nearest = min(length, distance - length)
        if nearest > 0.0 and (np.abs(lag) < spec.shape).all():
            lags.append(((int(lag[0]), int(lag[1]), int(lag[2])), math.exp(-(nearest**2) / _width(spec))))
    return lags
