"""Generators of grids on a campaign's surface: what their grids show, and how these are read."""

from typing import Any, TypeVar

from generators.grids.backmapping import BackmappingSettings
from generators.learned import LearnedProposer
from generators.training.view import WINDOW, View
from searcher.campaign.problem import SurfaceProblem
from searcher.config import CampaignConfig

CONFLICT_SHARE = 0.85
"""Of the shortest metal–O distance: of two atoms nearer than this the weaker is none."""

Made = TypeVar("Made", bound=LearnedProposer)


def grid_proposer(
    made: type[Made], config: CampaignConfig, problem: SurfaceProblem, networks: Any, training: Any, **keywords: Any
) -> Made:
    """A proposer on the template's window or its whole cell.

    Parameters
    ----------
    made : type
        Class of the proposer.
    networks, training
        Its settings.
    """
    return made(
        problem.template,
        problem.grid,
        networks,
        training,
        backmapping_settings(config, problem),
        min_distances=problem.minimum_distances,
        view=View("cell") if config.grid.window == "cell" else WINDOW,
        **keywords,
    )


def backmapping_settings(config: CampaignConfig, problem: SurfaceProblem) -> BackmappingSettings:
    """How sampled grids are read: peaks nearer than any two atoms of the surface can be are one smeared atom."""
    limits, default = problem.thresholds, BackmappingSettings()
    oxygen = limits.o_o_overlap if limits.accept_molecular_o else limits.o_o_molecular
    return BackmappingSettings(
        r2_min=config.grid.min_r2,
        integral_decides=True,
        merge_distance=max(default.merge_distance, oxygen / config.grid.sigma),
        conflict_distance=max(default.conflict_distance, CONFLICT_SHARE * limits.metal_o_min),
    )
