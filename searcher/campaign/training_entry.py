"""What a training job runs: it reads a campaign that a driver works on, and trains one arm of one iteration."""

from pathlib import Path
from threading import Event

from rich.console import Console

from generators.learned import WEIGHTS_NAME
from generators.training.processes import join_processes, leave_processes
from searcher.campaign.arms.kinds import kind_of
from searcher.campaign.arms.learned import fit
from searcher.campaign.arms.training_job import Metric, alone_in, finished, leave, training_folder
from searcher.campaign.arms.training_records import training_records
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
    trained = (arm for arm in campaign.config.arms if arm.name == arm_name and hasattr(kind_of(arm), "learner"))
    if (arm := next(trained, None)) is None or campaign.ledger.stage(iteration, "plan") is None:
        raise InputError(f"`{folder}` has no arm `{arm_name}` that trains in iteration {iteration}")
    place = training_folder(campaign.folder, iteration, arm.name)
    weights = place / WEIGHTS_NAME
    place.mkdir(parents=True, exist_ok=True)
    problem = take_up(campaign, recorded_problem(campaign.ledger))
    learner = kind_of(arm).learner(campaign, problem, arm)
    processes = join_processes(learner.device)
    lock = alone_in(place)
    if processes.first:
        lock.acquire()
    processes.wait()
    try:
        if finished(place, weights) is not None:
            return
        snapshot = take_snapshot(campaign.ledger, iteration, campaign.line_of)
        records = training_records(campaign, problem, snapshot)
        metrics: list[Metric] = []
        source = fit(campaign, problem, snapshot, arm, learner, records, metrics, console, processes)
        if processes.first:
            leave(place, metrics, weights, [finding.as_dict() for finding in source.findings])
    finally:
        leave_processes()
        lock.release()
