"""The training loop: one engine that yields metrics, can stop anywhere and goes on to the bit."""

import contextlib
import copy
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from generators.grids.spec import GridSpec
from generators.networks.dcwgan import NetworkSettings
from generators.networks.layers import channels_last_format
from generators.networks.losses import LOSSES
from generators.proposal import TrainingRecord
from generators.template import Template
from generators.training.checkpoint import (
    WeightsError,
    first_difference,
    load_last_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from generators.training.dataset import StructureDataset
from generators.training.networks import build_networks, prefixed, require_fitting, without_prefix
from generators.training.settings import TrainingSettings

logger = logging.getLogger(__name__)

ROLLBACK_FACTOR = 0.5
FINAL_RATE_SHARE = 0.1


class TrainingFailed(RuntimeError):
    """A training whose numbers stopped being finite and that lower rates did not mend."""


class Trainer:
    """Generator, its running average, critic, optimisers and random state of one training.

    Parameters
    ----------
    template : Template
    spec : GridSpec
    network_settings : NetworkSettings
    training_settings : TrainingSettings
    records : sequence of TrainingRecord
    generator : torch.Generator
        On the training's device; first weights and everything drawn later come from it.
    warm_start : pathlib.Path, optional
        Weights to begin with.

    Raises
    ------
    ValueError
        If records, grid, networks or warm start do not fit together.
    """

    def __init__(
        self,
        template: Template,
        spec: GridSpec,
        network_settings: NetworkSettings,
        training_settings: TrainingSettings,
        records: Sequence[TrainingRecord],
        generator: torch.Generator,
        warm_start: Path | None = None,
    ) -> None:
        self.template, self.spec = template, spec
        self.networks, self.settings = network_settings, training_settings
        self.random = generator
        self.loss = LOSSES[training_settings.loss]
        self.dataset = StructureDataset(records, spec, network_settings.conditions, template, training_settings.device)
        self.generator, self.critic = build_networks(
            template, spec, network_settings, self.dataset.mean_density(), generator, training_settings.device
        )
        if warm_start is not None:
            self._start_from(warm_start)
        if training_settings.channels_last:
            memory_format = channels_last_format(len(spec.shape))
            self.generator.to(memory_format=memory_format)
            self.critic.to(memory_format=memory_format)
        self.averaged = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimiser = torch.optim.Adam(
            self.generator.parameters(), lr=training_settings.generator_rate, betas=training_settings.betas
        )
        self.critic_optimiser = torch.optim.Adam(
            self.critic.parameters(), lr=training_settings.critic_rate, betas=training_settings.betas
        )
        self.step = 0
        self.rollbacks = 0

    def run(self, folder: Path | None = None) -> Iterator[dict[str, float]]:
        """Train until `steps`, from the last whole checkpoint in `folder` if there is one.

        Parameters
        ----------
        folder : pathlib.Path, optional
            Where checkpoints are written; without it nothing is.

        Yields
        ------
        dict of str to float
            After every step: `step`, `critic_loss`, `generator_loss`, `wasserstein` (mean real minus mean fake score),
            `penalty` (NaN where none was taken), `critic_gradient`, `generator_gradient`, `rollbacks`, `seconds`.

        Raises
        ------
        TrainingFailed
            If numbers stay infinite or NaN after `max_rollbacks`.
        WeightsError
            If the checkpoint belongs to another training.
        """
        found = load_last_checkpoint(folder) if folder is not None else None
        if found is not None:
            self._restore(*found)
        with _threads(self.settings.threads):
            safe = self._state()
            while self.step < self.settings.steps:
                started = time.perf_counter()
                metrics = self._train_step()
                if not _all_finite(metrics):
                    safe = self._roll_back(safe, metrics, folder)
                    continue
                self.step += 1
                if self.step % self.settings.checkpoint_every == 0 or self.step == self.settings.steps:
                    safe = self._state()
                    self._write(safe, folder)
                metrics |= {"step": self.step, "rollbacks": self.rollbacks, "seconds": time.perf_counter() - started}
                yield metrics

    def save(self, path: Path, half: bool = False) -> None:
        """Write averaged generator, critic and what sampling needs as a weights file that a warm start can name."""
        tensors = prefixed("generator", self.averaged.state_dict()) | prefixed("critic", self.critic.state_dict())
        rows, shares = self.dataset.condition_table()
        description = self._identity() | {"condition_rows": rows, "condition_shares": shares, "steps": self.step}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, tensors, description, half=half)

    def _train_step(self) -> dict[str, float]:
        self._set_rates()
        self.critic.requires_grad_(True)
        for i in range(self.settings.critic_steps):
            with_penalty = (self.step * self.settings.critic_steps + i) % self.settings.penalty_every == 0
            metrics = self._critic_step(with_penalty)
        self.critic.requires_grad_(False)  # its weights need no gradient while the generator learns
        return metrics | self._generator_step()

    def _critic_step(self, with_penalty: bool) -> dict[str, float]:
        real, conditions = self.dataset.batch(self.settings.batch_size, self.random)
        with torch.no_grad():
            fake = self.generator(self._noise(len(real)), conditions)
        real_scores, fake_scores = self.critic(real, conditions), self.critic(fake, conditions)
        loss = self.loss.critic(real_scores, fake_scores)
        penalty = torch.tensor(math.nan)
        total = loss
        if with_penalty and self.loss.penalty is not None:
            penalty = self.loss.penalty(lambda grids: self.critic(grids, conditions), real, fake, self.random)
            total = loss + self.settings.penalty_weight * self.settings.penalty_every * penalty
        norm = self._descend(total, self.critic, self.critic_optimiser)
        if self.loss.clip is not None:
            with torch.no_grad():
                for parameter in self.critic.parameters():
                    parameter.clamp_(-self.loss.clip, self.loss.clip)
        return {
            "critic_loss": loss.item(),
            "wasserstein": (real_scores.mean() - fake_scores.mean()).item(),
            "penalty": penalty.item(),
            "critic_gradient": norm,
        }

    def _generator_step(self) -> dict[str, float]:
        n = self.settings.batch_size
        real_scores = None
        if self.loss.relative:
            real, conditions = self.dataset.batch(n, self.random)
            real_scores = self.critic(real, conditions)
        else:
            conditions = self.dataset.conditions[self.dataset.draw(n, self.random)]
        fake_scores = self.critic(self.generator(self._noise(n), conditions), conditions)
        loss = self.loss.generator(fake_scores, real_scores)
        norm = self._descend(loss, self.generator, self.generator_optimiser)
        self._average()
        return {"generator_loss": loss.item(), "generator_gradient": norm}

    def _noise(self, n: int) -> Tensor:
        return torch.randn(n, self.networks.latent, generator=self.random, device=self.settings.device)

    def _descend(self, loss: Tensor, network: nn.Module, optimiser: torch.optim.Optimizer) -> float:
        """One step downhill; return the norm of the gradient before clipping."""
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        limit = math.inf if self.settings.gradient_clip is None else self.settings.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), limit)
        optimiser.step()
        return norm.item()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema_decay, (1.0 + self.step) / (10.0 + self.step))
        for mean, current in zip(self.averaged.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(current, 1.0 - decay)
        for mean, current in zip(self.averaged.buffers(), self.generator.buffers(), strict=True):
            mean.copy_(current)

    def _set_rates(self) -> None:
        settings = self.settings
        scale = ROLLBACK_FACTOR**self.rollbacks
        scale *= min(1.0, (self.step + 1) / (settings.warmup_steps + 1))
        if settings.schedule == "cosine":
            fall = 0.5 * (1.0 + math.cos(math.pi * self.step / settings.steps))
            scale *= FINAL_RATE_SHARE + (1.0 - FINAL_RATE_SHARE) * fall
        self.generator_optimiser.param_groups[0]["lr"] = settings.generator_rate * scale
        self.critic_optimiser.param_groups[0]["lr"] = settings.critic_rate * scale

    def _roll_back(self, safe: "_State", metrics: dict[str, float], folder: Path | None) -> "_State":
        if self.rollbacks >= self.settings.max_rollbacks:
            raise TrainingFailed(
                f"training is not finite at step {self.step + 1} ({_non_finite(metrics)}) after {self.rollbacks} returns "
                f"to the last checkpoint at halved rates; `generator_rate` {self.settings.generator_rate} or "
                f"`critic_rate` {self.settings.critic_rate} may be too high"
            )
        rollbacks = self.rollbacks + 1
        self._restore(*safe)
        self.rollbacks = rollbacks
        logger.warning(
            "training is not finite (%s): back to step %d, rates times %g",
            _non_finite(metrics),
            self.step,
            ROLLBACK_FACTOR**rollbacks,
        )
        state = self._state()
        self._write(state, folder)
        return state

    def _identity(self) -> dict[str, Any]:
        identity = {
            "network": asdict(self.networks),
            "grid": self.spec.as_dict(),
            "template": self.template.id,
            "training": asdict(self.settings),
            "data": self.dataset.digest(),
        }
        plain: dict[str, Any] = json.loads(json.dumps(identity))  # tuples become lists, as they do on disk
        return plain

    def _state(self) -> "_State":
        tensors = {"random": self.random.get_state()}
        for name in ("generator", "critic", "averaged"):
            tensors |= prefixed(name, getattr(self, name).state_dict())
        for name in ("generator_optimiser", "critic_optimiser"):
            for index, moments in getattr(self, name).state_dict()["state"].items():
                tensors |= prefixed(f"{name}.{index}", moments)
        description = self._identity() | {"step": self.step, "rollbacks": self.rollbacks}
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}, description

    def _write(self, state: "_State", folder: Path | None) -> None:
        if folder is not None:
            save_checkpoint(folder, state[1]["step"], *state, kept=self.settings.checkpoints_kept)

    def _restore(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        identity = self._identity()
        difference = first_difference({name: description.get(name) for name in identity}, identity)
        if difference:
            raise WeightsError(f"the checkpoint belongs to another training: {difference}")
        for name in ("generator", "critic", "averaged"):
            getattr(self, name).load_state_dict(without_prefix(name, tensors))
        for name in ("generator_optimiser", "critic_optimiser"):
            _restore_optimiser(getattr(self, name), without_prefix(name, tensors))
        self.random.set_state(tensors["random"])
        self.step, self.rollbacks = description["step"], description["rollbacks"]

    def _start_from(self, path: Path) -> None:
        tensors, description = load_weights(path)
        require_fitting(description, self.networks, self.spec, path)
        if description.get("template") != self.template.id:
            logger.info("weights `%s` were trained on template %s", path, description.get("template"))
        self.generator.load_state_dict(without_prefix("generator", tensors))
        self.critic.load_state_dict(without_prefix("critic", tensors))


_State = tuple[dict[str, Tensor], dict[str, Any]]


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    parameters = optimiser.param_groups[0]["params"]
    for name, tensor in tensors.items():
        index, moment = name.split(".")
        if tensor.dim() > 0:  # in the parameter's memory order, so that later steps are the same to the bit
            tensor = torch.empty_like(parameters[int(index)]).copy_(tensor)
        state.setdefault(int(index), {})[moment] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _all_finite(metrics: dict[str, float]) -> bool:
    return not _non_finite(metrics)


def _non_finite(metrics: dict[str, float]) -> str:
    """Names of values that should be finite and are not; a penalty is NaN where none was taken."""
    return ", ".join(name for name, value in metrics.items() if name != "penalty" and not math.isfinite(value))


@contextlib.contextmanager
def _threads(n: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if n is not None:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
