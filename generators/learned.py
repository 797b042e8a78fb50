"""What all trained proposers share: training that resumes, weights that are left, grids that become structures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from generators.decoding import GridReader
from generators.grids.backmapping import BackmappingSettings
from generators.grids.spec import GridSpec
from generators.networks.conditioning import ConditionSpec
from generators.proposal import Condition, Proposal, TrainingRecord
from generators.sampling import Drawn, GridSampler, seeded
from generators.template import Template
from generators.training.generator_training import Course, GeneratorTraining, Layout
from generators.training.health import Finding
from generators.training.processes import ALONE, Processes
from generators.training.view import WINDOW, View

WEIGHTS_NAME = "weights.safetensors"


@dataclass(eq=False, repr=False)
class LearnedProposer:
    """A generator of grids over a template's window, or over its full cell.

    Attributes
    ----------
    template : Template
    spec : GridSpec
    network_settings : NetworkSettings or another kind's
    training_settings : TrainingSettings or another kind's
    backmapping_settings : BackmappingSettings
    min_distances : mapping of str to float
        Å per pair of elements; decoded atoms a little nearer than this are pushed apart, see `generators.overlaps`.
    folder : pathlib.Path, optional
        Where training keeps its checkpoints, resumes from them, and leaves `weights.safetensors`.
    warm_start : pathlib.Path, optional
        Weights to sample from before any training, and to begin each training with.
    transfer : pathlib.Path, optional
        Weights trained on another cell, to begin training with if there is no warm start.
    progress : callable, optional
        Gets the metrics of every training step.
    view : View
        Window, or full cell; slabs read from full cells are registered on the template.
    findings : list of Finding
        What the checks of the last training found.

    Raises
    ------
    ValueError
        If `view` is of slices, which hold no whole atoms.
    WeightsError
        If the warm start is missing, damaged or made for other networks.
    """

    TRAINER: ClassVar[Any]
    """a `GeneratorTraining` of this kind"""
    SAMPLER: ClassVar[Any]
    """a `GridSampler` of this kind with ``of``: a training, and ``load``: path, network settings, spec, template"""

    template: Template
    spec: GridSpec
    network_settings: Layout
    training_settings: Course
    backmapping_settings: BackmappingSettings = field(default_factory=BackmappingSettings)
    _: KW_ONLY
    min_distances: Mapping[str, float] = field(default_factory=dict)
    folder: Path | None = None
    warm_start: Path | None = None
    transfer: Path | None = None
    progress: Callable[[Mapping[str, float]], None] | None = None
    view: View = WINDOW
    findings: list[Finding] = field(default_factory=list, init=False)
    _sampler: GridSampler | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.view.kind == "slice":
            raise ValueError("`view` is of slices but a proposer needs windows or cells: slices hold no whole atoms")
        self.reader = GridReader(self.template, self.spec, self.backmapping_settings, self.min_distances, self.view)
        if self.warm_start is not None:
            loaded = self.SAMPLER.load(
                self.warm_start,
                self.network_settings,
                self.spec,
                self.template,
                view=self.view,
                device=self.training_settings.device,
                channels_last=self.training_settings.channels_last,
            )
            self._sampler = self._as_asked(loaded)

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        """What it is told."""
        return self.network_settings.conditions

    def training(
        self, records: Sequence[TrainingRecord], generator: torch.Generator, processes: Processes
    ) -> GeneratorTraining[Any, Any]:
        """A training on records, from its beginning."""
        made: GeneratorTraining[Any, Any] = self.TRAINER(
            self.template,
            self.spec,
            self.network_settings,
            self.training_settings,
            records,
            generator,
            self.warm_start or self.transfer,
            transfer=self.warm_start is None,
            view=self.view,
            processes=processes,
        )
        return made

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
        training = self.training(
            [self._whole(record) for record in records] if self.view.kind == "cell" else records,
            seeded(rng, self.training_settings.device),
            processes,
        )
        for metrics in training.run(self.folder):
            if self.progress is not None:
                self.progress(metrics)
        self._sampler = self._as_asked(self.SAMPLER.of(training))
        self.findings = training.findings
        if self.folder is not None:
            training.save(self.folder / WEIGHTS_NAME)

    def sample(self, n: int, condition: Condition, rng: np.random.Generator) -> list[Proposal]:
        """Propose exactly `n` structures from the averaged network, undecodable ones with their reason.

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
        return self.reader.read(self._drawn(n, condition, rng), self.conditions)

    def sample_grids(self, n: int, condition: Condition, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        r"""Grids (n, n_species, \*shape) on the CPU and the rows (n, n_conditions) of conditions they were made for."""
        drawn = self._drawn(n, condition, rng)
        return drawn.grids, drawn.rows

    def _as_asked(self, sampler: Any) -> GridSampler:
        """A sampler of this kind, set as this proposer draws from it."""
        asked: GridSampler = sampler
        return asked

    def _drawn(self, n: int, condition: Condition, rng: np.random.Generator) -> Drawn:
        return self._trained().draw(n, condition, rng)

    def _trained(self) -> GridSampler:
        if self._sampler is None:
            raise RuntimeError("this generator has no weights yet: call `fit` or name a `warm_start`")
        return self._sampler

    def _whole(self, record: TrainingRecord) -> TrainingRecord:
        """The free atoms with the frozen ones, in the template's whole cell."""
        atoms = self.template.assemble(record.numbers, record.positions)
        x, y, z = (float(length) for length in self.template.cell)
        return replace(record, numbers=atoms.numbers, positions=atoms.positions, lengths=(x, y, z))
