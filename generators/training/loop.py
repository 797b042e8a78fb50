"""The training loop: one engine that yields metrics, can stop anywhere and goes on to the bit."""

import contextlib
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generators.grids.spec import GridSpec
from generators.networks.dcwgan import Generator, NetworkSettings
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
from generators.training.state import ROLLBACK_FACTOR, TrainingState

logger = logging.getLogger(__name__)

Snapshot = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors and description of a state, as they are on disk."""


class TrainingFailed(RuntimeError):
    """A training whose numbers stopped being finite and that lower rates did not mend."""


class Trainer:
    """One training of a generator and its critic.

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
    transfer : bool
        These were trained on another cell: the same voxels, species and networks, but other lengths.

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
        transfer: bool = False,
    ) -> None:
        self.template, self.spec = template, spec
        self.networks, self.settings = network_settings, training_settings
        self.loss = LOSSES[training_settings.loss]
        device = training_settings.device
        self.dataset = StructureDataset(records, spec, network_settings.conditions, template, device)
        network, critic = build_networks(
            template, spec, network_settings, self.dataset.mean_density(), generator, device
        )
        if warm_start is not None:
            tensors, description = load_weights(warm_start)
            require_fitting(description, network_settings, spec, warm_start, any_lengths=transfer)
            if description.get("template") != template.id:
                logger.info("weights `%s` come from another template, %s", warm_start, description.get("template"))
            network.load_state_dict(without_prefix("generator", tensors))
            critic.load_state_dict(without_prefix("critic", tensors))
        self.state = TrainingState(network, critic, training_settings, generator)

    @property
    def averaged(self) -> Generator:
        """The running average of the generator, which samples are drawn from."""
        return self.state.averaged

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
            `penalty` (the last one taken), `critic_gradient`, `generator_gradient`, `rollbacks`, `seconds`.

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
            safe = self._snapshot()
            while self.state.step < self.settings.steps:
                started = time.perf_counter()
                metrics = self._train_step()
                if not all(math.isfinite(value) for value in metrics.values()):
                    safe = self._roll_back(safe, metrics, folder)
                    continue
                self.state.step += 1
                step = self.state.step
                if step % self.settings.checkpoint_every == 0 or step == self.settings.steps:
                    safe = self._snapshot()
                    self._write(safe, folder)
                seconds = time.perf_counter() - started
                yield metrics | {"step": step, "rollbacks": self.state.rollbacks, "seconds": seconds}

    def save(self, path: Path, half: bool = False) -> None:
        """Write averaged generator, critic and what sampling needs as a weights file that a warm start can name.

        Parameters
        ----------
        path : pathlib.Path
            Ends in ``.safetensors``; a ``.json`` is written beside it.
        half : bool
            Store half precision, for weights that are shipped.
        """
        state = self.state
        tensors = prefixed("generator", state.averaged.state_dict()) | prefixed("critic", state.critic.state_dict())
        rows, shares = self.dataset.condition_table()
        description = self._identity() | {"condition_rows": rows, "condition_shares": shares, "step": state.step}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, tensors, description, half=half)

    def _train_step(self) -> dict[str, float]:
        self.state.set_rates()
        self.state.critic.requires_grad_(True)
        metrics: dict[str, float] = {}
        for i in range(self.settings.critic_steps):
            n_before = self.state.step * self.settings.critic_steps + i
            metrics |= self._critic_step(with_penalty=n_before % self.settings.penalty_every == 0)
        self.state.critic.requires_grad_(False)  # its weights need no gradient while the generator learns
        return metrics | self._generator_step()

    def _critic_step(self, with_penalty: bool) -> dict[str, float]:
        state, settings = self.state, self.settings
        real, conditions = self.dataset.batch(settings.batch_size, state.random)
        with torch.no_grad():
            fake = state.generator(self._noise(), conditions)
        real_scores, fake_scores = state.critic(real, conditions), state.critic(fake, conditions)
        loss = self.loss.critic(real_scores, fake_scores)
        metrics = {"critic_loss": loss.item(), "wasserstein": (real_scores.mean() - fake_scores.mean()).item()}
        if with_penalty and self.loss.penalty is not None:
            penalty = self.loss.penalty(lambda grids: state.critic(grids, conditions), real, fake, state.random)
            loss = loss + settings.penalty_weight * settings.penalty_every * penalty
            metrics["penalty"] = penalty.item()
        metrics["critic_gradient"] = state.descend(loss, state.critic, state.critic_optimiser)
        if self.loss.clip is not None:
            with torch.no_grad():
                for parameter in state.critic.parameters():
                    parameter.clamp_(-self.loss.clip, self.loss.clip)
        return metrics

    def _generator_step(self) -> dict[str, float]:
        state, n = self.state, self.settings.batch_size
        real_scores = None
        if self.loss.relative:
            real, conditions = self.dataset.batch(n, state.random)
            real_scores = state.critic(real, conditions)
        else:
            conditions = self.dataset.conditions[self.dataset.draw(n, state.random)]
        fake_scores = state.critic(state.generator(self._noise(), conditions), conditions)
        loss = self.loss.generator(fake_scores, real_scores)
        norm = state.descend(loss, state.generator, state.generator_optimiser)
        state.average()
        return {"generator_loss": loss.item(), "generator_gradient": norm}

    def _noise(self) -> Tensor:
        shape = (self.settings.batch_size, self.networks.latent)
        return torch.randn(shape, generator=self.state.random, device=self.settings.device)

    def _roll_back(self, safe: Snapshot, metrics: dict[str, float], folder: Path | None) -> Snapshot:
        broken = ", ".join(f"`{name}`" for name, value in metrics.items() if not math.isfinite(value))
        rollbacks = self.state.rollbacks + 1
        if rollbacks > self.settings.max_rollbacks:
            raise TrainingFailed(
                f"{broken} at step {self.state.step + 1} is not finite, after {self.state.rollbacks} returns to the "
                f"last checkpoint at halved rates; `generator_rate` {self.settings.generator_rate} or `critic_rate` "
                f"{self.settings.critic_rate} may be too high"
            )
        self._restore(*safe)
        self.state.rollbacks = rollbacks
        rate = ROLLBACK_FACTOR**rollbacks
        logger.warning("%s not finite: back to step %d, rates times %g", broken, self.state.step, rate)
        state = self._snapshot()
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

    def _snapshot(self) -> Snapshot:
        description = self._identity() | {"step": self.state.step, "rollbacks": self.state.rollbacks}
        return self.state.tensors(), description

    def _write(self, snapshot: Snapshot, folder: Path | None) -> None:
        if folder is not None:
            save_checkpoint(folder, snapshot[1]["step"], *snapshot, kept=self.settings.checkpoints_kept)

    def _restore(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        identity = self._identity()
        difference = first_difference({name: description.get(name) for name in identity}, identity)
        if difference:
            raise WeightsError(f"the checkpoint belongs to another training: {difference}")
        self.state.restore(tensors, description["step"], description["rollbacks"])


@contextlib.contextmanager
def _threads(n: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if n is not None:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
