"""A trained generator to draw from: grids under conditions, with the cell's lengths where it emits them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from generators.condition_table import ConditionTable, condition_spec
from generators.fields import with_tuples
from generators.grids.spec import GridSpec
from generators.kinds import KINDS, GeneratorKind, name_of
from generators.networks.conditioning import ConditionSpec
from generators.networks.dcwgan import Generator
from generators.networks.encoder import Encoder
from generators.networks.lattice import LatticeScale
from generators.networks.layers import store_channels_last
from generators.networks.settings import NetworkSettings
from generators.proposal import Condition
from generators.template import Template
from generators.training.autoencoding import ENCODER
from generators.training.checkpoint import WeightsError, load_weights
from generators.training.loop import Trainer
from generators.training.networks import build_networks, load_fitting, without_prefix
from generators.training.view import WINDOW, View

SAMPLES_AT_ONCE = 64
SEED_LIMIT = 2**63


@dataclass(frozen=True)
class Drawn:
    r"""Grids of a generator.

    Attributes
    ----------
    grids : torch.Tensor, shape (n, n_species, \*shape)
    rows : torch.Tensor, shape (n, n_conditions)
        What each was asked for.
    lengths : torch.Tensor or None, shape (n, 3)
        Å, with a lattice head.
    """

    grids: Tensor
    rows: Tensor
    lengths: Tensor | None


class GridSampler(Protocol):
    """Trained weights of any kind, to draw grids from."""

    @property
    def spec(self) -> GridSpec:
        """Where the voxels are."""

    @property
    def view(self) -> View:
        """What of a structure the grids show."""

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        """What can be asked for."""

    def draw(self, n: int, condition: Condition, rng: np.random.Generator, temperature: float = 1.0) -> Drawn:
        """Draw `n` grids.

        Parameters
        ----------
        n : int
        condition : mapping of str to number
            Conditions without a value are drawn as the training data have them, given the others.
        rng : numpy.random.Generator
        temperature : float
            Standard deviation of the noise, 1 in training.

        Raises
        ------
        ValueError
            If a condition is unknown or outside its range, or this kind cannot draw at this temperature.
        """

    def path(self, n: int, rng: np.random.Generator) -> Tensor:
        r"""Grids (n, n_species, \*shape) of `n` samples whose noise moves along a quarter circle, same conditions."""


@dataclass(frozen=True)
class Sampler:
    """An averaged generator and the conditions of its data.

    Attributes
    ----------
    network : Generator
    settings : NetworkSettings
    spec : GridSpec
    view : View
    scale : LatticeScale or None
        Of the cell's lengths.
    table : ConditionTable
    device : str
    encoder : Encoder or None
        Where one was trained beside the generator.
    """

    network: Generator
    settings: NetworkSettings
    spec: GridSpec
    view: View
    scale: LatticeScale | None
    table: ConditionTable
    device: str = "cpu"
    encoder: Encoder | None = None

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        """What can be asked for."""
        return self.settings.conditions

    @classmethod
    def of(cls, trainer: Trainer) -> "Sampler":
        """What a training has made."""
        networks, scale = trainer.networks, trainer.dataset.lattice_scale
        table = ConditionTable.of(networks.conditions, *trainer.dataset.condition_table())
        device = trainer.settings.device
        encoder = trainer.kept.get(ENCODER)
        assert encoder is None or isinstance(encoder, Encoder)
        return cls(trainer.averaged, networks, trainer.spec, trainer.view, scale, table, device, encoder)

    @classmethod
    def load(
        cls,
        path: Path,
        settings: NetworkSettings,
        spec: GridSpec,
        template: Template | None,
        *,
        view: View = WINDOW,
        device: str = "cpu",
        channels_last: bool = True,
    ) -> "Sampler":
        """Read weights, which must fit.

        Raises
        ------
        WeightsError
            If they are missing, damaged or made for something else.
        """
        tensors, description = load_fitting(path, settings, spec, view)
        table = ConditionTable.described(settings.conditions, description, path)
        zeros = [0.0] * len(spec.species)
        network, _ = build_networks(template, spec, settings, zeros, torch.Generator(device), device, view)
        network.load_state_dict(without_prefix("generator", tensors))
        if channels_last:
            store_channels_last(network)
        scale = LatticeScale.from_dict(description["lattice_scale"]) if "lattice_scale" in description else None
        encoder = None
        if encoding := without_prefix(ENCODER, tensors):
            encoder = Encoder(settings, view.frozen(template, spec), view.periodic(spec)).to(device)
            encoder.load_state_dict(encoding)
            if channels_last:
                store_channels_last(encoder)
            encoder.requires_grad_(False).eval()
        return cls(network.requires_grad_(False).eval(), settings, spec, view, scale, table, device, encoder)

    def draw(self, n: int, condition: Condition, rng: np.random.Generator, temperature: float = 1.0) -> Drawn:
        """Draw `n` grids, see `GridSampler.draw`."""
        rows = self.table.draw(n, condition, rng)
        random = seeded(rng, self.device)
        sizes = [len(part) for part in rows.split(SAMPLES_AT_ONCE)]
        parts = [torch.randn(k, self.settings.latent, generator=random, device=self.device) for k in sizes]
        return self.at(temperature * torch.cat(parts), rows)

    def at(self, noise: Tensor, rows: Tensor) -> Drawn:
        """Grids of given noise (n, latent) under given conditions (n, n_conditions)."""
        n = len(noise)
        grids = torch.empty(n, len(self.spec.species), *self.view.shape(self.spec))
        logits = torch.empty(n, 3) if self.settings.lattice else None
        with torch.inference_mode():
            for start in range(0, n, SAMPLES_AT_ONCE):
                part = slice(start, start + SAMPLES_AT_ONCE)
                made = self.network.generate(noise[part].to(self.device), rows[part].to(self.device))
                grids[part] = made.grids.cpu()
                if logits is not None and made.lattice is not None:
                    logits[part] = made.lattice.cpu()
        lengths = None if logits is None or self.scale is None else self.scale.lengths(torch.sigmoid(logits))
        return Drawn(grids, rows, lengths)

    def encode(self, grids: Tensor, rows: Tensor) -> Tensor | None:
        """Noise (n, latent) that the encoder expects behind grids under their conditions; None without an encoder."""
        if self.encoder is None:
            return None
        with torch.inference_mode():
            parts = [
                self.encoder(grid.to(self.device), row.to(self.device))[0].cpu()
                for grid, row in zip(grids.split(SAMPLES_AT_ONCE), rows.split(SAMPLES_AT_ONCE), strict=True)
            ]
        return torch.cat(parts)

    def path(self, n: int, rng: np.random.Generator) -> Tensor:
        """Grids on the way between two samples, see `GridSampler.path`."""
        rows = self.table.draw(1, {}, rng).expand(n, -1).to(self.device)
        noise = quarter_circle(n, (self.settings.latent,), seeded(rng, self.device))
        with torch.inference_mode():
            grids: Tensor = self.network(noise, rows)
        return grids.cpu()


def seeded(rng: np.random.Generator, device: str) -> torch.Generator:
    """A generator of torch's, seeded by one of numpy's."""
    return torch.Generator(device).manual_seed(int(rng.integers(SEED_LIMIT)))


def quarter_circle(n: int, shape: Sequence[int], random: torch.Generator) -> Tensor:
    r"""Noise (n, \*shape) from one draw to another along a quarter of a circle."""
    first, second = torch.randn(2, *shape, generator=random, device=random.device)
    angles = torch.linspace(0.0, math.pi / 2, n, device=random.device).view(-1, *[1] * len(shape))
    return torch.cos(angles) * first + torch.sin(angles) * second


@dataclass(frozen=True)
class Described:
    """What weights say of themselves.

    Attributes
    ----------
    kind : GeneratorKind
    settings : NetworkSettings or another kind's
    spec : GridSpec
    view : View
    """

    kind: GeneratorKind
    settings: Any
    spec: GridSpec
    view: View


def described(path: Path, template: Template | None = None) -> Described:
    """Kind, layout, grid and view of weights, by their own description.

    Raises
    ------
    WeightsError
        If the weights are missing, damaged, do not describe themselves, or need a template that is not given.
    """
    _, description = load_weights(path)
    try:
        kind = KINDS[name_of(description)]
        network = with_tuples(description["network"])
        spec, view = GridSpec.from_dict(description["grid"]), View.from_dict(description.get("view", WINDOW.as_dict()))
        conditions = tuple(condition_spec(fields) for fields in network.pop("conditions"))
        settings = kind.network(conditions=conditions, **network)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"`{path}` does not describe its networks: {error}") from error
    if view.kind == "window" and template is None:
        raise WeightsError(f"`{path}` makes windows of a template, which must be given with it")
    return Described(kind, settings, spec, view)


def described_sampler(path: Path, template: Template | None = None, device: str = "cpu") -> GridSampler:
    """A sampler for weights of any kind and layout, which their own description tells.

    Raises
    ------
    WeightsError
        As `described` does.
    """
    found = described(path, template)
    sampler: GridSampler = found.kind.sampler.load(
        path, found.settings, found.spec, template, view=found.view, device=device
    )
    return sampler
