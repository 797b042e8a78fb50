"""Training structures as coordinates, from which grids are made when they are needed."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from generators.grids.augmentation import random_operations, random_placements
from generators.grids.cells import cell_densities
from generators.grids.density import PADDING, densities, pack
from generators.grids.slices import EMPTY_BELOW
from generators.grids.spec import GridError, GridSpec
from generators.networks.conditioning import ConditionSpec, encode
from generators.networks.lattice import LatticeScale
from generators.proposal import TrainingRecord
from generators.template import Template
from generators.training.view import WINDOW, View

STORED_SEED = 0
"""of augmentations that are drawn once"""
EVERY_SAMPLE = slice(None)


class Batch(NamedTuple):
    """Structures as the networks see them."""

    grids: Tensor
    r"""(n, n_species, \*shape)"""
    conditions: Tensor
    """(n, n_conditions)"""
    lattice: Tensor
    """(n, 3) scaled lengths"""


class StructureDataset:
    """Coordinates, conditions and weights; never grids, which would take a hundred times the memory.

    Parameters
    ----------
    records : sequence of TrainingRecord, length n
    spec : GridSpec
    conditions : sequence of ConditionSpec
    template : Template or None
        Its symmetry operations augment each structure of a window.
    device : str
        Where coordinates are kept and grids are made.
    view : View
    balance : sequence of str
        Conditions whose values are drawn equally often, together.
    largest_weight : float
        Cap on a structure's weight relative to the mean, when balanced.

    Raises
    ------
    ValueError
        If there is no record, a weight is negative or not finite, all weights are zero, a condition does not fit, or
        no plane of a slice shows an atom.
    """

    def __init__(
        self,
        records: Sequence[TrainingRecord],
        spec: GridSpec,
        conditions: Sequence[ConditionSpec],
        template: Template | None,
        device: str = "cpu",
        view: View = WINDOW,
        balance: Sequence[str] = (),
        largest_weight: float = 4.0,
    ) -> None:
        if not records:
            raise ValueError("`records` is empty but a training needs at least one structure")
        self.spec, self.view = spec, view
        self.positions, self.channels = pack(
            [(record.numbers, record.positions) for record in records], spec, dtype=torch.float32, device=device
        )
        own = [spec.lengths if record.lengths is None else record.lengths for record in records]
        self.lengths = torch.tensor(own, dtype=torch.float32, device=device)
        self.lattice_scale = LatticeScale.of(self.lengths.cpu())
        self.conditions = encode([_named(record, conditions) for record in records], conditions).to(device)
        weights = _weights(records)
        if balance:
            weights = _balanced(weights, self.conditions.cpu(), _columns(balance, conditions), largest_weight)
        self.probabilities = (weights / weights.sum()).to(device)
        if template is not None:
            self.rotations = torch.as_tensor(template.rotations, dtype=torch.float32, device=device)
            self.translations = torch.as_tensor(template.translations, dtype=torch.float32, device=device)
            self.cell = torch.as_tensor(template.cell, dtype=torch.float32, device=device)
        if view.augmentation == "stored":
            everything = torch.arange(len(records), device=device)
            self.positions = self._placed(everything, torch.Generator(device).manual_seed(STORED_SEED))
        self._shown = self._planes_with_atoms() if view.kind == "slice" else None

    def __len__(self) -> int:
        return len(self.positions)

    def draw(self, n: int, generator: torch.Generator, reach: float = 1.0) -> Tensor:
        """Indices (n,) of structures, drawn with replacement by weight.

        Parameters
        ----------
        n : int
        generator : torch.Generator
        reach : float
            Share of the first condition's different values, from the smallest on, that are drawn from.
        """
        return torch.multinomial(self._within(reach), n, replacement=True, generator=generator)

    def batch(self, n: int, generator: torch.Generator, reach: float = 1.0, share: slice = EVERY_SAMPLE) -> Batch:
        """Draw `n` structures, place each by a random symmetry operation, and make the grids of a share of them."""
        drawn = self.draw(n, generator, reach)
        fresh = self.view.augmentation == "fresh"
        positions = self._placed(drawn, generator) if fresh else self.positions[drawn]
        planes = self._drawn_planes(drawn, generator)
        drawn, positions = drawn[share], positions[share]
        if planes is not None:
            grids = self._sliced(positions, self.channels[drawn], planes[share])
        else:
            grids = self._whole(positions, drawn)
        return Batch(grids, self.conditions[drawn], self.lattice_scale.scaled(self.lengths[drawn]))

    def each(self) -> Batch:
        """Every structure once and in order, where it stands.

        Raises
        ------
        ValueError
            For slices, of which a structure has many.
        """
        if self._shown is not None:
            raise ValueError("a slice does not show a whole structure, so that there is no grid of each")
        every = torch.arange(len(self), device=self.positions.device)
        return Batch(self._whole(self.positions, every), self.conditions, self.lattice_scale.scaled(self.lengths))

    def mean_density(self) -> list[float]:
        """Expected mean of a grid per channel, before clipping."""
        volumes = self.lengths.double().prod(dim=1)
        counts = torch.stack([(self.channels == c).sum(dim=1) for c in range(len(self.spec.species))], dim=1)
        expected = self.probabilities @ (counts.to(self.probabilities) / volumes[:, None].to(self.probabilities))
        return [float(share) * self.spec.atom_volume for share in expected]

    def condition_table(self) -> tuple[list[list[float]], list[float]]:
        """Different rows of conditions, and the probability of each."""
        if self.conditions.shape[1] == 0:
            return [[]], [1.0]
        rows, membership = torch.unique(self.conditions, dim=0, return_inverse=True)
        shares = torch.zeros(len(rows), dtype=torch.float64).index_add_(
            0, membership.cpu().view(-1), self.probabilities.cpu()
        )
        return rows.tolist(), shares.tolist()

    def digest(self) -> str:
        """SHA-256 of everything that decides what is drawn."""
        sha = hashlib.sha256()
        tensors = [self.positions, self.channels, self.lengths, self.conditions, self.probabilities]
        if hasattr(self, "rotations"):
            tensors += [self.rotations, self.translations]
        for tensor in tensors:
            sha.update(tensor.cpu().numpy().tobytes())
        return sha.hexdigest()

    def _within(self, reach: float) -> Tensor:
        if reach >= 1.0:
            return self.probabilities
        values = torch.unique(self.conditions[:, 0])
        largest = values[max(0, round(reach * len(values)) - 1)]
        return torch.where(self.conditions[:, 0] <= largest, self.probabilities, 0.0)

    def _placed(self, drawn: Tensor, generator: torch.Generator) -> Tensor:
        """Positions (n, n_atoms_max, 3) in Å after a random symmetry operation of template or cell."""
        positions, channels = self.positions[drawn], self.channels[drawn]
        if self.view.kind == "window":
            return random_operations(positions, channels, self.rotations, self.translations, self.cell, generator)
        if self.view.kind == "cell":
            scale = positions.new_tensor(self.spec.lengths) / self.lengths[drawn][:, None, :]
            return random_placements(positions * scale, channels, self.spec, generator) / scale
        return self._placed_in_plane(positions, channels, generator)

    def _placed_in_plane(self, positions: Tensor, channels: Tensor, generator: torch.Generator) -> Tensor:
        """Shifted along the periodic axes of a slice and mirrored along its lateral one; the plane stays."""
        random = torch.rand(2, len(positions), 1, 3, generator=generator, device=generator.device).to(positions)
        origin, lengths = (positions.new_tensor(values) for values in (self.spec.origin, self.spec.lengths))
        free = torch.tensor(self.spec.periodic, device=positions.device)
        free[self.view.axis] = False
        lateral = free.clone()
        lateral[2] = False  # a slab has an upper and a lower side
        turned = torch.where((random[0] < 0.5) & lateral, 2.0 * origin + lengths - positions, positions)
        moved = origin + torch.remainder(turned + random[1] * lengths - origin, lengths)
        return torch.where((channels != PADDING)[..., None] & free, moved, turned)

    def _planes_with_atoms(self) -> Tensor:
        """Whether a plane shows any atom of a structure, (n, n_planes)."""
        specs = self.view.plane_specs(self.spec)
        highest = [densities(self.positions, self.channels, spec).flatten(1).amax(dim=1) for spec in specs]
        shown = torch.stack(highest, dim=1) >= EMPTY_BELOW
        self.probabilities = torch.where(shown.any(dim=1), self.probabilities, 0.0)
        if not bool(self.probabilities.sum() > 0.0):
            raise GridError(f"`planes` {self.view.planes} show no atom of any structure; name others")
        self.probabilities = self.probabilities / self.probabilities.sum()
        return shown

    def _drawn_planes(self, drawn: Tensor, generator: torch.Generator) -> Tensor | None:
        """Plane (n,) of each drawn structure, among those that show an atom; None without slices."""
        if self._shown is None:
            return None
        return torch.multinomial(self._shown[drawn].float(), 1, generator=generator)[:, 0]

    def _whole(self, positions: Tensor, drawn: Tensor) -> Tensor:
        """Grids of windows or cells."""
        if self.view.kind == "cell":
            return cell_densities(positions, self.channels[drawn], self.lengths[drawn], self.spec)
        return densities(positions, self.channels[drawn], self.spec)

    def _sliced(self, positions: Tensor, channels: Tensor, planes: Tensor) -> Tensor:
        axis = self.view.axis
        grids = positions.new_empty(len(positions), len(self.spec.species), *self.view.shape(self.spec))
        for plane, spec in enumerate(self.view.plane_specs(self.spec)):
            chosen = torch.nonzero(planes == plane)[:, 0]
            if len(chosen):
                grids[chosen] = densities(positions[chosen], channels[chosen], spec).squeeze(2 + axis)
        return grids


def _weights(records: Sequence[TrainingRecord]) -> Tensor:
    weights = torch.tensor([record.weight for record in records], dtype=torch.float64)
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0.0).any()) or weights.sum() == 0.0:
        raise ValueError("`weight` of a training record is negative or not finite, or all weights are zero")
    return weights


def _columns(names: Sequence[str], conditions: Sequence[ConditionSpec]) -> list[int]:
    known = [spec.name for spec in conditions]
    for name in names:
        if name not in known:
            raise ValueError(f"`balance` names `{name}` but the conditions are {known}")
    return [known.index(name) for name in names]


def _balanced(weights: Tensor, conditions: Tensor, columns: list[int], largest: float) -> Tensor:
    """Weights (n,) that give every combination of values the same share, none above `largest` times the mean."""
    rows, membership = torch.unique(conditions[:, columns], dim=0, return_inverse=True)
    totals = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, membership, weights)
    balanced = weights / totals[membership].clamp(min=1e-300)
    return balanced.clamp(max=largest * float(balanced.mean()))


def _named(record: TrainingRecord, conditions: Sequence[ConditionSpec]) -> dict[str, int | float]:
    """The record's values of the conditions that the networks read; it may carry others."""
    names = {spec.name for spec in conditions}
    return {name: value for name, value in record.condition.items() if name in names}
