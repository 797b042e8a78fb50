"""The GAN as a proposer of structures: train on records, sample grids, read the atoms."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generators.grids.backmapping import BackmappingSettings, Decoded, backmap
from generators.grids.spec import GridSpec
from generators.networks.conditioning import decode, encode, refuse_unknown
from generators.networks.dcwgan import Generator, NetworkSettings
from generators.networks.layers import store_channels_last
from generators.overlaps import DistanceTable, push_apart
from generators.proposal import Condition, Proposal, TrainingRecord
from generators.template import Template
from generators.training.checkpoint import WeightsError, load_weights
from generators.training.loop import Trainer
from generators.training.networks import build_networks, require_fitting, without_prefix
from generators.training.settings import TrainingSettings

WEIGHTS_NAME = "weights.safetensors"
SAMPLES_AT_ONCE = 64
SEED_LIMIT = 2**63


class GanProposer:
    """Conditioned DCWGAN over a template's window.

    Parameters
    ----------
    template : Template
    spec : GridSpec
    network_settings : NetworkSettings
    training_settings : TrainingSettings
    backmapping_settings : BackmappingSettings, optional
    min_distances : mapping of str to float, optional
        Å per pair of elements; decoded atoms a little nearer than this are pushed apart, see `generators.overlaps`.
    folder : pathlib.Path, optional
        Where training keeps its checkpoints, resumes from them, and leaves `weights.safetensors`.
    warm_start : pathlib.Path, optional
        Weights to sample from before any training, and to begin each training with.
    transfer : pathlib.Path, optional
        Weights trained on another cell, to begin training with if there is no warm start.
    progress : callable, optional
        Gets the metrics of every training step.
    noise_temperature : float
        Standard deviation of the noise that samples are made from; networks are trained at 1.

    Raises
    ------
    WeightsError
        If the warm start is missing, damaged or made for other networks.
    """

    def __init__(
        self,
        template: Template,
        spec: GridSpec,
        network_settings: NetworkSettings,
        training_settings: TrainingSettings,
        backmapping_settings: BackmappingSettings | None = None,
        *,
        min_distances: Mapping[str, float] | None = None,
        folder: Path | None = None,
        warm_start: Path | None = None,
        transfer: Path | None = None,
        progress: Callable[[Mapping[str, float]], None] | None = None,
        noise_temperature: float = 1.0,
    ) -> None:
        self.noise_temperature = noise_temperature
        self.template, self.spec = template, spec
        self.network_settings, self.training_settings = network_settings, training_settings
        self.backmapping_settings = backmapping_settings or BackmappingSettings()
        self.least = DistanceTable(min_distances or {})
        self.folder, self.warm_start, self.progress = folder, warm_start, progress
        self.transfer = transfer
        self._network: Generator | None = None
        self._table: tuple[Tensor, np.ndarray] | None = None
        if warm_start is not None:
            self._load(warm_start)

    def fit(self, records: Sequence[TrainingRecord], rng: np.random.Generator) -> None:
        """Train on records, from the last checkpoint in `folder`, else the warm start, else from nothing.

        Raises
        ------
        ValueError
            If records, grid and networks do not fit together.
        TrainingFailed
            If numbers stay infinite or NaN.
        """
        trainer = Trainer(
            self.template,
            self.spec,
            self.network_settings,
            self.training_settings,
            records,
            self._random(rng),
            warm_start=self.warm_start or self.transfer,
            transfer=self.warm_start is None,
        )
        for metrics in trainer.run(self.folder):
            if self.progress is not None:
                self.progress(metrics)
        self._network = trainer.averaged
        rows, shares = trainer.dataset.condition_table()
        self._table = torch.tensor(rows), np.asarray(shares)
        if self.folder is not None:
            trainer.save(self.folder / WEIGHTS_NAME)

    def sample(self, n: int, condition: Condition, rng: np.random.Generator) -> list[Proposal]:
        """Propose exactly `n` structures from the averaged generator, undecodable ones with their reason.

        Parameters
        ----------
        n : int
        condition : mapping of str to number
            Conditions without a value are drawn as the training data have them, given the others.
        rng : numpy.random.Generator

        Raises
        ------
        ValueError
            If a condition is unknown or outside its range.
        """
        grids, rows = self.sample_grids(n, condition, rng)
        decoded = backmap(grids, self.spec, self.backmapping_settings) if n else []
        conditions = decode(rows, self.network_settings.conditions)
        return [self._proposal(atoms, values) for atoms, values in zip(decoded, conditions, strict=True)]

    def _proposal(self, decoded: Decoded, condition: dict[str, int | float]) -> Proposal:
        if decoded.reason is not None:
            return Proposal(np.empty(0, dtype=int), np.empty((0, 3)), condition, decoded.r2, decoded.reason)
        positions = push_apart(decoded.numbers, decoded.positions, self.template, self.least)
        return Proposal(decoded.numbers, positions, condition, decoded.r2)

    def sample_grids(self, n: int, condition: Condition, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        r"""Grids (n, n_species, \*shape) on the CPU and the rows (n, n_conditions) of conditions they were made for."""
        if self._network is None:
            raise RuntimeError("this GAN has no weights yet: call `fit` or name a `warm_start`")
        rows = self._condition_rows(n, condition, rng)
        random, device = self._random(rng), self.training_settings.device
        grids = torch.empty(n, len(self.spec.species), *self.spec.shape)
        with torch.inference_mode():
            for start in range(0, n, SAMPLES_AT_ONCE):
                part = rows[start : start + SAMPLES_AT_ONCE].to(device)
                noise = torch.randn(len(part), self.network_settings.latent, generator=random, device=device)
                grids[start : start + len(part)] = self._network(self.noise_temperature * noise, part).cpu()
        return grids, rows

    def _random(self, rng: np.random.Generator) -> torch.Generator:
        return torch.Generator(self.training_settings.device).manual_seed(int(rng.integers(SEED_LIMIT)))

    def _condition_rows(self, n: int, condition: Condition, rng: np.random.Generator) -> Tensor:
        specs = self.network_settings.conditions
        refuse_unknown(condition, specs)
        if len(condition) == len(specs):
            return encode([condition], specs).expand(n, -1)
        if self._table is None:
            raise RuntimeError("conditions can only be drawn once training data are known")
        rows, shares = self._table
        given = rows.clone()
        for i, spec in enumerate(specs):
            if spec.name in condition:
                given[:, i] = spec.check(condition[spec.name])
        agrees = (given == rows).all(dim=1).numpy()
        if agrees.any():  # else the other values are drawn as if they did not depend on the given ones
            shares = np.where(agrees, shares, 0.0)
        return given[rng.choice(len(rows), size=n, p=shares / shares.sum())]

    def _load(self, path: Path) -> None:
        tensors, description = load_weights(path)
        require_fitting(description, self.network_settings, self.spec, path)
        if "condition_rows" not in description:
            raise WeightsError(f"`{path}` is a checkpoint of a training, not weights to sample from")
        settings = self.training_settings
        zeros = [0.0] * len(self.spec.species)
        network, _ = build_networks(
            self.template, self.spec, self.network_settings, zeros, torch.Generator(settings.device), settings.device
        )
        network.load_state_dict(without_prefix("generator", tensors))
        if settings.channels_last:
            store_channels_last(network)
        self._network = network.requires_grad_(False).eval()
        rows = torch.tensor(description["condition_rows"], dtype=torch.float32)
        self._table = (
            rows.reshape(len(rows), len(self.network_settings.conditions)),
            np.asarray(description["condition_shares"]),
        )
