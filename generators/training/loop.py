"""The training loop: one engine that yields metrics, can stop anywhere and goes on to the bit."""

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generators.grids.spec import GridSpec
from generators.networks.dcwgan import Generator
from generators.networks.settings import NetworkSettings
from generators.proposal import TrainingRecord
from generators.template import Template
from generators.training.appearance import Appearance
from generators.training.checkpoint import (
    WeightsError,
    first_difference,
    load_last_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from generators.training.dataset import StructureDataset
from generators.training.fitting import check_fitting, check_precision
from generators.training.health import SAMPLES, Watch, examine
from generators.training.history import History
from generators.training.networks import build_networks, fields_of, prefixed, require_fitting, without_prefix
from generators.training.processes import ALONE, Processes
from generators.training.settings import TrainingSettings
from generators.training.state import ROLLBACK_FACTOR, TrainingState
from generators.training.steps import Steps
from generators.training.view import WINDOW, View

logger = logging.getLogger(__name__)

Snapshot = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors and description of a state, as they are on disk."""


class TrainingFailed(RuntimeError):
    """A training whose numbers stopped being finite and that lower rates did not mend."""


class Trainer:
    """One training of a generator and its critic.

    Parameters
    ----------
    template : Template or None
        Needed for windows.
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
    view : View
    processes : Processes
        Those that share the training; only the first writes.

    Attributes
    ----------
    watch : Watch
        What the checks of the training's health found.

    Raises
    ------
    ValueError
        If records, grid, networks or warm start do not fit together.
    """

    def __init__(
        self,
        template: Template | None,
        spec: GridSpec,
        network_settings: NetworkSettings,
        training_settings: TrainingSettings,
        records: Sequence[TrainingRecord],
        generator: torch.Generator,
        warm_start: Path | None = None,
        transfer: bool = False,
        *,
        view: View = WINDOW,
        processes: Processes = ALONE,
    ) -> None:
        self.template, self.spec, self.view, self.processes = template, spec, view, processes
        self.networks, self.settings = network_settings, training_settings
        check_fitting(network_settings, training_settings, processes.count)
        device = training_settings.device
        check_precision(training_settings)
        self.dataset = StructureDataset(
            records, spec, network_settings.conditions, template, device, view, training_settings.balance
        )
        network, critic = build_networks(
            template, spec, network_settings, self.dataset.mean_density(), generator, device, view
        )
        if warm_start is not None:
            tensors, description = load_weights(warm_start)
            require_fitting(description, network_settings, spec, warm_start, view, any_lengths=transfer)
            if template is not None and description.get("template") != template.id:
                logger.info("weights `%s` come from another template, %s", warm_start, description.get("template"))
            network.load_state_dict(without_prefix("generator", tensors))
            critic.load_state_dict(without_prefix("critic", tensors))
        self.state = TrainingState(network, critic, training_settings, generator)
        self.appearance = Appearance(training_settings, view, spec, template, generator)
        self.steps = Steps(network_settings, training_settings, self.state, self.dataset, self.appearance, processes)
        self.watch = Watch()
        self._history = History()

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
            After every step, those before the checkpoint as they were told then: `step`, `critic_loss`,
            `generator_loss`, `wasserstein` (mean real minus mean fake score), `critic_spread`, `penalty` (the last one
            taken), `critic_gradient`, `generator_gradient`, losses of heads and terms by name, `rollbacks`, `seconds`;
            after a check `health_` and the figure's name, and `health_findings`, their number so far.

        Raises
        ------
        TrainingFailed
            If numbers stay infinite or NaN after `max_rollbacks`.
        WeightsError
            If the checkpoint belongs to another training.
        """
        found = load_last_checkpoint(folder) if folder is not None else None
        if folder is not None and found is not None:
            self._history.read(folder, found[1]["told"])
            self._restore(*found)
        yield from list(self._history.rows)
        state, settings = self.state, self.settings
        with _threads(settings.threads):
            safe = self._snapshot()
            while state.step < settings.steps:
                started = time.perf_counter()
                metrics = self.steps.train()
                if not all(math.isfinite(value) for value in metrics.values()):
                    safe = self._roll_back(safe, metrics, folder)
                    continue
                state.step += 1
                if settings.check_every and state.step % settings.check_every == 0:
                    metrics |= self._check(metrics)
                seconds = time.perf_counter() - started
                metrics |= {"step": state.step, "rollbacks": state.rollbacks, "seconds": seconds}
                self._history.rows.append(metrics)
                if state.step % settings.checkpoint_every == 0 or state.step == settings.steps:
                    safe = self._snapshot()
                    self._write(safe, folder)
                yield metrics

    def save(self, path: Path, half: bool = False) -> None:
        """Write averaged generator, critic and what sampling needs as a weights file that a warm start can name.

        Parameters
        ----------
        path : pathlib.Path
            Ends in ``.safetensors``; a ``.json`` is written beside it.
        half : bool
            Store half precision, for weights that are shipped.
        """
        if not self.processes.first:
            return
        state = self.state
        tensors = prefixed("generator", state.averaged.state_dict()) | prefixed("critic", state.critic.state_dict())
        rows, shares = self.dataset.condition_table()
        description = self._identity() | {
            "condition_rows": rows,
            "condition_shares": shares,
            "step": state.step,
            "findings": [finding.as_dict() for finding in self.watch.findings],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, tensors, description, half=half)

    def _check(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Look after the training's health and act on what is found."""
        random = torch.Generator(self.settings.device).manual_seed(self.state.step)  # the training's own draws stay
        real = self.dataset.batch(SAMPLES, random)
        noise = torch.randn(SAMPLES, self.networks.latent, generator=random, device=self.settings.device)
        critic = self.state.critic.eval()
        with torch.no_grad():
            made = self.state.averaged(noise, real.conditions).float()
        figures = examine(real.grids, made, lambda grids: critic(grids, real.conditions))
        critic.train()
        figures["loss_ratio"] = abs(metrics["critic_loss"]) / max(abs(metrics["generator_loss"]), 1e-12)
        findings = self.watch.judge(
            self.state.step, {**figures, **{k: v for k, v in metrics.items() if k not in figures}}
        )
        self.state.remember_if_best(figures["diversity"] * figures["coverage_ratio"], ill=bool(findings))
        for finding in findings:
            done = self.state.remedy(finding.action) if self.settings.remedies else "nothing is done"
            logger.warning(
                "step %d: `%s` is %.3g, threshold %.3g: %s; %s",
                finding.step,
                finding.figure,
                finding.value,
                finding.threshold,
                finding.diagnosis,
                done,
            )
        named = {f"health_{name}": value for name, value in figures.items()}
        return named | {"health_findings": float(len(self.watch.findings))}

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
        return {
            "network": fields_of(self.networks),
            "grid": self.spec.as_dict(),
            "view": self.view.as_dict(),
            "template": None if self.template is None else self.template.id,
            "lattice_scale": self.dataset.lattice_scale.as_dict(),
            "training": fields_of(self.settings),
            "processes": self.processes.count,
            "data": self.dataset.digest(),
        }

    def _snapshot(self) -> Snapshot:
        counters = self.state.counters() | {"watch": self.watch.as_dict(), "told": len(self._history.rows)}
        tensors = self.state.tensors() | {"appearance": self.appearance.probability.clone()}
        return tensors, self._identity() | counters

    def _write(self, snapshot: Snapshot, folder: Path | None) -> None:
        if folder is not None and self.processes.first:
            folder.mkdir(parents=True, exist_ok=True)
            self._history.write(folder)
            save_checkpoint(folder, snapshot[1]["step"], *snapshot, kept=self.settings.checkpoints_kept)

    def _restore(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        identity = self._identity()
        difference = first_difference({name: description.get(name) for name in identity}, identity)
        if difference:
            raise WeightsError(f"the checkpoint belongs to another training: {difference}")
        self.state.restore(tensors, description)
        self.watch.restore(description["watch"])
        self._history.cut(description["told"])
        self.appearance.probability.copy_(tensors["appearance"])


@contextlib.contextmanager
def _threads(n: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if n is not None:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
