"""Each arm's source of proposals: what it learns from, and how it is asked."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from rich.console import Console

from generators.moved_terminations import MovedTerminations, MoveSettings
from generators.proposal import Proposal, Proposer, TrainingRecord
from generators.random_placement import RandomPlacement
from searcher.campaign.arms.conditions import chemical_potentials, class_at, conditions_asked
from searcher.campaign.arms.gan_arm import learned_generator
from searcher.campaign.arms.training_set import select_training_set
from searcher.campaign.beginning.preparation import seed_lines
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Snapshot
from searcher.campaign.storage.candidate import spawn_seed
from searcher.config import ArmSection
from searcher.scoring.thermodynamics import Envelope
from searcher.scoring.validity import check_validity

MEV = 1e-3

Source = Callable[[Snapshot], Proposer]
"""what an arm proposes from, given what it knows by then"""


def training_records(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot) -> list[TrainingRecord]:
    """The iteration's training set."""
    seeds, config = seed_lines(campaign), campaign.config
    records: list[TrainingRecord] = []
    for delta_mu_o in chemical_potentials(config):
        selected = select_training_set(
            snapshot,
            campaign.ledger.structure,
            problem.template,
            lambda line, at=delta_mu_o: class_at(problem, at, line, seeds),  # type: ignore[misc]
            lambda atoms: check_validity(atoms, problem.template.n_frozen, problem.thresholds).valid,
            [arm.name for arm in config.arms if arm.feeds_training],
            config.training.snapshots_per_structure,
            config.training.largest_weight,
            config.training.learned,
        )
        records += [replace(r, condition={**r.condition, "delta_mu_o": delta_mu_o}) for r in selected]
    return records


def learn(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, arm: ArmSection, console: Console) -> Source:
    """The arm's source, fitted to the iteration's training set; moves begin at whatever is known when they are made."""
    if arm.kind == "hopping":
        return lambda known: _moves(campaign, problem, known, arm)
    records = training_records(campaign, problem, snapshot)
    if arm.kind == "gan":
        generator = learned_generator(campaign, problem, snapshot, arm, records, console)
        return lambda known: generator
    source = RandomPlacement(problem.template, dict(problem.counts), problem.minimum_distances)
    if arm.composition == "training":
        source.fit(records, np.random.default_rng(0))
    if arm.metal == "training":
        source.keep_metal(records)
    return lambda known: source


def _moves(campaign: Campaign, problem: SurfaceProblem, known: Snapshot, arm: ArmSection) -> MovedTerminations:
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


def draw_proposals(
    campaign: Campaign,
    problem: SurfaceProblem,
    source: Proposer,
    arm: ArmSection,
    iteration: int,
    n: int,
    n_before: int = 0,
) -> list[tuple[int, Proposal]]:
    """`n` proposals, spread evenly over the conditions that are asked for, each with the seed of its group.

    Parameters
    ----------
    n_before : int
        How many the arm has drawn in this iteration; conditions that had no turn go first.
    """
    conditions = conditions_asked(campaign.config, problem) if arm.kind == "gan" else [{}]
    turn = n_before % len(conditions)
    conditions = conditions[turn:] + conditions[:turn]
    shares = [n // len(conditions) + (i < n % len(conditions)) for i in range(len(conditions))]
    drawn: list[tuple[int, Proposal]] = []
    for condition, share in zip(conditions, shares, strict=True):
        if share:
            seed = spawn_seed(campaign.config.seed, iteration, arm.name, n_before + len(drawn))
            drawn += [(seed, p) for p in source.sample(share, condition, np.random.default_rng(seed))]
    return drawn
