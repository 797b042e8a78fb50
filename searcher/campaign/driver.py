"""What a command does with a campaign: run it, keep its projections up to date, train on it."""

import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from searcher.campaign.arms.gan_arm import check_settings
from searcher.campaign.arms.kinds import check_arms
from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.beginning.thickness import compare_thicknesses, print_thicknesses
from searcher.campaign.campaign import Campaign, open_campaign
from searcher.campaign.hopping.seeds import hop_for_seeds
from searcher.campaign.hopping.visited_minima import read_minima
from searcher.campaign.improvement.improving import IMPROVE, improve, take_up
from searcher.campaign.loop import run_campaign
from searcher.campaign.pretraining import pretrain
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.stopping import StopRequest, stop_before_wall_time
from searcher.campaign.storage.candidate import PREPARATION, Gate
from searcher.campaign.storage.iterations import finished_iterations
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.withheld import find_again
from searcher.campaign.workers.executor import Executor
from searcher.config import CampaignConfig, ImproveSection
from searcher.errors import EnvironmentProblem, InputError, StoppedOnRequest, storage_failed
from searcher.loading import load_recorded
from searcher.results.export import write_accepted_db
from searcher.results.report import write_report
from searcher.results.status import print_status, status
from searcher.results.tracking import Tracker, default_uri
from searcher.structures.files import read_structures, write_compressed

log = logging.getLogger(__name__)

CLOSING_S = 4.0
"""of the time to answer a request to stop: for closing workers and ledger"""
FAILED_WAIT_S = 25.0


def drive(
    config: CampaignConfig,
    stop: StopRequest,
    console: Console,
    extend: bool = False,
    forked_from: Path | None = None,
) -> None:
    """Run a campaign to its end or until it is stopped; report and MLflow follow the ledger.

    Raises
    ------
    SearcherError
        If the campaign cannot start or go on; its exit code says which kind.
    """
    if config.budget.wall_time_hours is not None:
        stop_before_wall_time(stop, config.budget.wall_time_hours)
    check_settings(config)
    check_arms(config)
    campaign = open_campaign(config, stop, extend, forked_from)
    tracker = make_tracker(campaign.folder, config)
    try:
        problem = run_campaign(campaign, console, lambda campaign, iteration: _project(campaign, tracker, console))
        _count_withheld(campaign, problem, console)
        reported = _project(campaign, tracker, console, campaign.executor)
        _end(campaign, tracker, "FINISHED")
        print_status(status(campaign.folder, campaign.ledger), console)
        if reported:
            console.print(f"report: {campaign.folder / 'report.html'}")
    except (StoppedOnRequest, KeyboardInterrupt):
        _end(campaign, tracker, "KILLED", stop.seconds_left() - CLOSING_S)
        raise
    except BaseException:
        _end(campaign, tracker, "FAILED", FAILED_WAIT_S)
        raise
    finally:
        campaign.close()


def train_on_run(
    folder: Path, out: Path, steps: int, also: Path | None, withhold: Path | None, console: Console
) -> None:
    """Train a generator on everything that a campaign has relaxed; see `pretraining`."""
    config = load_recorded(folder)
    withheld = read_structures(withhold) if withhold else []
    campaign = open_campaign(config.model_copy(update={"runs": folder.parent}), Event())
    try:
        problem = take_up(campaign, prepare(campaign, console))
        pretrain(campaign, problem, out, steps, read_minima(also) if also else [], withheld, console)
    finally:
        campaign.close()


def improve_run(folder: Path, changes: Mapping[str, Any], console: Console) -> None:
    """Improve a campaign's potential after its last finished iteration; `searcher run --extend` goes on with it.

    Parameters
    ----------
    changes : mapping
        Keys of `improve` that are to differ from the campaign's configuration.

    Raises
    ------
    InputError
        If no iteration is finished, the last one was improved on already, or settings are missing.
    """
    config = load_recorded(folder)
    try:
        section = ImproveSection.model_validate({**config.improve.model_dump(), **changes})
    except ValidationError as error:
        raise InputError(f"`improve`: {error.errors()[0]['msg']}") from None
    campaign = open_campaign(config.model_copy(update={"runs": folder.parent}), Event())
    try:
        finished = finished_iterations(campaign.ledger)
        if not finished:
            raise InputError(f"`{folder}` has no finished iteration to learn from; `searcher run` goes on")
        if campaign.ledger.stage(finished[-1], IMPROVE) is not None:
            raise InputError(f"`{folder}` was improved after iteration {finished[-1]}; `searcher run --extend` goes on")
        problem = take_up(campaign, prepare(campaign, console))
        improve(campaign, problem, finished[-1], section, console)
    finally:
        campaign.close()


def write_seeds(
    config: CampaignConfig,
    out: Path,
    method: str,
    steps: int,
    lowest: int | None,
    snapshots: bool,
    console: Console,
) -> None:
    """Write every termination of the facet that stays valid when relaxed, or what basin hopping finds from there."""
    campaign = open_campaign(config, Event())
    try:
        problem = prepare(campaign, console)
        if method == "basin-hopping":
            hop_for_seeds(campaign, problem, out, steps, lowest, snapshots, console)
            return
        frames = []
        for candidate in campaign.ledger.candidates(iteration=PREPARATION, arm="seed", reached=Gate.VALID_RELAXED):
            atoms = campaign.ledger.structure(str(candidate.relaxed))
            atoms.info["label"] = candidate.label
            atoms.info["gamma_zero_eV_per_A2"] = candidate.gamma_zero
            atoms.info["gamma_slope_per_A2"] = candidate.gamma_slope
            frames.append(atoms)
        write_compressed(out, frames)
        console.print(f"{len(frames)} seeds: {out}")
    finally:
        campaign.close()


def check_thickness(config: CampaignConfig, console: Console) -> None:
    """Print γ of the facet's terminations by the thickness of the frozen part."""
    campaign = open_campaign(config, Event())
    try:
        problem = prepare(campaign, console)
        print_thicknesses(compare_thicknesses(campaign, problem), problem.delta_mu_o, console)
    finally:
        campaign.close()


def synchronise(folder: Path) -> None:
    """Bring MLflow up to date with a campaign's ledger, however long it takes.

    Raises
    ------
    EnvironmentProblem
        If the store cannot be reached.
    """
    ledger = Ledger.of_run(folder)
    state, ended = status(folder, ledger)["state"], ledger.fact("ended", "KILLED")
    ledger.close()
    config = load_recorded(folder)
    tracker = make_tracker(folder, config.model_copy(update={"runs": folder.parent}))
    if not tracker.project({"running": "RUNNING", "finished": "FINISHED"}.get(state, ended)):
        raise EnvironmentProblem("MLflow is not up to date; nothing is lost, since the ledger holds it all")


def make_tracker(folder: Path, config: CampaignConfig) -> Tracker:
    """The configured way to MLflow."""
    return Tracker(
        folder, config.tracking.uri or default_uri(config.runs), config.tracking.experiment, config.tracking.enabled
    )


def _end(campaign: Campaign, tracker: Tracker, status: str, wait_s: float | None = None) -> None:
    try:
        with campaign.ledger.transaction():
            campaign.ledger.set_fact("ended", status)
    except (OSError, sqlite3.Error) as error:
        if status == "FINISHED":
            raise
        # a full disk may be why it ends
        log.warning("how the campaign ended could not be recorded: %s", error)
    tracker.update(status, wait_s)


def _count_withheld(campaign: Campaign, problem: SurfaceProblem, console: Console) -> None:
    found = find_again(campaign, problem)
    if found:
        with campaign.ledger.transaction():
            campaign.ledger.set_fact("withheld", found)
        again = sum(entry["found_by"] is not None for entry in found)
        console.print(f"{again} of {len(found)} terminations that training never saw were found again")


def _project(campaign: Campaign, tracker: Tracker, console: Console, executor: Executor | None = None) -> bool:
    """Bring what hangs on the ledger up to date; whether the report is."""
    write_accepted_db(campaign.folder, campaign.ledger)
    reported = report_or_tell(campaign, console, executor)
    tracker.update("RUNNING")
    return reported


def report_or_tell(campaign: Campaign, console: Console, executor: Executor | None = None) -> bool:
    """Write the report; whatever goes wrong in it is told and ends no campaign, since it is only a view of the ledger.

    Returns
    -------
    bool
        Whether it was written.

    Raises
    ------
    StoppedOnRequest
        If the campaign is asked to stop meanwhile.
    OSError, sqlite3.Error
        If the disk is full, read-only or broken, or the ledger cannot be read.
    """
    try:
        write_report(campaign.folder, campaign.ledger, executor)
    except StoppedOnRequest:
        raise
    except Exception as error:
        if storage_failed(error):
            raise
        told = (
            f"the report of {campaign.folder} could not be written "
            f"({type(error).__name__}: {' '.join(str(error).split())}); nothing else depends on it, and "
            f"`searcher report {campaign.folder}` tries again"
        )
        log.warning("%s", told)
        console.print(f"warning: {told}", markup=False, highlight=False, soft_wrap=True)
        return False
    return True
