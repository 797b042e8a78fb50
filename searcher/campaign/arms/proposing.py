"""Each arm's source of proposals, and how it is asked."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console

from generators.proposal import Condition, Proposal, Proposer
from searcher.campaign.arms.kinds import kind_of
from searcher.campaign.arms.source import Source
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Snapshot
from searcher.campaign.storage.candidate import spawn_seed
from searcher.config import ArmSection


def learn(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, arm: ArmSection, console: Console) -> Source:
    """The arm's source in an iteration; a generator trains."""
    source: Source = kind_of(arm).learn(campaign, problem, snapshot, arm, console)
    return source


def draw_proposals(
    proposer: Proposer,
    conditions: tuple[Condition, ...],
    n: int,
    *,
    seed: int,
    iteration: int,
    arm: str,
    n_before: int = 0,
    weights: Sequence[float] | None = None,
) -> list[tuple[int, Proposal]]:
    """`n` proposals, spread over the conditions that are asked for, each with the seed of its group.

    Parameters
    ----------
    seed : int
        The campaign's.
    n_before : int
        How many the arm has drawn in this iteration; conditions that had no turn go first.
    weights : sequence of float, optional
        Of the conditions; equal without.
    """
    weights = [1.0] * len(conditions) if weights is None else weights
    before, after = apportioned(weights, n_before), apportioned(weights, n_before + n)
    turn = n_before % len(conditions)
    drawn: list[tuple[int, Proposal]] = []
    for place in [*range(turn, len(conditions)), *range(turn)]:
        condition, share = conditions[place], after[place] - before[place]
        if share:
            own = spawn_seed(seed, iteration, arm, n_before + len(drawn))
            drawn += [(own, p) for p in proposer.sample(share, condition, np.random.default_rng(own))]
    return drawn


def apportioned(weights: Sequence[float], n: int) -> list[int]:
    """How many of the first `n` turns each has: the next goes to the largest weight / (2 turns so far + 1).

    Sainte-Laguë's rule (Balinski and Young, Fair Representation, 1982): no turn is taken back when `n` grows, and equal
    weights take turns in their order.
    """
    turns: np.ndarray = np.zeros(len(weights), dtype=int)
    for _ in range(n):
        turns[np.argmax(np.asarray(weights) / (2 * turns + 1))] += 1
    return [int(count) for count in turns]
