"""The GAN arm: an iteration's training, its weights and metrics in the ledger, a source to sample from."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from generators.gan import WEIGHTS_NAME, GanProposer
from generators.grids.backmapping import BackmappingSettings
from generators.grids.files import write_grids
from generators.networks.conditioning import ConditionSpec, decode
from generators.networks.settings import NetworkSettings
from generators.proposal import TrainingRecord
from generators.training.loop import TrainingFailed
from generators.training.processes import ALONE, Processes
from generators.training.settings import TrainingSettings
from generators.training.view import WINDOW, View
from searcher.campaign.arms.conditions import condition_specs
from searcher.campaign.arms.training_job import Metric, submitted, training_folder
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.progress import counting
from searcher.campaign.snapshot import Snapshot
from searcher.campaign.stopping import stopped
from searcher.campaign.storage.candidate import spawn_seed
from searcher.campaign.storage.verification import file_hash
from searcher.campaign.storage.warm_start import WEIGHTS
from searcher.config import ArmSection, CampaignConfig
from searcher.errors import InputError, SearchFailed, StorageError

N_PICTURES = 8
COUNT_WEIGHT = 0.5
"""Of the mean square of the atoms missing or too many, beside the critic's score; see docs/generator.md."""
CONFLICT_SHARE = 0.85
"""Of the shortest metal–O distance: of two atoms nearer than this the weaker is none."""
UNRECORDED = ("step", "seconds", "rollbacks")
"""what a step yields that is no metric of the training"""


def network_settings(config: CampaignConfig, problem: SurfaceProblem) -> NetworkSettings:
    """Layout and conditions of the networks, with heads for the cell's lengths where they see whole cells.

    Raises
    ------
    InputError
        For an unknown or unfit setting.
    """
    return _network_settings(config, condition_specs(config, problem))


def check_settings(config: CampaignConfig) -> None:
    """Refuse unfit settings of networks and training before anything is written.

    Raises
    ------
    InputError
        Naming the setting.
    """
    training_settings(config)
    told = config.conditioning.conditions if config.conditioning.enabled else ()
    _network_settings(config, tuple(ConditionSpec(name, "class", 2) for name in told))


def _network_settings(config: CampaignConfig, conditions: tuple[ConditionSpec, ...]) -> NetworkSettings:
    lattice = {"lattice": True} if config.grid.window == "cell" else {}
    try:
        return NetworkSettings(conditions=conditions, **{**lattice, **_tuples(config.network.settings)})
    except (TypeError, ValueError) as error:
        raise InputError(f"`network.settings`: {error}") from None


def training_settings(config: CampaignConfig) -> TrainingSettings:
    """Settings of one iteration's training; where atoms are counted among the conditions, ∫ρ is drawn to the count.

    Raises
    ------
    InputError
        For an unknown or unfit setting.
    """
    told = config.conditioning.conditions if config.conditioning.enabled else ()
    defaults: dict[str, Any] = {"threads": config.execution.training_threads}
    try:
        if {"n_oxygen", "n_metal"} & set(told):
            steps = int(config.training.settings.get("steps", TrainingSettings.steps))
            defaults |= {"terms": {"count": COUNT_WEIGHT}, "terms_blend": steps // 2}
        return TrainingSettings(**{**defaults, **_tuples(config.training.settings)})
    except (TypeError, ValueError) as error:
        raise InputError(f"`training.settings`: {error}") from None


def backmapping_settings(config: CampaignConfig, problem: SurfaceProblem) -> BackmappingSettings:
    """How sampled grids are read: peaks nearer than any two atoms of the surface can be are one smeared atom."""
    limits, default = problem.thresholds, BackmappingSettings()
    oxygen = limits.o_o_overlap if limits.accept_molecular_o else limits.o_o_molecular
    return BackmappingSettings(
        r2_min=config.grid.min_r2,
        integral_decides=True,
        merge_distance=max(default.merge_distance, oxygen / config.grid.sigma),
        conflict_distance=max(default.conflict_distance, CONFLICT_SHARE * limits.metal_o_min),
    )


def gan_proposer(
    config: CampaignConfig,
    problem: SurfaceProblem,
    *,
    settings: TrainingSettings | None = None,
    folder: Path | None = None,
    warm_start: Path | None = None,
    transfer: Path | None = None,
    progress: Callable[[Mapping[str, float]], None] | None = None,
    noise_temperature: float = 1.0,
) -> GanProposer:
    """The DCWGAN as configured, on the template's window or its whole cell.

    Raises
    ------
    InputError
        For an unknown or unfit setting.
    """
    return GanProposer(
        problem.template,
        problem.grid,
        network_settings(config, problem),
        settings or training_settings(config),
        backmapping_settings(config, problem),
        min_distances=problem.minimum_distances,
        folder=folder,
        warm_start=warm_start,
        transfer=transfer,
        progress=progress,
        noise_temperature=noise_temperature,
        view=View("cell") if config.grid.window == "cell" else WINDOW,
    )


def learned_generator(
    campaign: Campaign,
    problem: SurfaceProblem,
    snapshot: Snapshot,
    arm: ArmSection,
    records: list[TrainingRecord],
    console: Console,
) -> GanProposer:
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
        return _sampling(campaign, problem, arm, weights)
    metrics: list[Metric] = []
    began = time.monotonic()
    weights = folder / WEIGHTS_NAME
    if campaign.config.training.submit:
        console.print(f"  training {arm.name} as a job: {' '.join(campaign.config.training.submit)}")
        result = submitted(campaign, iteration, arm.name, weights)
        metrics, findings = result.metrics, result.findings
        source = _sampling(campaign, problem, arm, weights)
    else:
        source = fit(campaign, problem, snapshot, arm, records, metrics, console)
        findings = [finding.as_dict() for finding in source.findings]
    _keep_samples(campaign, problem, source, iteration)
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
    records: list[TrainingRecord],
    metrics: list[Metric],
    console: Console,
    processes: Processes = ALONE,
) -> GanProposer:
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
    settings = training_settings(campaign.config)
    with counting(console, f"training {arm.name} on {len(records)} structures", settings.steps) as advance:

        def follow(values: Any) -> None:
            step = int(values["step"])
            metrics.extend((name, step, float(v)) for name, v in values.items() if name not in UNRECORDED)
            advance(1)
            if campaign.stop.is_set():
                raise stopped(campaign.stop)

        source = gan_proposer(
            campaign.config,
            problem,
            settings=settings,
            folder=training_folder(campaign.folder, iteration, arm.name),
            warm_start=_weights_to_start_from(campaign, iteration, f"train:{arm.name}"),
            transfer=Path(campaign.config.network.transfer) if campaign.config.network.transfer else None,
            progress=follow,
            noise_temperature=arm.noise_temperature,
        )
        random = np.random.default_rng(spawn_seed(campaign.config.seed, iteration, arm.name, -1))
        try:
            source.fit(records, random, processes)
        except TrainingFailed as error:
            raise SearchFailed(f"training of arm `{arm.name}` in iteration {iteration} failed: {error}") from error
    return source


def _sampling(campaign: Campaign, problem: SurfaceProblem, arm: ArmSection, weights: Path) -> GanProposer:
    """Trained weights to sample from; where a job trains on a GPU, the driver has none."""
    settings = training_settings(campaign.config)
    if campaign.config.training.submit:
        settings = replace(settings, device="cpu")
    return gan_proposer(
        campaign.config, problem, settings=settings, warm_start=weights, noise_temperature=arm.noise_temperature
    )


def _keep_samples(campaign: Campaign, problem: SurfaceProblem, source: GanProposer, iteration: int) -> None:
    """A few generated grids, for people to look at."""
    seed = spawn_seed(campaign.config.seed, iteration, "pictures", 0)
    grids, rows = source.sample_grids(N_PICTURES, {}, np.random.default_rng(seed))
    conditions = decode(rows, source.network_settings.conditions)
    write_grids(
        campaign.iteration_folder(iteration) / "samples.npz", grids.numpy(), problem.grid, conditions,
        problem.template.id,
    )  # fmt: skip


def _weights_to_start_from(campaign: Campaign, iteration: int, stage: str) -> Path | None:
    for earlier in range(iteration - 1, -1, -1):
        recorded = campaign.ledger.stage(earlier, stage)
        if recorded is not None:
            return campaign.folder / recorded["weights"]
    warm_start = campaign.config.network.warm_start
    return Path(warm_start) / WEIGHTS if warm_start else None


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
