"""Arms of kind `hopping`."""

import math

import numpy as np
from rich.console import Console

from generators.moved_terminations import MovedTerminations, MoveSettings
from generators.proposal import TrainingRecord
from searcher.campaign.arms.source import Source
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Snapshot
from searcher.config.arm_kinds.hopping import HoppingArm
from searcher.scoring.thermodynamics import Envelope

MEV = 1e-3


def learn(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, arm: HoppingArm, console: Console) -> Source:
    """Moves, which begin at whatever is known when they are made."""
    return Source(lambda known: _moves(campaign, problem, known.snapshot, arm))


def _moves(campaign: Campaign, problem: SurfaceProblem, known: Snapshot, arm: HoppingArm) -> MovedTerminations:
    """Moves from everything that the arm knows, most often from what lies near the envelope."""
    envelope = Envelope(known.lines, problem.delta_mu_o_range)
    parents = []
    for termination in known.known:
        numbers, positions = problem.template.free_part(campaign.ledger.structure(termination.structure))
        if problem.counts_allowed(numbers):
            height = max(0.0, envelope.distance(termination.line)) / (arm.moves.reach_mev_per_A2 * MEV)
            parents.append(TrainingRecord(numbers, positions, {}, math.exp(-height)))
    settings = MoveSettings(arm.moves.kind, **arm.moves.model_dump(exclude={"kind", "reach_mev_per_A2"}))
    source = MovedTerminations(problem.template, problem.counts, problem.minimum_distances, settings)
    source.fit(parents, np.random.default_rng(0))
    return source
