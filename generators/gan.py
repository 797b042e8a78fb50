"""The GAN as a proposer of structures: train on records, sample grids, read the atoms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generators.grids.backmapping import BackmappingSettings, Decoded, backmap
from generators.grids.registration import read_cells
from generators.grids.spec import GridSpec
from generators.networks.conditioning import decode
from generators.networks.settings import NetworkSettings
from generators.overlaps import DistanceTable, push_apart
from generators.proposal import Condition, Proposal, TrainingRecord
from generators.sampling import SEED_LIMIT, Drawn, Sampler
from generators.template import Template
from generators.training.health import Finding
from generators.training.loop import Trainer
from generators.training.processes import ALONE, Processes
from generators.training.settings import TrainingSettings
from generators.training.view import WINDOW, View

WEIGHTS_NAME = "weights.safetensors"


class GanProposer:
    """Conditioned DCWGAN over a template's window, or over its full cell.

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
    view : View
        Window, or full cell; slabs read from full cells are registered on the template.

    Raises
    ------
    ValueError
        If `view` is of slices, which hold no whole atoms.
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
        view: View = WINDOW,
    ) -> None:
        if view.kind == "slice":
            raise ValueError("`view` is of slices but a proposer needs windows or cells: slices hold no whole atoms")
        self.noise_temperature = noise_temperature
        self.template, self.spec = template, spec
        self.network_settings, self.training_settings = network_settings, training_settings
        self.backmapping_settings = backmapping_settings or BackmappingSettings()
        self.least = DistanceTable(min_distances or {})
        self.folder, self.warm_start, self.progress = folder, warm_start, progress
        self.transfer = transfer
        self.view = view
        self.findings: list[Finding] = []
        """what the checks of the last training found"""
        self._sampler: Sampler | None = None
        if warm_start is not None:
            self._sampler = Sampler.load(
                warm_start,
                network_settings,
                spec,
                template,
                view=view,
                device=training_settings.device,
                channels_last=training_settings.channels_last,
            )

    def fit(self, records: Sequence[TrainingRecord], rng: np.random.Generator, processes: Processes = ALONE) -> None:
        """Train on records, from the last checkpoint in `folder`, else the warm start, else from nothing.

        Parameters
        ----------
        processes : Processes
            That share the training, each calling this with the same arguments.

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
            [self._whole(record) for record in records] if self.view.kind == "cell" else records,
            torch.Generator(self.training_settings.device).manual_seed(int(rng.integers(SEED_LIMIT))),
            warm_start=self.warm_start or self.transfer,
            transfer=self.warm_start is None,
            view=self.view,
            processes=processes,
        )
        for metrics in trainer.run(self.folder):
            if self.progress is not None:
                self.progress(metrics)
        self._sampler = Sampler.of(trainer)
        self.findings = list(trainer.watch.findings)
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
        drawn = self._drawn(n, condition, rng)
        if self.view.kind == "cell":
            return self._registered(drawn) if n else []
        decoded = backmap(drawn.grids, self.spec, self.backmapping_settings) if n else []
        conditions = decode(drawn.rows, self.network_settings.conditions)
        return [self._proposal(atoms, values) for atoms, values in zip(decoded, conditions, strict=True)]

    def _proposal(self, decoded: Decoded, condition: dict[str, int | float]) -> Proposal:
        if decoded.reason is not None:
            return Proposal(np.empty(0, dtype=int), np.empty((0, 3)), condition, decoded.r2, decoded.reason)
        positions = push_apart(decoded.numbers, decoded.positions, self.template, self.least)
        return Proposal(decoded.numbers, positions, condition, decoded.r2)

    def sample_grids(self, n: int, condition: Condition, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        r"""Grids (n, n_species, \*shape) on the CPU and the rows (n, n_conditions) of conditions they were made for."""
        drawn = self._drawn(n, condition, rng)
        return drawn.grids, drawn.rows

    def _drawn(self, n: int, condition: Condition, rng: np.random.Generator) -> Drawn:
        if self._sampler is None:
            raise RuntimeError("this GAN has no weights yet: call `fit` or name a `warm_start`")
        return self._sampler.draw(n, condition, rng, self.noise_temperature)

    def _whole(self, record: TrainingRecord) -> TrainingRecord:
        """The free atoms with the frozen ones, in the template's whole cell."""
        atoms = self.template.assemble(record.numbers, record.positions)
        x, y, z = (float(length) for length in self.template.cell)
        return replace(record, numbers=atoms.numbers, positions=atoms.positions, lengths=(x, y, z))

    def _registered(self, drawn: Drawn) -> list[Proposal]:
        """Slabs read from full cells, laid on the template."""
        cell = torch.as_tensor(self.template.cell, dtype=torch.float32).expand(len(drawn.grids), -1)
        lengths = cell if drawn.lengths is None else drawn.lengths
        read = read_cells(drawn.grids, self.spec, lengths.numpy(), self.template, self.backmapping_settings)
        conditions = decode(drawn.rows, self.network_settings.conditions)
        return [
            self._proposal(replace(decoded, numbers=slab.numbers, positions=slab.positions, reason=reason), condition)
            for (decoded, slab), condition in zip(read, conditions, strict=True)
            for reason in [decoded.reason or slab.reason]
        ]
