"""Training structures as coordinates, from which grids are made when they are needed."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from generators.grids.augmentation import random_operations
from generators.grids.density import PADDING, densities, pack
from generators.grids.spec import GridSpec
from generators.networks.conditioning import ConditionSpec, encode
from generators.proposal import TrainingRecord
from generators.template import Template


class StructureDataset:
    """Coordinates, conditions and weights; never grids, which would take a hundred times the memory.

    Parameters
    ----------
    records : sequence of TrainingRecord, length n
    spec : GridSpec
    conditions : sequence of ConditionSpec
    template : Template
        Its symmetry operations augment each structure that is drawn.
    device : str
        Where coordinates are kept and grids are made.

    Raises
    ------
    ValueError
        If there is no record, a weight is negative or not finite, all weights are zero, or a condition does not fit.
    """

    def __init__(
        self,
        records: Sequence[TrainingRecord],
        spec: GridSpec,
        conditions: Sequence[ConditionSpec],
        template: Template,
        device: str = "cpu",
    ) -> None:
        if not records:
            raise ValueError("`records` is empty but a training needs at least one structure")
        weights = torch.tensor([record.weight for record in records], dtype=torch.float64)
        if not bool(torch.isfinite(weights).all()) or bool((weights < 0.0).any()) or weights.sum() == 0.0:
            raise ValueError("`weight` of a training record is negative or not finite, or all weights are zero")
        self.spec = spec
        self.positions, self.channels = pack(
            [(record.numbers, record.positions) for record in records], spec, dtype=torch.float32, device=device
        )
        self.conditions = encode([_named(record, conditions) for record in records], conditions).to(device)
        self.probabilities = (weights / weights.sum()).to(device)
        self.rotations = torch.as_tensor(template.rotations, dtype=torch.float32, device=device)
        self.translations = torch.as_tensor(template.translations, dtype=torch.float32, device=device)
        self.cell = torch.as_tensor(template.cell, dtype=torch.float32, device=device)

    def __len__(self) -> int:
        return len(self.positions)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Indices (n,) of structures, drawn with replacement by weight."""
        return torch.multinomial(self.probabilities, n, replacement=True, generator=generator)

    def batch(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        r"""Draw structures and turn each by a random symmetry operation.

        Returns
        -------
        grids : torch.Tensor, shape (n, n_species, \*shape)
        conditions : torch.Tensor, shape (n, n_conditions)
        """
        drawn = self.draw(n, generator)
        channels = self.channels[drawn]
        positions = random_operations(
            self.positions[drawn], channels, self.rotations, self.translations, self.cell, generator
        )
        return densities(positions, channels, self.spec), self.conditions[drawn]

    def mean_density(self) -> list[float]:
        """Expected mean of a grid per channel, before clipping."""
        n_voxel_volumes = torch.tensor(self.spec.lengths).prod().item()
        counts = torch.stack([(self.channels == c).sum(dim=1) for c in range(len(self.spec.species))], dim=1)
        expected = self.probabilities @ counts.to(self.probabilities)
        return [float(count) * self.spec.atom_volume / n_voxel_volumes for count in expected]

    def condition_table(self) -> tuple[list[list[float]], list[float]]:
        """Different rows of conditions, and the probability of each."""
        if not self.conditions.shape[1]:
            return [[]], [1.0]
        rows, membership = torch.unique(self.conditions, dim=0, return_inverse=True)
        shares = torch.zeros(len(rows), dtype=torch.float64).index_add_(
            0, membership.cpu().view(-1), self.probabilities.cpu()
        )
        return rows.tolist(), shares.tolist()

    def digest(self) -> str:
        """SHA-256 of everything that decides what is drawn."""
        sha = hashlib.sha256()
        channels = torch.where(self.channels == PADDING, PADDING, self.channels)
        for tensor in (
            self.positions,
            channels,
            self.conditions,
            self.probabilities,
            self.rotations,
            self.translations,
        ):
            sha.update(tensor.cpu().numpy().tobytes())
        return sha.hexdigest()


def _named(record: TrainingRecord, conditions: Sequence[ConditionSpec]) -> dict[str, int | float]:
    """The record's values of the conditions that the networks read; it may carry others."""
    names = {spec.name for spec in conditions}
    return {name: value for name, value in record.condition.items() if name in names}
