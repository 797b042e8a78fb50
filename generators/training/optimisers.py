"""Optimisers by name, extragradient among them."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class ExtraAdam(torch.optim.Adam):
    """Adam with extrapolation: every other step is taken on trial, and the gradient there counts for the next.

    Gidel et al., ICLR 2019. `step` extrapolates if the last one did not, else goes back and updates.
    """

    def __init__(self, params: Iterable[nn.Parameter], **keywords: Any) -> None:
        super().__init__(params, **keywords)
        self._before: list[Tensor] = []

    @property
    def extrapolated(self) -> bool:
        """Whether the parameters are where they were taken on trial."""
        return bool(self._before)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Extrapolate, or go back and update."""
        parameters = self.param_groups[0]["params"]
        if not self._before:
            self._before = [parameter.detach().clone() for parameter in parameters]
        else:
            for parameter, before in zip(parameters, self._before, strict=True):
                parameter.copy_(before)
            self._before = []
        super().step()


def _adam(params: Iterable[nn.Parameter], rate: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=rate, betas=betas)


def _adamw(params: Iterable[nn.Parameter], rate: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr=rate, betas=betas)


def _rmsprop(params: Iterable[nn.Parameter], rate: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(params, lr=rate, alpha=betas[1])


def _extra_adam(params: Iterable[nn.Parameter], rate: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    return ExtraAdam(params, lr=rate, betas=betas)


OPTIMISERS: dict[str, Callable[[Iterable[nn.Parameter], float, tuple[float, float]], torch.optim.Optimizer]] = {
    "adam": _adam,
    "adamw": _adamw,
    "rmsprop": _rmsprop,
    "extra_adam": _extra_adam,
}
"""(parameters, rate, betas) -> optimiser; RMSprop averages squares with the second of the betas."""
