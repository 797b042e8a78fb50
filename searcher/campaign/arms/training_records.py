"""An iteration's training set, from the campaign's ledger."""

from dataclasses import replace

from generators.proposal import TrainingRecord
from searcher.campaign.arms.conditions import chemical_potentials, class_at
from searcher.campaign.arms.training_set import select_training_set
from searcher.campaign.beginning.preparation import seed_lines
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Snapshot
from searcher.scoring.validity import check_validity


def training_records(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot) -> list[TrainingRecord]:
    """What is learned from, once for each chemical potential at which classes are told."""
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
