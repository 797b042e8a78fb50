"""Optimisers by name, extragradient among them; a step of one, and what a checkpoint keeps of it."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from generators.training.processes import Processes


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


def descend(
    loss: Tensor,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    processes: Processes,
    largest_norm: float | None = None,
) -> Tensor:
    """Take one step downhill and return the norm of the gradient before clipping."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    processes.average_gradients(network)
    limit = math.inf if largest_norm is None else largest_norm
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), limit)
    optimiser.step()
    return norm


def moments_of(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments by parameter and name, ``INDEX.MOMENT``."""
    state = optimiser.state_dict()["state"]
    return {f"{index}.{moment}": tensor for index, moments in state.items() for moment, tensor in moments.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Take up what `moments_of` gave."""
    moments: dict[int, dict[str, Any]] = {}
    parameters = optimiser.param_groups[0]["params"]
    for name, tensor in tensors.items():
        index, moment = name.split(".")
        # in the parameter's memory order, so that later steps are the same to the bit
        ordered = torch.empty_like(parameters[int(index)].detach()).copy_(tensor) if tensor.dim() > 0 else tensor
        moments.setdefault(int(index), {})[moment] = ordered
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
