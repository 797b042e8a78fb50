"""An iteration's proposals and relaxations in waves: what one wave finds decides what the next one tries.

What a wave holds depends on nothing but the waves before it, all of which have ended: not on who finished first, nor on
where a campaign was interrupted.
"""

from collections import Counter
from collections.abc import Mapping

from searcher.campaign.arms.knowledge import Knowledge
from searcher.campaign.arms.proposing import Source, draw_proposals
from searcher.campaign.arms.screening import oxygen_count, record_proposals, select
from searcher.campaign.arms.shares import ArmPlan
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.candidate import Candidate, Gate
from searcher.config import ArmSection


def wave(
    campaign: Campaign,
    problem: SurfaceProblem,
    iteration: int,
    number: int,
    sources: Mapping[str, Source],
    knowledge: Mapping[str, Knowledge],
    plans: Mapping[str, ArmPlan],
) -> list[Candidate]:
    """The candidates that a wave relaxes, finished or not; none when no arm has calls left, or anything worth them.

    Parameters
    ----------
    sources, knowledge, plans : mapping
        By arm: what it proposes from, what it knows when the wave begins, and what it gets.
    """
    ledger = campaign.ledger
    if _recorded(campaign, iteration, number) is None:
        proposed, chosen = [], {}
        for arm in campaign.config.arms:
            if arm.name in sources:
                candidates = _proposals(campaign, problem, knowledge[arm.name], arm, sources[arm.name], plans[arm.name])
                proposed += candidates
                chosen[arm.name] = [c.id for c in candidates if c.passed == Gate.SELECTED]
        with ledger.transaction():
            ledger.add_candidates(proposed)
            ledger.finish_stage(iteration, f"wave:{number}", chosen)
    return [ledger.candidate(name) for name in _recorded(campaign, iteration, number) or ()]


def _recorded(campaign: Campaign, iteration: int, number: int) -> list[str] | None:
    """Ids that a wave relaxes, or None if it has not begun."""
    recorded = campaign.ledger.stage(iteration, f"wave:{number}")
    return None if recorded is None else [name for ids in recorded.values() for name in ids]


def _proposals(
    campaign: Campaign, problem: SurfaceProblem, known: Knowledge, arm: ArmSection, source: Source, plan: ArmPlan
) -> list[Candidate]:
    """An arm's proposals for one wave, what is worth force calls selected, everything else finished."""
    iteration = known.snapshot.iteration
    earlier = campaign.ledger.candidates(iteration=iteration, arm=arm.name)
    relaxed = [c for c in earlier if c.passed >= Gate.SELECTED]
    n_wanted = min(max(1, round(plan.share * campaign.config.budget.wave)), _affordable(campaign, relaxed, plan))
    if not n_wanted:
        return []
    n_drawn = n_wanted * arm.screening.oversampling
    drawn = draw_proposals(campaign, problem, source(known.snapshot), arm, iteration, n_drawn, len(earlier))
    with campaign.ledger.transaction():
        candidates = record_proposals(campaign, problem, iteration, arm.name, drawn, len(earlier))
    served = Counter(oxygen_count(campaign, c) for c in relaxed)
    kappa_min = campaign.config.acceptance.kappa_min
    return select(
        campaign, problem, candidates, known.basins, n_wanted, arm.screening, kappa_min, known.surrogate, served
    )


def _affordable(campaign: Campaign, relaxed: list[Candidate], plan: ArmPlan) -> int:
    """How many more relaxations, of the mean length so far, an arm's force calls pay."""
    budget = campaign.config.budget
    if not budget.spend_all or not relaxed:
        return plan.relaxations - len(relaxed)
    spent = sum(c.force_calls for c in relaxed)
    left = plan.share * budget.force_calls_per_iteration - spent
    return max(0, round(left * len(relaxed) / max(spent, len(relaxed))))
