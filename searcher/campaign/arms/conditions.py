"""What the generator is told of each structure, and what it is asked for."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from ase import Atoms

from generators.networks.conditioning import ConditionSpec
from generators.proposal import Condition
from searcher.campaign.beginning.preparation import seed_lines
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Snapshot
from searcher.config import CampaignConfig
from searcher.scoring.thermodynamics import Line

OXYGEN = 8


def condition_specs(config: CampaignConfig, problem: SurfaceProblem) -> tuple[ConditionSpec, ...]:
    """The configured conditions and the values that they may take."""
    specs = {
        "energy_class": ConditionSpec("energy_class", "class", problem.classes.n_classes),
        "n_oxygen": ConditionSpec("n_oxygen", "class", problem.counts["O"][1] + 1),
        "n_metal": ConditionSpec("n_metal", "class", max(2, problem.counts[problem.metal][1] + 1)),
        "delta_mu_o": ConditionSpec("delta_mu_o", "scalar", range=problem.delta_mu_o_range),
    }
    told = config.conditioning.conditions if config.conditioning.enabled else ()
    return tuple(specs[name] for name in told)


def chemical_potentials(config: CampaignConfig) -> tuple[float, ...]:
    """Δμ_O in eV at which each structure's class is told: several where Δμ_O is a condition itself."""
    conditioning = config.conditioning
    told = conditioning.enabled and "delta_mu_o" in conditioning.conditions
    return conditioning.delta_mu_o_ladder if told else (conditioning.delta_mu_o,)


def class_at(problem: SurfaceProblem, delta_mu_o: float, line: Line, seeds: Mapping[str, Line]) -> int:
    """Energy class of a line at another Δμ_O in eV than the problem's."""
    return replace(problem, delta_mu_o=delta_mu_o).energy_class(line, seeds)


def conditions_asked(config: CampaignConfig, problem: SurfaceProblem) -> list[Condition]:
    """Every combination of values that proposals are asked for, in a fixed order.

    Conditions without a value to ask for are left out: they are drawn as the training set has them.
    """
    values: dict[str, list[int] | list[float]] = {
        "energy_class": list(config.conditioning.classes_asked),
        "n_oxygen": list(range(problem.counts["O"][0], problem.counts["O"][1] + 1)),
        "n_metal": list(range(problem.counts[problem.metal][0], problem.counts[problem.metal][1] + 1)),
        "delta_mu_o": list(config.conditioning.delta_mu_o_ladder),
    }
    names = [spec.name for spec in condition_specs(config, problem) if values[spec.name]]
    return [dict(zip(names, chosen, strict=True)) for chosen in product(*(values[name] for name in names))]


def asked_conditions(
    campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot
) -> tuple[tuple[Condition, ...], tuple[float, ...] | None]:
    """What proposals are asked for in an iteration, and how often each; equally often where it is None."""
    asked, load = conditions_asked(campaign.config, problem), campaign.ledger.structure
    return tuple(asked), weights_asked(campaign.config, problem, asked, snapshot, load, seed_lines(campaign))


def weights_asked(
    config: CampaignConfig,
    problem: SurfaceProblem,
    asked: Sequence[Condition],
    snapshot: Snapshot,
    load: Callable[[str], Atoms],
    seeds: Mapping[str, Line],
) -> tuple[float, ...] | None:
    """How often each combination is asked for: by default equally, else w = 1 / (1 + m).

    m is how many known minima have these values: the counts of their free atoms, and the class of their γ at the
    combination's Δμ_O, or at the campaign's where Δμ_O is no condition.

    Parameters
    ----------
    load : callable
        Structure by key.
    """
    if config.conditioning.asked == "equally":
        return None
    potentials = {float(one.get("delta_mu_o", config.conditioning.delta_mu_o)) for one in asked}
    known: Counter[tuple[tuple[str, float], ...]] = Counter()
    names = sorted({name for condition in asked for name in condition})
    for minimum in snapshot.known:
        numbers, _ = problem.template.free_part(load(minimum.structure))
        oxygen = int(np.count_nonzero(numbers == OXYGEN))
        counts = {"n_oxygen": oxygen, "n_metal": len(numbers) - oxygen}
        for delta_mu_o in potentials:
            energy_class = class_at(problem, delta_mu_o, minimum.line, seeds)
            values = {**counts, "energy_class": energy_class, "delta_mu_o": delta_mu_o}
            known[tuple((name, float(values[name])) for name in names)] += 1
    cells = [tuple((name, float(condition[name])) for name in names) for condition in asked]
    return tuple(1.0 / (1.0 + known[cell]) for cell in cells)
