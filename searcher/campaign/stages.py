"""The steps of one iteration; each finds out from the ledger whether it is already done."""

from rich.console import Console

from searcher.campaign.campaign import Campaign
from searcher.campaign.candidate import Gate, Verdict
from searcher.campaign.early_stopping import plan_stops
from searcher.campaign.judging import judge
from searcher.campaign.known import describe_known, known_to
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.progress import counting
from searcher.campaign.proposing import draw_proposals, learn
from searcher.campaign.relaxing import relax_candidates
from searcher.campaign.screening import record_proposals, select
from searcher.campaign.snapshot import Snapshot
from searcher.config import ArmSection


def plan(campaign: Campaign, iteration: int) -> dict[str, int]:
    """How many relaxations each arm that takes part gets, so that force calls are shared as configured."""
    recorded = campaign.ledger.stage(iteration, "plan")
    if recorded is None:
        active = [arm for arm in campaign.config.arms if arm.first_iteration <= iteration]
        total = sum(arm.share for arm in active)
        recorded = {arm.name: _relaxations(campaign, arm, arm.share / total, iteration) for arm in active}
        with campaign.ledger.transaction():
            campaign.ledger.finish_stage(iteration, "plan", recorded)
    return {name: int(count) for name, count in recorded.items()}


def _relaxations(campaign: Campaign, arm: ArmSection, share: float, iteration: int) -> int:
    budget = campaign.config.budget
    earlier = campaign.ledger.candidates(arm=arm.name, before=iteration, reached=Gate.SELECTED)
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
    known = describe_known(
        campaign, problem, known_to(snapshot, arm.name, control_arms(campaign)), arm.screening.known_basins
    )
    with ledger.transaction():
        candidates = record_proposals(campaign, problem, iteration, arm.name, proposals)
        kappa_min = campaign.config.acceptance.kappa_min
        decided = select(campaign, problem, candidates, known, n_relaxations, arm.screening, kappa_min)
        ledger.add_candidates(decided)
        counts = {gate.name.lower(): sum(c.passed >= gate for c in decided) for gate in Gate if gate <= Gate.SELECTED}
        ledger.finish_stage(iteration, f"propose:{arm.name}", counts)
    console.print(
        f"  {arm.name}: {counts['proposed']} proposed, {counts['decoded']} decoded, {counts['valid']} valid, "
        f"{counts['selected']} chosen"
    )


def relax(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, console: Console) -> None:
    """Relax everything that was chosen and has no result yet."""
    iteration = snapshot.iteration
    waiting = [
        c
        for c in campaign.ledger.candidates(iteration=iteration, verdict=Verdict.OPEN, reached=Gate.SELECTED)
        if c.passed == Gate.SELECTED
    ]
    if not waiting:
        return
    stops = {
        arm.name: plan_stops(campaign, problem, known_to(snapshot, arm.name, control_arms(campaign)), arm.stopping)
        for arm in campaign.config.arms
    }
    with counting(console, "relaxing", len(waiting)) as advance:
        relax_candidates(campaign, problem, waiting, advance, stops)


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
