"""What a training job runs: it reads a campaign that a driver works on, and trains one arm of one iteration."""

from pathlib import Path
from threading import Event

from rich.console import Console

from generators.gan import WEIGHTS_NAME
from generators.training.processes import join_processes, leave_processes
from searcher.campaign.arms.gan_arm import fit, training_settings
from searcher.campaign.arms.proposing import training_records
from searcher.campaign.arms.training_job import Metric, alone_in, finished, leave, training_folder
from searcher.campaign.beginning.preparation import recorded_problem
from searcher.campaign.campaign import read_campaign
from searcher.campaign.improvement.improving import take_up
from searcher.campaign.snapshot import take_snapshot
from searcher.errors import InputError


def train_iteration(folder: Path, iteration: int, arm_name: str, stop: Event, console: Console) -> None:
    """Train in the iteration's folder, from the last checkpoint there; under `torchrun` with its other processes.

    Raises
    ------
    InputError
        If the campaign has no such arm or iteration under way.
    StoppedOnRequest
        Between two steps, if asked for.
    """
    campaign = read_campaign(folder, stop)
    arm = next((arm for arm in campaign.config.arms if arm.name == arm_name and arm.kind == "gan"), None)
    if arm is None or campaign.ledger.stage(iteration, "plan") is None:
        raise InputError(f"`{folder}` has no arm `{arm_name}` that trains in iteration {iteration}")
    place = training_folder(campaign.folder, iteration, arm.name)
    weights = place / WEIGHTS_NAME
    place.mkdir(parents=True, exist_ok=True)
    processes = join_processes(training_settings(campaign.config).device)
    lock = alone_in(place)
    if processes.first:
        lock.acquire()
    processes.wait()
    try:
        if finished(place, weights) is not None:
            return
        problem = take_up(campaign, recorded_problem(campaign.ledger))
        snapshot = take_snapshot(campaign.ledger, iteration, campaign.line_of)
        records = training_records(campaign, problem, snapshot)
        metrics: list[Metric] = []
        source = fit(campaign, problem, snapshot, arm, records, metrics, console, processes)
        if processes.first:
            leave(place, metrics, weights, [finding.as_dict() for finding in source.findings])
    finally:
        leave_processes()
        lock.release()
