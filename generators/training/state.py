"""Everything that changes while networks are trained, and how it becomes tensors and back."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from generators.networks.dcwgan import Critic, Generator
from generators.networks.layers import store_channels_last
from generators.training.networks import prefixed, without_prefix
from generators.training.settings import TrainingSettings

NETWORKS = ("generator", "critic", "averaged")
OPTIMISERS = ("generator_optimiser", "critic_optimiser")
ROLLBACK_FACTOR = 0.5
"""What a rollback multiplies both learning rates by."""
FINAL_RATE_SHARE = 0.1
"""Share of the rates that the cosine schedule ends at."""


class TrainingState:
    """Generator, its running average, critic, both optimisers, random state and place in the schedule.

    Parameters
    ----------
    generator : Generator
    critic : Critic
    settings : TrainingSettings
    random : torch.Generator
    """

    def __init__(
        self, generator: Generator, critic: Critic, settings: TrainingSettings, random: torch.Generator
    ) -> None:
        if settings.channels_last:
            store_channels_last(generator)
            store_channels_last(critic)
        self.generator, self.critic, self.settings, self.random = generator, critic, settings, random
        self.averaged = copy.deepcopy(generator).requires_grad_(False).eval()
        self.generator_optimiser = torch.optim.Adam(
            generator.parameters(), lr=settings.generator_rate, betas=settings.betas
        )
        self.critic_optimiser = torch.optim.Adam(critic.parameters(), lr=settings.critic_rate, betas=settings.betas)
        self.step = 0
        self.rollbacks = 0

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all tensors, by name."""
        tensors = {"random": self.random.get_state()}
        for name in NETWORKS:
            tensors |= prefixed(name, getattr(self, name).state_dict())
        for name in OPTIMISERS:
            for index, moments in getattr(self, name).state_dict()["state"].items():
                tensors |= prefixed(f"{name}.{index}", moments)
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor], step: int, rollbacks: int) -> None:
        """Take up what `tensors` gave; training then goes on to the bit."""
        for name in NETWORKS:
            getattr(self, name).load_state_dict(without_prefix(name, tensors))
        for name in OPTIMISERS:
            _restore_optimiser(getattr(self, name), without_prefix(name, tensors))
        self.random.set_state(tensors["random"].cpu())
        self.step, self.rollbacks = step, rollbacks

    def set_rates(self) -> None:
        """Set both learning rates for the coming step."""
        settings = self.settings
        scale = ROLLBACK_FACTOR**self.rollbacks * min(1.0, (self.step + 1) / (settings.warmup_steps + 1))
        if settings.schedule == "cosine":
            fall = 0.5 * (1.0 + math.cos(math.pi * self.step / settings.steps))
            scale *= FINAL_RATE_SHARE + (1.0 - FINAL_RATE_SHARE) * fall
        self.generator_optimiser.param_groups[0]["lr"] = settings.generator_rate * scale
        self.critic_optimiser.param_groups[0]["lr"] = settings.critic_rate * scale

    def descend(self, loss: Tensor, network: nn.Module, optimiser: torch.optim.Optimizer) -> float:
        """Take one step downhill and return the norm of the gradient before clipping."""
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        limit = math.inf if self.settings.gradient_clip is None else self.settings.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), limit)
        optimiser.step()
        return norm.item()

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged generator towards the generator, faster during the first steps."""
        decay = min(self.settings.ema_decay, (1.0 + self.step) / (10.0 + self.step))
        for mean, current in zip(self.averaged.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(current, 1.0 - decay)
        for kept, buffer in zip(self.averaged.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(buffer)


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Any]] = {}
    parameters = optimiser.param_groups[0]["params"]
    for name, tensor in tensors.items():
        index, moment = name.split(".")
        # in the parameter's memory order, so that later steps are the same to the bit
        ordered = torch.empty_like(parameters[int(index)].detach()).copy_(tensor) if tensor.dim() > 0 else tensor
        moments.setdefault(int(index), {})[moment] = ordered
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
