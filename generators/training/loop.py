"""The GAN's training: steps of critic and generator, checks of its health, what is kept of it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from generators.networks.dcwgan import Generator
from generators.networks.settings import NetworkSettings
from generators.proposal import TrainingRecord
from generators.training.appearance import Appearance
from generators.training.fitting import check_fitting
from generators.training.generator_training import GeneratorTraining
from generators.training.ground import Ground
from generators.training.health import SAMPLES, Finding, Watch, examine
from generators.training.networks import build_networks, prefixed, without_prefix
from generators.training.prepared_terms import prepared_terms
from generators.training.settings import TrainingSettings
from generators.training.state import TrainingState
from generators.training.steps import Steps

logger = logging.getLogger(__name__)


class Trainer(GeneratorTraining[NetworkSettings, TrainingSettings]):
    """One training of a generator and its critic.

    Each step tells `critic_loss`, `generator_loss`, `wasserstein` (mean real minus mean fake score), `critic_spread`,
    `penalty` (the last one taken), `critic_gradient`, `generator_gradient`, losses of heads and terms by name; after a
    check `health_` and the figure's name, and `health_findings`, their number so far.

    Parameters as for `generators.training.generator_training.GeneratorTraining`.

    Attributes
    ----------
    watch : Watch
        What the checks of the training's health found.
    """

    KIND = "gan"
    state: TrainingState

    def _prepare(
        self, records: Sequence[TrainingRecord], generator: torch.Generator, first: dict[str, Tensor] | None
    ) -> None:
        template, spec, view = self.template, self.spec, self.view
        networks, settings, processes = self.networks, self.settings, self.processes
        check_fitting(networks, settings, processes.count)
        network, critic = build_networks(
            template, spec, networks, self.dataset.mean_density(), generator, settings.device, view
        )
        if first is not None:
            network.load_state_dict(without_prefix("generator", first))
            critic.load_state_dict(without_prefix("critic", first))
        self.state = TrainingState(network, critic, settings, generator)
        self.appearance = Appearance(settings, view, spec, template, generator)
        self.prepared = prepared_terms(Ground(records, template, spec, view, networks, settings, generator, processes))
        for name, kept in self.kept.items():
            if weights := without_prefix(name, first or {}):
                kept.load_state_dict(weights)
        self.steps = Steps(networks, settings, self.state, self.dataset, self.appearance, processes, self.prepared)
        self.watch = Watch()

    @property
    def averaged(self) -> Generator:
        """The running average of the generator, which samples are drawn from."""
        return self.state.averaged

    @property
    def kept(self) -> dict[str, nn.Module]:
        """Networks of terms that are of use after the training, by name."""
        return {name: network for term in self.prepared.values() for name, network in term.kept.items()}

    @property
    def findings(self) -> list[Finding]:
        """What the checks found so far."""
        return list(self.watch.findings)

    def _weights(self) -> dict[str, Tensor]:
        networks, tensors = {"generator": self.averaged, "critic": self.state.critic, **self.kept}, dict[str, Tensor]()
        for name, network in networks.items():
            tensors |= prefixed(name, network.state_dict())
        return tensors

    def _train(self) -> dict[str, float]:
        return self.steps.train()

    def _checked(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Look after the training's health and act on what is found."""
        if not self.settings.check_every or self.state.step % self.settings.check_every:
            return {}
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

    def _rates(self) -> str:
        return f"`generator_rate` {self.settings.generator_rate} or `critic_rate` {self.settings.critic_rate}"

    def _tensors(self) -> dict[str, Tensor]:
        tensors = super()._tensors() | {"appearance": self.appearance.probability.clone()}
        for name, term in self.prepared.items():
            tensors |= prefixed(f"term.{name}", term.tensors())
        return tensors

    def _counters(self) -> dict[str, Any]:
        return super()._counters() | {"watch": self.watch.as_dict()}

    def _take_up(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        super()._take_up(tensors, description)
        self.watch.restore(description["watch"])
        self.appearance.probability.copy_(tensors["appearance"])
        for name, term in self.prepared.items():
            term.restore(without_prefix(f"term.{name}", tensors))
