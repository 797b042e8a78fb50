"""A trained generator to draw from: grids under conditions, with the cell's lengths where it emits them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generators.grids.spec import GridSpec
from generators.networks.conditioning import ConditionSpec, encode, refuse_unknown
from generators.networks.dcwgan import Generator
from generators.networks.lattice import LatticeScale
from generators.networks.layers import store_channels_last
from generators.networks.settings import NetworkSettings
from generators.proposal import Condition
from generators.template import Template
from generators.training.checkpoint import WeightsError, load_weights
from generators.training.loop import Trainer
from generators.training.networks import build_networks, require_fitting, without_prefix
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
    rows, shares : torch.Tensor, numpy.ndarray
        Different rows of conditions (n, n_conditions) and the probability of each.
    device : str
    """

    network: Generator
    settings: NetworkSettings
    spec: GridSpec
    view: View
    scale: LatticeScale | None
    rows: Tensor
    shares: np.ndarray
    device: str = "cpu"

    @classmethod
    def of(cls, trainer: Trainer) -> "Sampler":
        """What a training has made."""
        rows, shares = trainer.dataset.condition_table()
        networks = trainer.networks
        scale = trainer.dataset.lattice_scale
        table = torch.tensor(rows).reshape(len(rows), len(networks.conditions))
        device = trainer.settings.device
        return cls(trainer.averaged, networks, trainer.spec, trainer.view, scale, table, np.asarray(shares), device)

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
        tensors, description = load_weights(path)
        require_fitting(description, settings, spec, path, view)
        if "condition_rows" not in description:
            raise WeightsError(f"`{path}` is a checkpoint of a training, not weights to sample from")
        zeros = [0.0] * len(spec.species)
        network, _ = build_networks(template, spec, settings, zeros, torch.Generator(device), device, view)
        network.load_state_dict(without_prefix("generator", tensors))
        if channels_last:
            store_channels_last(network)
        told = description["condition_rows"]
        rows = torch.tensor(told, dtype=torch.float32).reshape(len(told), len(settings.conditions))
        scale = LatticeScale.from_dict(description["lattice_scale"]) if "lattice_scale" in description else None
        shares = np.asarray(description["condition_shares"])
        return cls(network.requires_grad_(False).eval(), settings, spec, view, scale, rows, shares, device)

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
            If a condition is unknown or outside its range.
        """
        rows = self._condition_rows(n, condition, rng)
        random = torch.Generator(self.device).manual_seed(int(rng.integers(SEED_LIMIT)))
        grids = torch.empty(n, len(self.spec.species), *self.view.shape(self.spec))
        logits = torch.empty(n, 3) if self.settings.lattice else None
        with torch.inference_mode():
            for start in range(0, n, SAMPLES_AT_ONCE):
                part = rows[start : start + SAMPLES_AT_ONCE].to(self.device)
                noise = torch.randn(len(part), self.settings.latent, generator=random, device=self.device)
                made = self.network.generate(temperature * noise, part)
                grids[start : start + len(part)] = made.grids.cpu()
                if logits is not None and made.lattice is not None:
                    logits[start : start + len(part)] = made.lattice.cpu()
        lengths = None if logits is None or self.scale is None else self.scale.lengths(torch.sigmoid(logits))
        return Drawn(grids, rows, lengths)

    def path(self, n: int, rng: np.random.Generator) -> Tensor:
        r"""Grids (n, n_species, \*shape) of `n` samples whose noise moves along a quarter circle, same conditions."""
        rows = self._condition_rows(1, {}, rng).expand(n, -1).to(self.device)
        random = torch.Generator(self.device).manual_seed(int(rng.integers(SEED_LIMIT)))
        first, second = torch.randn(2, self.settings.latent, generator=random, device=self.device)
        angles = torch.linspace(0.0, math.pi / 2, n, device=self.device)[:, None]
        with torch.inference_mode():
            grids: Tensor = self.network(torch.cos(angles) * first + torch.sin(angles) * second, rows)
        return grids.cpu()

    def _condition_rows(self, n: int, condition: Condition, rng: np.random.Generator) -> Tensor:
        specs = self.settings.conditions
        refuse_unknown(condition, specs)
        if len(condition) == len(specs):
            return encode([condition], specs).expand(n, -1)
        rows, shares = self.rows, self.shares
        given = rows.clone()
        for i, spec in enumerate(specs):
            if spec.name in condition:
                given[:, i] = spec.check(condition[spec.name])
        agrees = (given == rows).all(dim=1).numpy()
        if agrees.any():  # else the other values are drawn as if they did not depend on the given ones
            shares = np.where(agrees, shares, 0.0)
        return given[rng.choice(len(rows), size=n, p=shares / shares.sum())]


def described_sampler(path: Path, template: Template | None = None, device: str = "cpu") -> Sampler:
    """A sampler for weights of any layout, which their own description tells.

    Raises
    ------
    WeightsError
        If the weights are missing, damaged, do not describe themselves, or need a template that is not given.
    """
    _, description = load_weights(path)
    try:
        network: dict[str, Any] = dict(description["network"])
        spec, view = GridSpec.from_dict(description["grid"]), View.from_dict(description.get("view", WINDOW.as_dict()))
        conditions = tuple(_condition(fields) for fields in network.pop("conditions"))
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in network.items()
        }
        settings = NetworkSettings(conditions=conditions, **plain)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"`{path}` does not describe its networks: {error}") from error
    if view.kind == "window" and template is None:
        raise WeightsError(f"`{path}` makes windows of a template, which must be given with it")
    return Sampler.load(path, settings, spec, template, view=view, device=device)


def _condition(fields: dict[str, Any]) -> ConditionSpec:
    low, high = fields["range"]
    return ConditionSpec(fields["name"], fields["kind"], fields["n_classes"], (low, high))
