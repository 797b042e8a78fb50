"""Which part of an iteration's force calls each arm gets: as configured, or in part as arms earn them."""

from collections.abc import Mapping
from dataclasses import dataclass

from searcher.campaign.campaign import Campaign
from searcher.campaign.storage.candidate import Gate, Verdict

RECENT = 3
"""Iterations that count: what was easy to find at first says little of what an arm still finds."""
PRIOR = 2.0
"""Accepted candidates, at the cost of all arms together, that every arm is credited with before it has any."""


@dataclass(frozen=True)
class ArmPlan:
    """What an arm gets in an iteration.

    Attributes
    ----------
    share : float
        Of the force calls.
    relaxations : int
        That these pay if relaxations are as long as they were so far.
    """

    share: float
    relaxations: int


def plan(campaign: Campaign, iteration: int) -> dict[str, ArmPlan]:
    """What each arm that takes part gets, decided once."""
    recorded = campaign.ledger.stage(iteration, "plan")
    if recorded is None:
        recorded = {
            arm: {"share": share, "relaxations": _relaxations(campaign, arm, share, iteration)}
            for arm, share in shares(campaign, iteration).items()
        }
        with campaign.ledger.transaction():
            campaign.ledger.finish_stage(iteration, "plan", recorded)
    return {arm: ArmPlan(**fields) for arm, fields in recorded.items()}


def leading(campaign: Campaign, plans: Mapping[str, ArmPlan]) -> str | None:
    """The arm with the largest share; a control arm only where there is no other."""
    control = campaign.config.control_arms
    return max(plans, key=lambda arm: (arm not in control, plans[arm].share), default=None)


def handed_over(campaign: Campaign, iteration: int, plans: Mapping[str, ArmPlan]) -> dict[str, ArmPlan]:
    """Plans by which the leading arm gets what the others have found no use for, decided once."""
    ledger, first = campaign.ledger, leading(campaign, plans)
    recorded = ledger.stage(iteration, "handed over")
    if recorded is None:
        recorded = {}
        for arm in plans:
            if arm != first:
                tried = ledger.candidates(iteration=iteration, arm=arm, reached=Gate.SELECTED)
                spent = sum(c.force_calls for c in tried) / campaign.config.budget.force_calls_per_iteration
                recorded[arm] = {"share": min(spent, plans[arm].share), "relaxations": len(tried)}
        rest = 1.0 - sum(plan["share"] for plan in recorded.values())
        recorded |= {arm: {"share": rest, "relaxations": plans[arm].relaxations} for arm in plans if arm == first}
        with ledger.transaction():
            ledger.finish_stage(iteration, "handed over", recorded)
    return {arm: ArmPlan(**recorded[arm]) for arm in plans}


def shares(campaign: Campaign, iteration: int) -> dict[str, float]:
    """Of an iteration's force calls, by the arms that take part in it; together 1.

    With `budget.earned` the arms that feed training share that part of theirs in proportion to what they accepted per
    force call lately (probability matching, Thierens, Proc. GECCO 2005, 1539); a control arm keeps its own.
    """
    config = campaign.config
    active = {arm.name: arm.share for arm in config.arms if arm.first_iteration <= iteration}
    given = {arm: share / sum(active.values()) for arm, share in active.items()}
    learning = [arm for arm in given if arm not in config.control_arms]
    rates = _rates(campaign, learning, iteration)
    together, earned = sum(given[arm] for arm in learning), config.budget.earned
    for arm in learning:
        given[arm] = (1 - earned) * given[arm] + earned * together * rates[arm] / sum(rates.values())
    return given


def _rates(campaign: Campaign, arms: list[str], iteration: int) -> Mapping[str, float]:
    """Accepted per force call in the last iterations, each arm's drawn towards that of all arms together."""
    accepted, calls = dict.fromkeys(arms, 0), dict.fromkeys(arms, 0)
    for arm in arms:
        for earlier in range(max(0, iteration - RECENT), iteration):
            tried = campaign.ledger.candidates(iteration=earlier, arm=arm, reached=Gate.SELECTED)
            accepted[arm] += sum(c.verdict == Verdict.ACCEPTED for c in tried)
            calls[arm] += sum(c.force_calls for c in tried)
    price = max(1.0, sum(calls.values()) / max(1, sum(accepted.values())))
    return {arm: (accepted[arm] + PRIOR) / (calls[arm] + PRIOR * price) for arm in arms}


def _relaxations(campaign: Campaign, arm: str, share: float, iteration: int) -> int:
    budget = campaign.config.budget
    earlier = campaign.ledger.candidates(arm=arm, before=iteration, reached=Gate.SELECTED)
    calls = [c.force_calls for c in earlier if c.force_calls]
    mean = sum(calls) / len(calls) if calls else budget.expected_calls_per_relaxation
    return max(1, round(share * budget.force_calls_per_iteration / mean))
