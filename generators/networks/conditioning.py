"""Conditions: named values of a structure, and how the networks read them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class ConditionSpec:
    """What one named value may be.

    Attributes
    ----------
    name : str
        For example ``"energy_class"``.
    kind : {"class", "scalar"}
    n_classes : int
        A class is a whole number in ``[0, n_classes)``.
    range : tuple of float
        A scalar lies in this closed interval.
    """

    name: str
    kind: Literal["class", "scalar"] = "class"
    n_classes: int = 0
    range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.kind not in ("class", "scalar"):
            raise ValueError(f"`kind` of condition `{self.name}` is {self.kind!r} but must be 'class' or 'scalar'")
        if self.kind == "class" and self.n_classes < 2:
            raise ValueError(f"`n_classes` of condition `{self.name}` is {self.n_classes} but must be at least 2")
        if self.kind == "scalar" and not self.range[0] < self.range[1]:
            raise ValueError(f"`range` of condition `{self.name}` is {self.range} but must rise")

    def check(self, value: float) -> float:
        """Return `value` as a float.

        Raises
        ------
        ValueError
            If it is outside what the condition allows.
        """
        if self.kind == "class":
            if value != int(value) or not 0 <= value < self.n_classes:
                raise ValueError(
                    f"condition `{self.name}` is {value} but must be a whole number from 0 to {self.n_classes - 1}"
                )
        elif not self.range[0] <= value <= self.range[1]:
            raise ValueError(f"condition `{self.name}` is {value} but must lie in {list(self.range)}")
        return float(value)


def encode(conditions: Sequence[Mapping[str, float]], specs: Sequence[ConditionSpec]) -> Tensor:
    """Turn named values into rows of numbers.

    Parameters
    ----------
    conditions : sequence of mappings, length n
    specs : sequence of ConditionSpec, length n_conditions

    Returns
    -------
    torch.Tensor, shape (n, n_conditions), float32

    Raises
    ------
    ValueError
        If a value is missing, outside its range, or has a name that no spec has.
    """
    names = [spec.name for spec in specs]
    rows = torch.zeros(len(conditions), len(specs))
    for i, condition in enumerate(conditions):
        refuse_unknown(condition, specs)
        for j, spec in enumerate(specs):
            if spec.name not in condition:
                raise ValueError(f"structure {i} has no condition `{spec.name}`; the networks need {names}")
            rows[i, j] = spec.check(condition[spec.name])
    return rows


def refuse_unknown(condition: Mapping[str, float], specs: Sequence[ConditionSpec]) -> None:
    """Raise ValueError if `condition` has a name that no spec has."""
    known = [spec.name for spec in specs]
    for name in condition:
        if name not in known:
            raise ValueError(f"condition `{name}` is unknown to these networks; they know {known}")


def decode(rows: Tensor, specs: Sequence[ConditionSpec]) -> list[dict[str, int | float]]:
    """Turn rows (n, n_conditions) back into named values, classes as int."""
    return [
        {spec.name: int(value) if spec.kind == "class" else value for spec, value in zip(specs, row, strict=True)}
        for row in rows.tolist()
    ]


class ConditionEncoder(nn.Module):
    """Rows of condition values to one vector per structure, the parts of all conditions side by side.

    Parameters
    ----------
    specs : sequence of ConditionSpec
    method : {"embedding", "one_hot", "integer"}
        A learned vector per class; the class's unit vector, repeated; the number itself, repeated.
        Scalars, scaled to [-1, 1], pass through a learned linear layer (embedding) or are repeated.
    size : int
        Numbers per condition.
    """

    def __init__(self, specs: Sequence[ConditionSpec], method: str, size: int) -> None:
        super().__init__()
        if method not in CONDITION_METHODS:
            raise ValueError(f"`condition_method` is {method!r} but must be one of {sorted(CONDITION_METHODS)}")
        self.specs = tuple(specs)
        self.parts = nn.ModuleList(CONDITION_METHODS[method](spec, size) for spec in self.specs)
        self.width = size * len(self.specs)
        self.strength = 1.0
        """what the vectors are multiplied by: 0 hides the conditions"""

    def forward(self, rows: Tensor) -> Tensor:
        if not self.specs:
            return rows.new_zeros(len(rows), 0)
        encoded = torch.cat([part(rows[:, i]) for i, part in enumerate(self.parts)], dim=1)  # (batch, width)
        return encoded if self.strength == 1.0 else self.strength * encoded


def unit_interval(values: Tensor, spec: ConditionSpec) -> Tensor:
    """Scale values (batch,) to [-1, 1]."""
    low, high = (0.0, spec.n_classes - 1.0) if spec.kind == "class" else spec.range
    return 2.0 * (values - low) / (high - low) - 1.0


class _Embedding(nn.Module):
    def __init__(self, spec: ConditionSpec, size: int) -> None:
        super().__init__()
        self.spec = spec
        self.layer = nn.Embedding(spec.n_classes, size) if spec.kind == "class" else nn.Linear(1, size)

    def forward(self, values: Tensor) -> Tensor:
        if self.spec.kind == "class":
            embedded: Tensor = self.layer(values.long())
        else:
            embedded = self.layer(unit_interval(values, self.spec)[:, None])
        return embedded


class _OneHot(nn.Module):
    def __init__(self, spec: ConditionSpec, size: int) -> None:
        super().__init__()
        if spec.kind == "class" and size < spec.n_classes:
            raise ValueError(
                f"`condition_size` is {size} but one-hot needs at least the {spec.n_classes} classes of `{spec.name}`"
            )
        self.spec, self.size = spec, size

    def forward(self, values: Tensor) -> Tensor:
        if self.spec.kind == "scalar":
            return unit_interval(values, self.spec)[:, None].expand(-1, self.size)
        unit = functional.one_hot(values.long(), self.spec.n_classes).to(values.dtype)
        return unit.repeat(1, math.ceil(self.size / self.spec.n_classes))[:, : self.size]


class _Integer(nn.Module):
    def __init__(self, spec: ConditionSpec, size: int) -> None:
        super().__init__()
        self.spec, self.size = spec, size

    def forward(self, values: Tensor) -> Tensor:
        return unit_interval(values, self.spec)[:, None].expand(-1, self.size)


CONDITION_METHODS = {"embedding": _Embedding, "one_hot": _OneHot, "integer": _Integer}
"""How a condition's value becomes numbers beside the noise, by name."""


class ConditionChannel(nn.Module):
    """A condition as one more input channel of the critic: encoder, then a linear layer to every voxel."""

    def __init__(self, encoder: ConditionEncoder, shape: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.shape = tuple(shape)
        self.layer = nn.Linear(encoder.width, math.prod(self.shape))

    def forward(self, rows: Tensor) -> Tensor:
        return self.layer(self.encoder(rows)).view(len(rows), 1, *self.shape)  # (batch, 1, *shape)


class ConditionConstant(nn.Module):
    """Conditions as input channels of the critic that are the same everywhere: nothing is learned but their use.

    A whole number or scalar is one channel; a class's unit vector one channel per class.
    """

    def __init__(self, encoder: ConditionEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.n_channels = encoder.width

    def forward(self, rows: Tensor, shape: Sequence[int]) -> Tensor:
        r"""Condition rows (batch, n_conditions) to channels (batch, n_channels, \*shape)."""
        encoded = self.encoder(rows)
        return encoded.view(*encoded.shape, *[1] * len(shape)).expand(*encoded.shape, *shape)


class ConditionProjection(nn.Module):
    """Inner product of the critic's features with an encoded condition (Miyato & Koyama, ICLR 2018)."""

    def __init__(self, encoder: ConditionEncoder, n_features: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.layer = nn.Linear(encoder.width, n_features, bias=False)

    def encode(self, rows: Tensor) -> Tensor:
        """Condition rows (batch, n_conditions) to vectors (batch, width)."""
        encoded: Tensor = self.encoder(rows)
        return encoded

    def forward(self, features: Tensor, encoded: Tensor) -> Tensor:
        return (features * self.layer(encoded)).sum(dim=1) / math.sqrt(features.shape[1])  # (batch,)


def set_condition_strength(network: nn.Module, strength: float) -> None:
    """How much the network's encoders let through: 0 hides the conditions, 1 shows them."""
    for module in network.modules():
        if isinstance(module, ConditionEncoder):
            module.strength = strength
