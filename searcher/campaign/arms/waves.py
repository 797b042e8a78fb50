"""An iteration's relaxations in waves, so that calls that early stops leave over go to further proposals.

What a wave holds depends on nothing but the waves before it, all of which have ended: not on who finished first, nor on
where a campaign was interrupted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from searcher.campaign.arms.screening import NOT_SELECTED
from searcher.campaign.campaign import Campaign
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict

RESERVE = 3
"""Times as many proposals are kept ready as would be relaxed if none stopped early."""
FIRST_SHARE = 0.6
"""Of the budget that the first wave may be expected to spend; what it really spends says how large the next may be."""


def shares(campaign: Campaign, iteration: int) -> dict[str, float]:
    """Of an iteration's force calls, by the arms that take part in it; together 1."""
    active = {arm.name: arm.share for arm in campaign.config.arms if arm.first_iteration <= iteration}
    return {arm: share / sum(active.values()) for arm, share in active.items()}


def planned(campaign: Campaign, n_relaxations: int) -> int:
    """How many proposals an arm keeps ready."""
    return n_relaxations * RESERVE if campaign.config.budget.spend_all else n_relaxations


def waves(
    campaign: Campaign, iteration: int, orders: Mapping[str, list[str]], wanted: Mapping[str, int]
) -> Iterator[list[Candidate]]:
    """The candidates to relax next, wave by wave; each must be relaxed before the next is asked for.

    Parameters
    ----------
    orders : mapping of str to list of str
        By arm, ids in the order in which they deserve force calls.
    wanted : mapping of str to int
        By arm, relaxations of the length that was met so far which its share of the force calls pays.
    """
    number = 0
    while True:
        recorded = campaign.ledger.stage(iteration, f"wave:{number}")
        if recorded is None:
            chosen = {arm: _next(campaign, iteration, arm, order, wanted[arm]) for arm, order in orders.items()}
            if not any(chosen.values()):
                return
            _record(campaign, iteration, number, chosen)
            recorded = chosen
        yield [
            candidate
            for ids in recorded.values()
            for candidate in map(campaign.ledger.candidate, ids)
            if not candidate.finished and candidate.passed == Gate.SELECTED
        ]
        number += 1


def drop_rest(campaign: Campaign, iteration: int, orders: Mapping[str, list[str]]) -> None:
    """End what no force call was left for."""
    with campaign.ledger.transaction():
        for candidate in (campaign.ledger.candidate(name) for order in orders.values() for name in order):
            if not candidate.finished and candidate.passed < Gate.SELECTED:
                left = replace(candidate, verdict=Verdict.REJECTED, reason=NOT_SELECTED)
                campaign.ledger.update_candidate(left)


def _next(campaign: Campaign, iteration: int, arm: str, order: list[str], wanted: int) -> list[str]:
    """Ids of an arm's next wave; empty when its calls are spent."""
    candidates = [campaign.ledger.candidate(name) for name in order]
    relaxed = [c for c in candidates if c.passed >= Gate.SELECTED]
    waiting = [c.id for c in candidates if not c.finished and c.passed < Gate.SELECTED]
    if not campaign.config.budget.spend_all:
        return waiting if not relaxed else []
    if not relaxed:
        return waiting[: max(1, round(FIRST_SHARE * wanted))]
    left = shares(campaign, iteration)[arm] * campaign.config.budget.force_calls_per_iteration - sum(
        c.force_calls for c in relaxed
    )
    mean = max(1.0, sum(c.force_calls for c in relaxed) / len(relaxed))
    return waiting[: max(0, round(left / mean))]


def _record(campaign: Campaign, iteration: int, number: int, chosen: Mapping[str, list[str]]) -> None:
    with campaign.ledger.transaction():
        for ids in chosen.values():
            for candidate in map(campaign.ledger.candidate, ids):
                campaign.ledger.update_candidate(replace(candidate, passed=Gate.SELECTED))
        campaign.ledger.finish_stage(iteration, f"wave:{number}", chosen)
