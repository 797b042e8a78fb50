"""What a generator takes in and gives out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

Condition = Mapping[str, int | float]
"""Named values, for example ``{"energy_class": 2}``."""


@dataclass(frozen=True)
class TrainingRecord:
    """One structure to learn from: its free atoms in the template's frame, or all atoms of a full cell."""

    numbers: np.ndarray
    """(n_free,) atomic numbers"""
    positions: np.ndarray
    """(n_free, 3) in Å"""
    condition: Condition
    weight: float = 1.0
    """relative probability of being drawn"""
    lengths: tuple[float, float, float] | None = None
    """Å, of a full cell that begins at the origin; None where the grid's own hold"""


@dataclass(frozen=True)
class Proposal:
    """Free atoms that a generator suggests, or the reason why it could not say which."""

    numbers: np.ndarray
    """(n_free,) atomic numbers; empty if undecodable"""
    positions: np.ndarray
    """(n_free, 3) in Å, template's frame"""
    condition: Condition = field(default_factory=dict)
    confidence: float = 1.0
    """R² of the decoded grid; 1 where nothing was decoded"""
    reason: str | None = None
    """reason code if undecodable, else None"""


class Proposer(Protocol):
    """An arm's source of structures."""

    def fit(self, records: Sequence[TrainingRecord], rng: np.random.Generator) -> None:
        """Learn from an iteration's training set."""

    def sample(self, n: int, condition: Condition, rng: np.random.Generator) -> list[Proposal]:
        """Propose `n` structures under a condition; as many proposals as asked for, undecodable ones included."""
