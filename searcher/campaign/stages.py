"""The steps of one iteration; each finds out from the ledger whether it is already done."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from searcher.campaign.arms.known import describe_known, known_to
from searcher.campaign.arms.proposing import draw_proposals, learn
from searcher.campaign.arms.ranking import learn_heights
from searcher.campaign.arms.screening import record_proposals, select
from searcher.campaign.arms.waves import drop_rest, planned, shares, waves
from searcher.campaign.campaign import Campaign
from searcher.campaign.early_stopping import EARLY_REASONS, plan_stops
from searcher.campaign.judging import judge
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.progress import counting
from searcher.campaign.relaxing import relax_candidates
from searcher.campaign.snapshot import Snapshot
from searcher.campaign.storage.candidate import Gate, Verdict
from searcher.config import ArmSection


def plan(campaign: Campaign, iteration: int) -> dict[str, int]:
    """How many relaxations each arm that takes part gets, so that force calls are shared as configured."""
    recorded = campaign.ledger.stage(iteration, "plan")
    if recorded is None:
        recorded = {
            arm: _relaxations(campaign, arm, share, iteration) for arm, share in shares(campaign, iteration).items()
        }
        with campaign.ledger.transaction():
            campaign.ledger.finish_stage(iteration, "plan", recorded)
    return {name: int(count) for name, count in recorded.items()}


def _relaxations(campaign: Campaign, arm: str, share: float, iteration: int) -> int:
    budget = campaign.config.budget
    earlier = campaign.ledger.candidates(arm=arm, before=iteration, reached=Gate.SELECTED)
    calls = [c.force_calls for c in earlier if c.force_calls]
    mean = sum(calls) / len(calls) if calls else budget.expected_calls_per_relaxation
    return max(1, round(share * budget.force_calls_per_iteration / mean))


def propose(
    campaign: Campaign,
    problem: SurfaceProblem,
    snapshot: Snapshot,
    arm: ArmSection,
    n_relaxations: int,
    console: Console,
) -> None:
    """Train the arm's source if it learns, draw proposals, and choose which of them are relaxed."""
    iteration, ledger = snapshot.iteration, campaign.ledger
    if ledger.stage(iteration, f"propose:{arm.name}") is not None:
        return
    source = learn(campaign, problem, snapshot, arm, console)
    proposals = draw_proposals(campaign, problem, source, arm, iteration, n_relaxations * arm.screening.oversampling)
    own = known_to(snapshot, arm.name, control_arms(campaign))
    known = describe_known(campaign, problem, own, arm.screening.known_basins)
    surrogate = learn_heights(campaign, problem, own) if arm.screening.surrogate else None
    with ledger.transaction():
        candidates = record_proposals(campaign, problem, iteration, arm.name, proposals)
        kappa_min, n_ready = campaign.config.acceptance.kappa_min, planned(campaign, n_relaxations)
        chosen = select(campaign, problem, candidates, known, n_ready, arm.screening, kappa_min, surrogate)
        ledger.add_candidates(chosen.candidates)
        gates = [gate for gate in Gate if gate < Gate.SELECTED]
        counts = {gate.name.lower(): sum(c.passed >= gate for c in chosen.candidates) for gate in gates}
        counts["ready"] = len(chosen.order)
        ledger.finish_stage(iteration, f"order:{arm.name}", {"ids": chosen.order})
        ledger.finish_stage(iteration, f"propose:{arm.name}", counts)
    console.print(
        f"  {arm.name}: {counts['proposed']} proposed, {counts['decoded']} decoded, {counts['valid']} valid, "
        f"{counts['ready']} worth a relaxation"
    )


def relax(
    campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, wanted: Mapping[str, int], console: Console
) -> None:
    """Relax, wave by wave, what deserves it, until each arm's force calls are spent.

    Parameters
    ----------
    wanted : mapping of str to int
        By arm, what `plan` said.
    """
    iteration, ledger = snapshot.iteration, campaign.ledger
    if ledger.stage(iteration, "relax") is not None:
        return
    orders = {arm: _order(campaign, iteration, arm) for arm in wanted}
    stops = {
        arm.name: plan_stops(campaign, problem, known_to(snapshot, arm.name, control_arms(campaign)), arm.stopping)
        for arm in campaign.config.arms
    }
    for waiting in waves(campaign, iteration, orders, wanted):
        if waiting:
            with counting(console, "relaxing", len(waiting)) as advance:
                relax_candidates(campaign, problem, waiting, advance, stops)
    drop_rest(campaign, iteration, orders)
    with ledger.transaction():
        ledger.finish_stage(iteration, "relax", {arm: _savings(campaign, iteration, arm) for arm in orders})


def _order(campaign: Campaign, iteration: int, arm: str) -> list[str]:
    recorded = campaign.ledger.stage(iteration, f"order:{arm}")
    return [] if recorded is None else recorded["ids"]


def _savings(campaign: Campaign, iteration: int, arm: str) -> dict[str, Any]:
    """What each early stop is thought to have saved: the mean length of converged relaxations less what it took."""
    relaxed = campaign.ledger.candidates(iteration=iteration, arm=arm, reached=Gate.SELECTED)
    whole = [c.force_calls for c in relaxed if c.passed >= Gate.CONVERGED]
    mean = sum(whole) / len(whole) if whole else 0.0
    saved = {
        reason: sum(max(0.0, mean - c.force_calls) for c in relaxed if c.reason == reason) for reason in EARLY_REASONS
    }
    spent = sum(c.force_calls for c in relaxed)
    return {"force_calls": spent, "saved": {reason: round(calls, 1) for reason, calls in saved.items()}}


def judge_iteration(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, console: Console) -> None:
    """Verdicts on everything that relaxed to a valid minimum, arm by arm, in one transaction."""
    iteration, ledger = snapshot.iteration, campaign.ledger
    if ledger.stage(iteration, "judge") is not None:
        return
    judged = []
    for arm in campaign.config.arms:
        minima = ledger.candidates(iteration=iteration, arm=arm.name, verdict=Verdict.OPEN, reached=Gate.VALID_RELAXED)
        known = describe_known(campaign, problem, known_to(snapshot, arm.name, control_arms(campaign)), False)
        judged += judge(campaign, problem, minima, known)
    accepted = sum(c.verdict == Verdict.ACCEPTED for c in judged)
    with ledger.transaction():
        for candidate in judged:
            ledger.update_candidate(candidate)
        ledger.finish_stage(iteration, "judge", {"judged": len(judged), "accepted": accepted})
    console.print(f"  {len(judged)} valid minima, {accepted} accepted")


def control_arms(campaign: Campaign) -> list[str]:
    """Arms that are there for comparison: what they find is not learned from."""
    return [arm.name for arm in campaign.config.arms if not arm.feeds_training]
