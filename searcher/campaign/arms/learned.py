"""A generator with weights as an arm: trained once an iteration, recorded in the ledger, drawn from."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from generators.grids.files import write_grids
from generators.learned import WEIGHTS_NAME, LearnedProposer
from generators.networks.conditioning import decode
from generators.proposal import TrainingRecord
from generators.training.processes import ALONE, Processes
from generators.training.resumable import TrainingFailed
from searcher.campaign.arms.conditions import asked_conditions
from searcher.campaign.arms.kinds import kind_of
from searcher.campaign.arms.source import Source
from searcher.campaign.arms.training_job import Metric, submitted, training_folder
from searcher.campaign.arms.training_records import training_records
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.progress import counting
from searcher.campaign.snapshot import Snapshot
from searcher.campaign.stopping import stopped
from searcher.campaign.storage.candidate import spawn_seed
from searcher.campaign.storage.verification import file_hash
from searcher.campaign.storage.warm_start import WEIGHTS
from searcher.config import ArmSection, CampaignConfig
from searcher.errors import SearchFailed, StorageError

N_PICTURES = 8
UNRECORDED = ("step", "seconds", "rollbacks")
"""what a step yields that is no metric of the training"""


class Learner(ABC):
    """What a kind of arm with weights gives: proposers to be trained, and those that read what was trained.

    Attributes
    ----------
    steps : int
        Of one training.
    device : str
    warm_start : pathlib.Path or None
        Folder with the weights that the first training begins with.
    transfer : pathlib.Path or None
        Weights of another cell, which trainings without any of their own begin with.
    """

    warm_start: Path | None = None
    transfer: Path | None = None

    def __init__(self, config: CampaignConfig, problem: SurfaceProblem, settings: Any) -> None:
        self.config, self.problem, self.settings = config, problem, settings
        self.steps, self.device = settings.steps, settings.device

    def to_train(
        self, folder: Path, warm_start: Path | None, progress: Callable[[Mapping[str, float]], None]
    ) -> LearnedProposer:
        """One to be fitted, with its checkpoints in `folder`."""
        return self._proposer(
            self.settings, folder=folder, warm_start=warm_start, transfer=self.transfer, progress=progress
        )

    def trained(self, weights: Path) -> LearnedProposer:
        """One to draw from; where a job trains on a GPU, the driver has none."""
        settings = replace(self.settings, device="cpu") if self.config.training.submit else self.settings
        return self._proposer(settings, warm_start=weights)

    @abstractmethod
    def _proposer(self, settings: Any, **keywords: Any) -> LearnedProposer:
        """One with these settings of its training."""


def learn(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, arm: ArmSection, console: Console) -> Source:
    """Train, then propose in turns under each condition that is asked for."""
    learner = kind_of(arm).learner(campaign, problem, arm)
    generator = learned_generator(campaign, problem, snapshot, arm, learner, console)
    return Source.steady(generator, *asked_conditions(campaign, problem, snapshot))


def learned_generator(
    campaign: Campaign,
    problem: SurfaceProblem,
    snapshot: Snapshot,
    arm: ArmSection,
    learner: Learner,
    console: Console,
) -> LearnedProposer:
    """Train, or read the weights if this iteration's training is already in the ledger.

    Raises
    ------
    SearchFailed
        If the training set is empty or its numbers stop being finite.
    StoppedOnRequest
        Between two steps, if asked for; the last checkpoint is resumed from.
    """
    iteration, ledger, stage = snapshot.iteration, campaign.ledger, f"train:{arm.name}"
    folder = training_folder(campaign.folder, iteration, arm.name)
    recorded = ledger.stage(iteration, stage)
    if recorded is not None:
        weights = campaign.folder / recorded["weights"]
        if not weights.is_file() or file_hash(weights) != recorded["sha256"]:
            raise StorageError(f"`{weights}` is missing or does not match its checksum; restore it from a copy")
        return learner.trained(weights)
    records = training_records(campaign, problem, snapshot)
    metrics: list[Metric] = []
    began = time.monotonic()
    weights = folder / WEIGHTS_NAME
    if campaign.config.training.submit:
        console.print(f"  training {arm.name} as a job: {' '.join(campaign.config.training.submit)}")
        result = submitted(campaign, iteration, arm.name, weights)
        metrics, findings = result.metrics, result.findings
        source = learner.trained(weights)
    else:
        source = fit(campaign, problem, snapshot, arm, learner, records, metrics, console)
        findings = [finding.as_dict() for finding in source.findings]
    _keep_samples(campaign, problem, source, iteration, arm.name)
    with ledger.transaction():
        ledger.add_metrics(iteration, metrics)
        ledger.finish_stage(
            iteration,
            stage,
            {
                "weights": str(weights.relative_to(campaign.folder)),
                "sha256": file_hash(weights),
                "records": len(records),
                "seconds": round(time.monotonic() - began, 1),
                "snapshot": snapshot.hash,
                "findings": findings,
            },
        )
    return source


def fit(
    campaign: Campaign,
    problem: SurfaceProblem,
    snapshot: Snapshot,
    arm: ArmSection,
    learner: Learner,
    records: list[TrainingRecord],
    metrics: list[Metric],
    console: Console,
    processes: Processes = ALONE,
) -> LearnedProposer:
    """Train in the iteration's folder, from the last checkpoint there; a pure function of campaign and iteration.

    Parameters
    ----------
    metrics : list of (name, step, value)
        Is added to while the training goes on.

    Raises
    ------
    SearchFailed, StoppedOnRequest
        As for `learned_generator`.
    """
    iteration = snapshot.iteration
    records = [r for r in records if r.condition["n_oxygen"] <= problem.counts["O"][1]]
    if not records:
        raise SearchFailed("the training set is empty: no seed lies inside the template's free range")
    prefix = metric_prefix(campaign, arm)
    with counting(console, f"training {arm.name} on {len(records)} structures", learner.steps) as advance:

        def follow(values: Mapping[str, float]) -> None:
            step = int(values["step"])
            metrics.extend((prefix + name, step, float(v)) for name, v in values.items() if name not in UNRECORDED)
            advance(1)
            if campaign.stop.is_set():
                raise stopped(campaign.stop)

        folder = training_folder(campaign.folder, iteration, arm.name)
        source = learner.to_train(folder, _weights_to_start_from(campaign, iteration, arm, learner), follow)
        random = np.random.default_rng(spawn_seed(campaign.config.seed, iteration, arm.name, -1))
        try:
            source.fit(records, random, processes)
        except TrainingFailed as error:
            raise SearchFailed(f"training of arm `{arm.name}` in iteration {iteration} failed: {error}") from error
    return source


def metric_prefix(campaign: Campaign, arm: ArmSection) -> str:
    """Before the names of an arm's metrics: nothing for the first arm that trains, else the arm's name."""
    first = next(other for other in campaign.config.arms if hasattr(kind_of(other), "learner"))
    return "" if first.name == arm.name else f"{arm.name}_"


def _keep_samples(
    campaign: Campaign, problem: SurfaceProblem, source: LearnedProposer, iteration: int, arm: str
) -> None:
    """A few generated grids, for people to look at."""
    seed = spawn_seed(campaign.config.seed, iteration, "pictures", 0)
    grids, rows = source.sample_grids(N_PICTURES, {}, np.random.default_rng(seed))
    path = campaign.iteration_folder(iteration) / f"samples-{arm}.npz"
    write_grids(path, grids.numpy(), problem.grid, decode(rows, source.conditions), problem.template.id)


def _weights_to_start_from(campaign: Campaign, iteration: int, arm: ArmSection, learner: Learner) -> Path | None:
    for earlier in range(iteration - 1, -1, -1):
        recorded = campaign.ledger.stage(earlier, f"train:{arm.name}")
        if recorded is not None:
            return campaign.folder / recorded["weights"]
    return learner.warm_start / WEIGHTS if learner.warm_start else None
