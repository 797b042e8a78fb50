"""The search itself: iterations until a budget or a stop rule ends it."""

import time
from collections.abc import Callable

from rich.console import Console
from threadpoolctl import threadpool_limits

from generators.training.resumable import torch_threads
from searcher.campaign import stages
from searcher.campaign.arms.shares import plan
from searcher.campaign.beginning.inheritance import inherit
from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.campaign import Campaign
from searcher.campaign.improvement.improving import improve, take_up
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import take_snapshot
from searcher.campaign.stopping import stop_if_asked
from searcher.campaign.storage.candidate import PREPARATION
from searcher.campaign.storage.iterations import LAST_STAGE
from searcher.campaign.storage.retention import require_space, sweep

AfterIteration = Callable[[Campaign, int], object]


def run_campaign(campaign: Campaign, console: Console, after_iteration: AfterIteration) -> SurfaceProblem:
    """Go on from what the ledger holds until the configured number of iterations is done.

    Parameters
    ----------
    after_iteration : callable
        Called when the preparation (iteration −1) or an iteration has ended, for what hangs on the ledger.

    Raises
    ------
    StoppedOnRequest
        If a signal or the wall time asked for it; everything finished is recorded.
    """
    # last digits depend on how many threads share a matrix product, and must not depend on OMP_NUM_THREADS
    training_threads = campaign.config.execution.training_threads
    with threadpool_limits(limits=1, user_api="blas"), torch_threads(training_threads):
        return _go_on(campaign, console, after_iteration)


def _go_on(campaign: Campaign, console: Console, after_iteration: AfterIteration) -> SurfaceProblem:
    problem = take_up(campaign, prepare(campaign, console))
    _inherit(campaign, problem, console)
    after_iteration(campaign, -1)
    for iteration in range(campaign.config.budget.iterations):
        if campaign.ledger.stage(iteration, LAST_STAGE) is not None:
            continue
        stop_if_asked(campaign.stop)
        require_space(campaign.folder, campaign.config.keep.free_gib)
        console.print(f"[bold]iteration {iteration}[/bold]")
        began = time.monotonic()
        snapshot = take_snapshot(campaign.ledger, iteration, campaign.line_of)
        plans = plan(campaign, iteration)
        sources = stages.learn_sources(campaign, problem, snapshot, plans, console)
        stages.search(campaign, problem, snapshot, sources, plans, console)
        stages.judge_iteration(campaign, problem, snapshot, console)
        if campaign.config.improve.due(iteration):
            stop_if_asked(campaign.stop)
            problem = improve(campaign, problem, iteration, campaign.config.improve, console)
        with campaign.ledger.transaction():
            campaign.ledger.finish_stage(
                iteration, LAST_STAGE, {"snapshot": snapshot.hash, "seconds": round(time.monotonic() - began, 1)}
            )
        sweep(campaign.folder, campaign.ledger, campaign.config.keep)
        after_iteration(campaign, iteration)
    return problem


def _inherit(campaign: Campaign, problem: SurfaceProblem, console: Console) -> None:
    if campaign.ledger.stage(PREPARATION, "inherit") is not None:
        return
    with campaign.ledger.transaction():
        count = inherit(campaign, problem)
        campaign.ledger.finish_stage(PREPARATION, "inherit", {"count": count})
    if count:
        console.print(f"{count} minima from {campaign.ledger.fact('forked_from')['folder']} count as known")
