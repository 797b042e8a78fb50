"""The steps of one iteration; each finds out from the ledger whether it is already done."""

from collections.abc import Mapping
from itertools import count
from typing import Any

from rich.console import Console

from searcher.campaign.arms.knowledge import Knowledge
from searcher.campaign.arms.known import describe_known, known_to, of_interest
from searcher.campaign.arms.proposing import learn
from searcher.campaign.arms.shares import ArmPlan, handed_over
from searcher.campaign.arms.source import Source
from searcher.campaign.arms.waves import outcomes_before, outcomes_of_wave, wave
from searcher.campaign.campaign import Campaign
from searcher.campaign.early_stopping import EARLY_REASONS, StopPlan, plan_stops
from searcher.campaign.judging import judge
from searcher.campaign.prerelaxation.fitting import surrogate_potential
from searcher.campaign.prerelaxation.waiting import begun, end_waiting
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.progress import counting
from searcher.campaign.relaxing import relax_candidates
from searcher.campaign.snapshot import Snapshot, found_among, tried_among
from searcher.campaign.stopping import stop_if_asked
from searcher.campaign.storage.candidate import Gate, Verdict


def learn_sources(
    campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, plans: Mapping[str, ArmPlan], console: Console
) -> dict[str, Source]:
    """What each arm that takes part proposes from; a generator trains."""
    if campaign.ledger.stage(snapshot.iteration, "relax") is not None:
        return {}
    arms = [arm for arm in campaign.config.arms if arm.name in plans]
    return {arm.name: learn(campaign, problem, snapshot, arm, console) for arm in arms}


def search(
    campaign: Campaign,
    problem: SurfaceProblem,
    snapshot: Snapshot,
    sources: Mapping[str, Source],
    plans: Mapping[str, ArmPlan],
    console: Console,
) -> None:
    """Propose and relax, wave by wave, until each arm's force calls are spent.

    Parameters
    ----------
    plans : mapping of str to ArmPlan
        By arm, what it gets.

    Raises
    ------
    StoppedOnRequest
        Between two waves or relaxations, if asked for.
    """
    iteration, ledger = snapshot.iteration, campaign.ledger
    if ledger.stage(iteration, "relax") is not None:
        return
    before = ledger.candidates(iteration=iteration, reached=Gate.SELECTED)
    with counting(console, "force calls", campaign.config.budget.force_calls_per_iteration) as advance:
        advance(sum(c.force_calls for c in before))
        knowledge = _knowledge(campaign, problem, snapshot, plans)
        surrogate, current = surrogate_potential(campaign, iteration, console), plans
        for number in count():
            stop_if_asked(campaign.stop)
            chosen = wave(campaign, problem, iteration, number, sources, knowledge, current, surrogate)
            if not chosen:
                if current is not plans or not campaign.config.budget.spend_all:
                    break
                current = handed_over(campaign, iteration, plans)
                continue
            waiting = [c for c in chosen if not c.finished and c.passed == Gate.SELECTED]
            if waiting:
                relax_candidates(campaign, problem, waiting, advance, _stops(campaign, problem, knowledge))
            ids, control = [c.id for c in chosen], campaign.config.control_arms
            found, tried = found_among(ledger, ids, campaign.line_of), tried_among(ledger, ids)
            outcomes = outcomes_of_wave(campaign, iteration, number)
            for known, arm in {known: arm for arm, known in knowledge.items()}.items():
                known.learn(
                    of_interest(found, arm, control),
                    of_interest(tried, arm, control),
                    of_interest(outcomes, arm, control),
                    of_interest(begun(campaign, iteration, number), arm, control),
                )
    with ledger.transaction():
        end_waiting(campaign, iteration)
        ledger.finish_stage(iteration, "relax", {arm: _savings(campaign, iteration, arm) for arm in plans})
    for arm in plans:
        proposed, decoded, valid, relaxed = (
            len(ledger.candidates(iteration=iteration, arm=arm, reached=gate))
            for gate in (Gate.PROPOSED, Gate.DECODED, Gate.VALID, Gate.SELECTED)
        )
        console.print(f"  {arm}: {proposed} proposed, {decoded} decoded, {valid} valid, {relaxed} relaxed")


def _knowledge(
    campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, plans: Mapping[str, ArmPlan]
) -> dict[str, Knowledge]:
    """By arm, what it knows when the iteration begins; arms that know the same share it."""
    control, shared = campaign.config.control_arms, {}
    outcomes = outcomes_before(campaign, snapshot.iteration)
    knowledge = {}
    for arm in campaign.config.arms:
        if arm.name in plans:
            alike = (arm.name if arm.name in control else None, arm.screening.known_basins, arm.screening.surrogate)
            if alike not in shared:
                known = known_to(snapshot, arm.name, control)
                shared[alike] = Knowledge(
                    campaign, problem, known, arm.screening, of_interest(outcomes, arm.name, control)
                )
            knowledge[arm.name] = shared[alike]
    return knowledge


def _stops(campaign: Campaign, problem: SurfaceProblem, knowledge: Mapping[str, Knowledge]) -> dict[str, StopPlan]:
    """By arm, what ends a relaxation early."""
    arms = [arm for arm in campaign.config.arms if arm.name in knowledge]
    return {arm.name: plan_stops(campaign, problem, knowledge[arm.name].snapshot, arm.stopping) for arm in arms}


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
        known = describe_known(campaign, problem, known_to(snapshot, arm.name, campaign.config.control_arms), False)
        judged += judge(campaign, problem, minima, known)
    accepted = sum(c.verdict == Verdict.ACCEPTED for c in judged)
    with ledger.transaction():
        for candidate in judged:
            ledger.update_candidate(candidate)
        ledger.finish_stage(iteration, "judge", {"judged": len(judged), "accepted": accepted})
    console.print(f"  {len(judged)} valid minima, {accepted} accepted")
