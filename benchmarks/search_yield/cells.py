"""The surfaces that all arms search, and what is the same for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searcher.config import CampaignConfig

START = "stoichiometric"
"""The only termination that an arm is given; the facet's others are withheld and to be found again."""


@dataclass(frozen=True)
class Cell:
    """One surface and how long it is searched.

    Attributes
    ----------
    metal_count, oxygen_count : (int, int)
        Free atoms, smallest and largest number, for every arm.
    grid_shape : (int, int, int)
    calls : int
        Budget of force calls.
    seeds : int
        How many times each arm searches it.
    iteration_calls : int
        Force calls of one iteration of our campaigns; with a smaller budget a fourth of it.
    donor : str
        The cell whose networks the arm *transfer* begins with, of the same voxels and largest counts; empty where there
        is none.
    changes : mapping
        Further keys of a campaign's configuration.
    """

    name: str
    facet: str
    repeat: tuple[int, int]
    metal_count: tuple[int, int]
    oxygen_count: tuple[int, int]
    grid_shape: tuple[int, int, int]
    calls: int
    seeds: int
    iteration_calls: int
    donor: str
    changes: Mapping[str, Any] = field(default_factory=dict)


CELLS = {
    cell.name: cell
    for cell in (
        Cell("110-1x2", "110", (1, 2), (4, 4), (6, 12), (16, 16, 16), 10_000, 5, 800, "101-1x2"),
        Cell("100-2x2", "100", (2, 2), (4, 4), (4, 12), (16, 16, 16), 10_000, 5, 800, "101-1x2"),
        Cell("110-2x1", "110", (2, 1), (4, 4), (6, 12), (32, 8, 16), 3_000, 3, 300, ""),
        Cell("101-1x2", "101", (1, 2), (4, 4), (4, 12), (16, 16, 16), 3_000, 3, 300, "100-2x2"),
    )
}
TINY = Cell(
    "tiny",
    "110",
    (1, 1),
    (2, 2),
    (3, 6),
    (16, 8, 16),
    240,
    2,
    80,
    "tiny",
    {
        "potential": {"import_path": "relax.analytic:AnalyticRuO"},
        "network": {"settings": {"latent": 8, "generator_channels": [8, 8, 8], "critic_channels": [8, 8]}},
    },
)
"""Seconds on the analytic stand-in: for tests, never for results."""

PLAIN_RELAXATION = {"optimiser": "lbfgs", "fire_calls": 30, "calm_force": 2.0, "fmax": 0.1, "max_calls": 200}
"""FIRE, then LBFGS, to the end: what every arm relaxes by in table A."""
NO_STOPPING = {"forming_o2": False, "known_minimum": False, "hopeless": False}


def relaxation_of(table: str) -> dict[str, Any]:
    """Relaxation settings of our arms: the common ones in table A, the shipped ones in table B."""
    return dict(PLAIN_RELAXATION) if table == "A" else {}


def campaign_settings(cell: Cell, table: str, name: str, seed: int, budget: int, runs: Path) -> dict[str, Any]:
    """A campaign on a cell, but for its arms."""
    settings: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "runs": str(runs),
        "potential": {"gap": "ruo2"},
        "surface": {
            "facet": cell.facet,
            "repeat": list(cell.repeat),
            "terminations": [START],
            "metal_count": list(cell.metal_count),
            "oxygen_count": list(cell.oxygen_count),
        },
        "grid": {"shape": list(cell.grid_shape), "sigma": 0.55},
        "relaxation": relaxation_of(table),
        "budget": {
            "force_calls_per_iteration": min(cell.iteration_calls, max(1, budget // 4)),
            "expected_calls_per_relaxation": 50,
        },
        "execution": {"workers": 1, "training_threads": 1},
        "tracking": {"enabled": False},
        "keep": {"grids": "none", "weights": "last", "checkpoints": "none"},
    }
    return merged(settings, cell.changes)


def relaxing_to_the_end(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A campaign's settings with no arm's relaxations stopped early."""
    return {**settings, "arms": [{**arm, "stopping": dict(NO_STOPPING)} for arm in settings["arms"]]}


def configuration(settings: Mapping[str, Any]) -> CampaignConfig:
    """The checked form of a campaign's settings."""
    return CampaignConfig.model_validate(dict(settings))


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some of their keys changed, mappings key by key; a potential is replaced as a whole."""
    result = dict(settings)
    for key, value in changes.items():
        below = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping) and key != "potential"
        result[key] = merged(below, value) if both else value
    return result
