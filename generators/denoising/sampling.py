"""A trained denoiser to draw from: grids under conditions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generators.condition_table import ConditionTable
from generators.denoising.network import Denoiser
from generators.denoising.samplers import Denoise, heun, noise_levels, walk_jump
from generators.denoising.settings import DenoiserNetworkSettings, DenoiserSamplingSettings
from generators.denoising.training import KIND, DenoiserTrainer, build_denoiser
from generators.grids.spec import GridSpec
from generators.networks.conditioning import ConditionSpec
from generators.networks.layers import store_channels_last
from generators.proposal import Condition
from generators.sampling import SAMPLES_AT_ONCE, Drawn, quarter_circle, seeded
from generators.template import Template
from generators.training.networks import load_fitting, without_prefix
from generators.training.view import WINDOW, View


@dataclass(frozen=True)
class DenoiserSampler:
    """An averaged denoiser, the conditions of its data, and how it is sampled.

    Attributes
    ----------
    network : Denoiser
    spec : GridSpec
    view : View
    table : ConditionTable
    hidden : bool
        Whether the training hid conditions now and then, so that guidance has something to compare with.
    sampling : DenoiserSamplingSettings
    device : str

    Raises
    ------
    ValueError
        If guidance is asked for of weights that never had their conditions hidden, or have none.
    """

    network: Denoiser
    spec: GridSpec
    view: View
    table: ConditionTable
    hidden: bool
    sampling: DenoiserSamplingSettings = field(default_factory=DenoiserSamplingSettings)
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.sampling.guidance != 1.0 and not (self.hidden and self.conditions):
            raise ValueError(
                f"`guidance` is {self.sampling.guidance} but must be 1 for weights without conditions or trained with "
                "`condition_dropout` 0"
            )

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        """What can be asked for."""
        return self.table.specs

    @classmethod
    def of(cls, trainer: DenoiserTrainer) -> "DenoiserSampler":
        """What a training has made."""
        table = ConditionTable.of(trainer.networks.conditions, *trainer.dataset.condition_table())
        hidden, device = trainer.settings.condition_dropout > 0.0, trainer.settings.device
        return cls(trainer.averaged, trainer.spec, trainer.view, table, hidden, device=device)

    @classmethod
    def load(
        cls,
        path: Path,
        settings: DenoiserNetworkSettings,
        spec: GridSpec,
        template: Template | None,
        *,
        view: View = WINDOW,
        device: str = "cpu",
        channels_last: bool = True,
    ) -> "DenoiserSampler":
        """Read weights, which must fit.

        Raises
        ------
        WeightsError
            If they are missing, damaged or made for something else.
        """
        tensors, description = load_fitting(path, settings, spec, view, kind=KIND)
        table = ConditionTable.described(settings.conditions, description, path)
        network = build_denoiser(template, spec, settings, 1.0, torch.Generator(device), device, view)
        network.load_state_dict(without_prefix(KIND, tensors))
        if channels_last:
            store_channels_last(network)
        hidden = description["training"]["condition_dropout"] > 0.0
        return cls(network.requires_grad_(False).eval(), spec, view, table, hidden, device=device)

    def draw(self, n: int, condition: Condition, rng: np.random.Generator, temperature: float = 1.0) -> Drawn:
        """Draw `n` grids, see `GridSampler.draw`; noise of another width would not be what the network is told."""
        if temperature != 1.0:
            raise ValueError(f"`temperature` is {temperature} but must be 1: a denoiser is told how wide its noise is")
        rows = self.table.draw(n, condition, rng)
        random = seeded(rng, self.device)
        sampling, levels = self.sampling, noise_levels(self.sampling)

        def sampled(denoise: Denoise, noise: Tensor) -> Tensor:
            if sampling.sampler == "walk_jump":
                return walk_jump(denoise, noise, sampling, random)
            return heun(denoise, noise, levels, sampling.churn, random)

        grids = torch.empty(n, len(self.spec.species), *self.view.shape(self.spec))
        for start in range(0, n, SAMPLES_AT_ONCE):
            part = rows[start : start + SAMPLES_AT_ONCE]
            noise = torch.randn(len(part), *grids.shape[1:], generator=random, device=self.device)
            grids[start : start + len(part)] = self._made(sampled, noise, part)
        return Drawn(grids, rows, None)

    def path(self, n: int, rng: np.random.Generator) -> Tensor:
        """Grids on the way between two samples, see `GridSampler.path`."""
        rows, levels = self.table.draw(1, {}, rng).expand(n, -1), noise_levels(self.sampling)
        noise = quarter_circle(n, (len(self.spec.species), *self.view.shape(self.spec)), seeded(rng, self.device))
        return self._made(lambda denoise, start: heun(denoise, start, levels), noise, rows)

    def _made(self, sampled: Callable[[Denoise, Tensor], Tensor], noise: Tensor, rows: Tensor) -> Tensor:
        """Densities on the CPU; what is left of the noise below zero, or above one, is cut off as the data are."""
        with torch.inference_mode():
            return sampled(self._denoise(rows.to(self.device)), noise).clamp(0.0, 1.0 if self.spec.clip else None).cpu()

    def _denoise(self, rows: Tensor) -> Denoise:
        """The network under conditions; with guidance its answer goes on from the one without (Ho & Salimans, 2022)."""
        guidance = self.sampling.guidance

        def denoise(grids: Tensor, sigma: float) -> Tensor:
            level = grids.new_full((len(grids),), sigma)
            told: Tensor = self.network(grids, level, rows)
            if guidance == 1.0:
                return told
            plain = self.network(grids, level, rows, torch.zeros(len(grids), dtype=torch.bool, device=grids.device))
            return plain + guidance * (told - plain)

        return denoise
