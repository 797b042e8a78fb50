"""Everything that changes while networks are trained, and how it becomes tensors and back."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from generators.networks.conditioning import set_condition_strength
from generators.networks.dcwgan import Critic, Generator
from generators.networks.layers import store_channels_last
from generators.networks.stabilisers import SeededDropout
from generators.training.networks import prefixed, without_prefix
from generators.training.optimisers import OPTIMISERS, moments_of, restore_optimiser
from generators.training.replay import Replay
from generators.training.resumable import ROLLBACK_FACTOR
from generators.training.schedules import SCHEDULES, ramp
from generators.training.settings import TrainingSettings

NETWORKS = ("generator", "critic", "averaged")
OPTIMISER_NAMES = ("generator_optimiser", "critic_optimiser")
REMEDY_FACTOR = 0.5
REMEDIES = {"roll_back": (0, 1), "lower_generator_rate": (0,), "lower_critic_rate": (1,)}
"""Which rates, generator's and critic's, each remedy lowers."""


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
        optimiser = OPTIMISERS[settings.optimiser]
        self.generator_optimiser = optimiser(generator.parameters(), settings.generator_rate, settings.betas)
        self.critic_optimiser = optimiser(critic.parameters(), settings.critic_rate, settings.betas)
        self.replay = Replay(settings.replay_size, settings.replay_share, random)
        self.path_memory = torch.zeros(1, device=settings.device)
        self.rate_factors = [1.0, 1.0]
        """of generator and critic, changed by remedies"""
        self.remedies: dict[str, int] = {}
        """how often each was applied"""
        self.best: dict[str, Tensor] = {}
        self.best_merit = 0.0
        self.step = 0
        self.critic_steps_done = 0
        self.rollbacks = 0
        for module in critic.modules():
            if isinstance(module, SeededDropout):
                module.random = random

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all tensors, by name."""
        tensors = {"random": self.random.get_state(), "path_memory": self.path_memory}
        for name in NETWORKS:
            tensors |= prefixed(name, getattr(self, name).state_dict())
        for name in OPTIMISER_NAMES:
            tensors |= prefixed(name, moments_of(getattr(self, name)))
        tensors |= prefixed("replay", self.replay.tensors()) | prefixed("best", self.best)
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def counters(self) -> dict[str, Any]:
        """Everything else that changes, as what JSON can hold."""
        return {
            "step": self.step,
            "critic_steps": self.critic_steps_done,
            "rollbacks": self.rollbacks,
            "rate_factors": list(self.rate_factors),
            "remedies": dict(self.remedies),
            "best_merit": self.best_merit,
        }

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Take up what `tensors` and `counters` gave; training then goes on to the bit."""
        for name in NETWORKS:
            getattr(self, name).load_state_dict(without_prefix(name, tensors))
        for name in OPTIMISER_NAMES:
            restore_optimiser(getattr(self, name), without_prefix(name, tensors))
        self.random.set_state(tensors["random"].cpu())
        self.path_memory.copy_(tensors["path_memory"])
        self.replay.restore(without_prefix("replay", tensors))
        self.best = {name: tensor.clone() for name, tensor in without_prefix("best", tensors).items()}
        self.remedies, self.best_merit = dict(counters["remedies"]), counters["best_merit"]
        self.step, self.critic_steps_done = counters["step"], counters["critic_steps"]
        self.rollbacks, self.rate_factors = counters["rollbacks"], list(counters["rate_factors"])

    def begin_step(self) -> None:
        """Set both learning rates and how much of the conditions is shown, for the coming step."""
        settings = self.settings
        scale = ROLLBACK_FACTOR**self.rollbacks * min(1.0, (self.step + 1) / (settings.warmup_steps + 1))
        scale *= SCHEDULES[settings.schedule](self.step / settings.steps, settings.cycles)
        self.generator_optimiser.param_groups[0]["lr"] = settings.generator_rate * scale * self.rate_factors[0]
        self.critic_optimiser.param_groups[0]["lr"] = settings.critic_rate * scale * self.rate_factors[1]
        if settings.condition_start or settings.condition_blend:
            strength = ramp(self.step, settings.condition_start, settings.condition_blend)
            for network in (self.generator, self.critic):
                set_condition_strength(network, strength)

    def remember_if_best(self, merit: float, ill: bool) -> None:
        """Keep generator average and critic as the best so far, if they are and nothing ails them."""
        if not ill and merit > self.best_merit:
            self.best_merit = merit
            kept = prefixed("averaged", self.averaged.state_dict()) | prefixed("critic", self.critic.state_dict())
            self.best = {name: tensor.detach().clone() for name, tensor in kept.items()}

    def remedy(self, action: str) -> str:
        """Do something about a finding, each thing at most `max_rollbacks` times, and say what was done."""
        done = self.remedies.get(action, 0)
        if action not in REMEDIES or done >= self.settings.max_rollbacks:
            return "nothing is done" if action not in REMEDIES else "nothing more is done"
        self.remedies[action] = done + 1
        said = []
        if action == "roll_back" and self.best:
            for name in ("generator", "averaged"):
                getattr(self, name).load_state_dict(without_prefix("averaged", self.best))
            self.critic.load_state_dict(without_prefix("critic", self.best))
            for optimiser in (self.generator_optimiser, self.critic_optimiser):
                optimiser.state.clear()
            said.append("back to the best averaged generator")
        for index in REMEDIES[action]:
            self.rate_factors[index] *= REMEDY_FACTOR
            said.append(f"{('generator', 'critic')[index]} rate times {REMEDY_FACTOR:g}")
        return ", ".join(said)

    def average(self) -> None:
        """Move the averaged generator towards the generator."""
        move_average(self.averaged, self.generator, self.settings.ema_decay, self.step)


@torch.no_grad()
def move_average(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move a running average towards a network, faster during the first steps."""
    decay = min(decay, (1.0 + step) / (10.0 + step))
    for mean, current in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(current, 1.0 - decay)
    for kept, buffer in zip(averaged.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)
