"""The conditions of a training set, from which those that nobody asked for are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generators.networks.conditioning import ConditionSpec, encode, refuse_unknown
from generators.proposal import Condition
from generators.training.record import WeightsError


@dataclass(frozen=True)
class ConditionTable:
    """Different rows of conditions, and how often each was learned from.

    Attributes
    ----------
    specs : tuple of ConditionSpec
    rows : torch.Tensor, shape (n_rows, n_conditions)
    shares : numpy.ndarray, shape (n_rows,)
    """

    specs: tuple[ConditionSpec, ...]
    rows: Tensor
    shares: np.ndarray

    @classmethod
    def of(
        cls, specs: Sequence[ConditionSpec], rows: Sequence[Sequence[float]], shares: Sequence[float]
    ) -> "ConditionTable":
        """From plain numbers, as a data set tells them and a weights' description keeps them."""
        table = torch.tensor(rows, dtype=torch.float32).reshape(len(rows), len(specs))
        return cls(tuple(specs), table, np.asarray(shares))

    @classmethod
    def described(cls, specs: Sequence[ConditionSpec], description: Mapping[str, Any], path: Path) -> "ConditionTable":
        """From the description of weights.

        Raises
        ------
        WeightsError
            If it has no such table, as that of a checkpoint.
        """
        if "condition_rows" not in description:
            raise WeightsError(f"`{path}` is a checkpoint of a training, not weights to sample from")
        return cls.of(specs, description["condition_rows"], description["condition_shares"])

    def draw(self, n: int, condition: Condition, rng: np.random.Generator) -> Tensor:
        """Rows (n, n_conditions); values that are not given are drawn as the training data have them, given the others.

        Raises
        ------
        ValueError
            If a condition is unknown or outside its range.
        """
        rows, shares = self.choices(condition)
        if len(condition) == len(self.specs):
            return rows.expand(n, -1)
        return rows[rng.choice(len(rows), size=n, p=shares)]

    def choices(self, condition: Condition) -> tuple[Tensor, np.ndarray]:
        """Rows (n_rows, n_conditions) that agree with the given values, and the probability of each.

        Raises
        ------
        ValueError
            If a condition is unknown or outside its range.
        """
        refuse_unknown(condition, self.specs)
        if len(condition) == len(self.specs):
            return encode([condition], self.specs), np.ones(1)
        shares, given = self.shares, self.rows.clone()
        for i, spec in enumerate(self.specs):
            if spec.name in condition:
                given[:, i] = spec.check(condition[spec.name])
        agrees = (given == self.rows).all(dim=1).numpy()
        if agrees.any():  # else the other values are drawn as if they did not depend on the given ones
            shares = np.where(agrees, shares, 0.0)
        return given, shares / shares.sum()


def condition_spec(fields: dict[str, Any]) -> ConditionSpec:
    """A condition as a weights' description keeps it."""
    low, high = fields["range"]
    return ConditionSpec(fields["name"], fields["kind"], fields["n_classes"], (low, high))
