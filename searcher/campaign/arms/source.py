"""What an arm proposes from."""

from collections.abc import Callable
from dataclasses import dataclass

from generators.proposal import Condition, Proposer
from searcher.campaign.arms.knowledge import Knowledge


@dataclass(frozen=True)
class Source:
    """What an arm proposes from in one iteration.

    Attributes
    ----------
    given : callable
        The proposer, for what the arm knows by then.
    conditions : tuple of conditions
        That proposals are asked for, in turns.
    weights : tuple of float, optional
        How often, relative to each other; equally often without.
    """

    given: Callable[[Knowledge], Proposer]
    conditions: tuple[Condition, ...] = ({},)
    weights: tuple[float, ...] | None = None

    @classmethod
    def steady(
        cls,
        proposer: Proposer,
        conditions: tuple[Condition, ...] = ({},),
        weights: tuple[float, ...] | None = None,
    ) -> "Source":
        """One that what is found during the iteration does not change."""
        return cls(lambda _: proposer, conditions, weights)
