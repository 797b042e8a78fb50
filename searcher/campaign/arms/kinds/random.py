"""Arms of kind `random`."""

import numpy as np
from rich.console import Console

from generators.random_placement import RandomPlacement
from searcher.campaign.arms.source import Source
from searcher.campaign.arms.training_records import training_records
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Snapshot
from searcher.config.arm_kinds.random import RandomArm


def learn(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, arm: RandomArm, console: Console) -> Source:
    """Random insertion; compositions, or where metal is, from the training set if so configured."""
    source = RandomPlacement(problem.template, dict(problem.counts), problem.minimum_distances)
    records = training_records(campaign, problem, snapshot)
    if arm.composition == "training":
        source.fit(records, np.random.default_rng(0))
    if arm.metal == "training":
        source.keep_metal(records)
    return Source.steady(source)
