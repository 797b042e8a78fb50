"""How a denoiser learns: noise of every level is put on training grids, and the clean grid is what it should say."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from generators.denoising.network import Denoiser
from generators.denoising.settings import DenoiserNetworkSettings, DenoiserTrainingSettings
from generators.grids.spec import GridSpec
from generators.networks.layers import store_channels_last
from generators.proposal import TrainingRecord
from generators.template import Template
from generators.training.generator_training import GeneratorTraining
from generators.training.networks import prefixed, without_prefix
from generators.training.optimisers import OPTIMISERS, descend, moments_of, restore_optimiser
from generators.training.processes import Processes
from generators.training.resumable import ROLLBACK_FACTOR
from generators.training.schedules import SCHEDULES
from generators.training.state import move_average
from generators.training.view import WINDOW, View

KIND = "denoiser"
DEVIATION_SAMPLES, DEVIATION_SEED = 256, 0
"""Grids from which the data's root mean square is taken."""


def build_denoiser(
    template: Template | None,
    spec: GridSpec,
    settings: DenoiserNetworkSettings,
    data_deviation: float,
    generator: torch.Generator,
    device: str,
    view: View = WINDOW,
) -> Denoiser:
    """Make an untrained denoiser for what it will see, every weight drawn from `generator`."""
    network = Denoiser(settings, view.frozen(template, spec), view.periodic(spec), data_deviation).to(device)
    network.initialise(generator)
    return network


class DenoisingState:
    """Denoiser, its running average, optimiser, random state and place in the schedule."""

    def __init__(self, network: Denoiser, settings: DenoiserTrainingSettings, random: torch.Generator) -> None:
        if settings.channels_last:
            store_channels_last(network)
        self.network, self.settings, self.random = network, settings, random
        self.averaged = copy.deepcopy(network).requires_grad_(False).eval()
        self.optimiser = OPTIMISERS[settings.optimiser](network.parameters(), settings.rate, settings.betas)
        self.step = 0
        self.rollbacks = 0

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all tensors, by name."""
        tensors = {"random": self.random.get_state()}
        tensors |= prefixed("network", self.network.state_dict()) | prefixed("averaged", self.averaged.state_dict())
        tensors |= prefixed("optimiser", moments_of(self.optimiser))
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def counters(self) -> dict[str, Any]:
        """Everything else that changes, as what JSON can hold."""
        return {"step": self.step, "rollbacks": self.rollbacks}

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Take up what `tensors` and `counters` gave; training then goes on to the bit."""
        self.network.load_state_dict(without_prefix("network", tensors))
        self.averaged.load_state_dict(without_prefix("averaged", tensors))
        restore_optimiser(self.optimiser, without_prefix("optimiser", tensors))
        self.random.set_state(tensors["random"].cpu())
        self.step, self.rollbacks = counters["step"], counters["rollbacks"]

    def descend(self, loss: Tensor, processes: Processes) -> Tensor:
        """Take one step downhill, move the average, and return the norm of the gradient before clipping."""
        settings = self.settings
        rate = settings.rate * ROLLBACK_FACTOR**self.rollbacks * min(1.0, (self.step + 1) / (settings.warmup_steps + 1))
        self.optimiser.param_groups[0]["lr"] = rate * SCHEDULES[settings.schedule](
            self.step / settings.steps, settings.cycles
        )
        norm = descend(loss, self.network, self.optimiser, processes, settings.gradient_clip)
        move_average(self.averaged, self.network, settings.ema_decay, self.step)
        return norm


class DenoiserTrainer(GeneratorTraining[DenoiserNetworkSettings, DenoiserTrainingSettings]):
    """One training of a denoiser.

    Each step tells `denoising_loss`, 1 for a network that says nothing, and `denoising_gradient`.

    Parameters as for `generators.training.generator_training.GeneratorTraining`.
    """

    KIND = KIND
    state: DenoisingState

    def _prepare(
        self, records: Sequence[TrainingRecord], generator: torch.Generator, first: dict[str, Tensor] | None
    ) -> None:
        settings = self.settings
        self._share = self.processes.share(settings.batch_size)
        deviation = self._data_deviation()
        network = build_denoiser(
            self.template, self.spec, self.networks, deviation, generator, settings.device, self.view
        )
        if first is not None:
            network.load_state_dict(without_prefix(KIND, first))
        self.state = DenoisingState(network, settings, generator)

    @property
    def averaged(self) -> Denoiser:
        """The running average of the network, which samples are drawn with."""
        return self.state.averaged

    def loss(self, share: slice) -> Tensor:
        """Mean of λ(σ) (D(x + σn; σ) − x)² with EDM's λ = (σ² + σ_data²) / (σ σ_data)², over a fresh batch's share."""
        settings, random, device = self.settings, self.state.random, self.settings.device
        clean, conditions, _ = self.dataset.batch(settings.batch_size, random, share=share)
        whole = (settings.batch_size, *clean.shape[1:])
        normal = torch.randn(settings.batch_size, generator=random, device=device)[share]
        level = settings.noise_median * torch.exp(settings.noise_spread * normal)
        noise = torch.randn(whole, generator=random, device=device)[share]
        shown = (torch.rand(settings.batch_size, generator=random, device=device) >= settings.condition_dropout)[share]
        sigma, data = level.view(-1, *[1] * (clean.dim() - 1)), self.state.network.data_deviation
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=settings.precision == "bf16"):
            denoised = self.state.network(clean + sigma * noise, level, conditions, shown)
        weight = (sigma**2 + data**2) / (sigma * data) ** 2
        return (weight * (denoised - clean).square()).mean()

    def _train(self) -> dict[str, float]:
        loss = self.loss(self._share)
        norm = self.state.descend(loss, self.processes)
        return self.processes.averaged({"denoising_loss": loss, "denoising_gradient": norm})

    def _data_deviation(self) -> float:
        random = torch.Generator(self.settings.device).manual_seed(DEVIATION_SEED)
        return float(self.dataset.batch(DEVIATION_SAMPLES, random).grids.square().mean().sqrt())

    def _weights(self) -> dict[str, Tensor]:
        return prefixed(KIND, self.averaged.state_dict())

    def _rates(self) -> str:
        return f"`rate` {self.settings.rate}"
