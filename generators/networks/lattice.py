"""Cell lengths that a generator emits and a critic infers: their scale and their loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LENGTHS = ("x", "y", "z")
HEADROOM = 1.1
"""How far above the longest cell of the data the scale ends."""


@dataclass(frozen=True)
class LatticeScale:
    """Lengths of a data set on a scale from 0 to 1: L' = (L − Lmin) / (1.1·Lmax − Lmin), per axis.

    Attributes
    ----------
    shortest, longest : tuple of float, shape (3,)
        Of the data, in Å.
    """

    shortest: tuple[float, float, float]
    longest: tuple[float, float, float]

    @classmethod
    def of(cls, lengths: Tensor) -> "LatticeScale":
        """Scale of lengths (n, 3) in Å."""
        low, high = lengths.double().amin(dim=0).tolist(), lengths.double().amax(dim=0).tolist()
        return cls((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def scaled(self, lengths: Tensor) -> Tensor:
        """Lengths (n, 3) in Å to [0, 1)."""
        low, width = self._low_and_width(lengths)
        return (lengths - low) / width

    def lengths(self, scaled: Tensor) -> Tensor:
        """Inverse of `scaled`, in Å."""
        low, width = self._low_and_width(scaled)
        return low + scaled * width

    def _low_and_width(self, like: Tensor) -> tuple[Tensor, Tensor]:
        low, high = like.new_tensor(self.shortest), like.new_tensor(self.longest)
        return low, HEADROOM * high - low

    def as_dict(self) -> dict[str, list[float]]:
        """Fields as what JSON can hold."""
        return {"shortest": list(self.shortest), "longest": list(self.longest)}

    @classmethod
    def from_dict(cls, fields: dict[str, Sequence[float]]) -> "LatticeScale":
        """Inverse of `as_dict`."""
        (a, b, c), (d, e, f) = fields["shortest"], fields["longest"]
        return cls((a, b, c), (d, e, f))


def lattice_loss(logits: Tensor, scaled: Tensor) -> Tensor:
    """Mean cross entropy between sigmoids (n, 3) and scaled lengths (n, 3); its floor is their entropy, not zero.

    What `torch.nn.MultiLabelSoftMarginLoss` computes for targets between 0 and 1.
    """
    return functional.binary_cross_entropy_with_logits(logits, scaled.to(logits))


def lattice_floor(scaled: Tensor) -> Tensor:
    """Entropy of the scaled lengths: the smallest value that `lattice_loss` can take."""
    scaled = scaled.clamp(0.0, 1.0)
    return -(torch.xlogy(scaled, scaled) + torch.xlogy(1.0 - scaled, 1.0 - scaled)).mean()
