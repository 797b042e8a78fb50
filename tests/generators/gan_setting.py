"""A small template, a small grid and a few structures for the tests of networks and training."""

import numpy as np

from generators.grids.spec import GridSpec
from generators.networks.conditioning import ConditionSpec
from generators.networks.settings import NetworkSettings
from generators.proposal import TrainingRecord
from generators.template import Template

CLASSES = ConditionSpec("energy_class", "class", n_classes=3)
CHEMICAL_POTENTIAL = ConditionSpec("delta_mu_o", "scalar", range=(-1.6, 0.0))
NETWORKS = NetworkSettings(
    conditions=(CLASSES,),
    latent=8,
    generator_channels=(8, 8, 4),
    generator_output="keeping",
    critic_channels=(4, 8),
    critic_hidden=4,
    condition_size=4,
)


def template() -> Template:
    """One frozen Ru at the corner of a 4 × 4 Å cell, with its mirror planes."""
    rotations = np.array([np.diag([x, y, 1.0]) for x in (1.0, -1.0) for y in (1.0, -1.0)])
    return Template(
        facet="110",
        repeat=(1, 1),
        cell=np.array([4.0, 4.0, 16.0]),
        frozen_numbers=np.array([44]),
        frozen_positions=np.array([[0.0, 0.0, 1.0]]),
        free_floor=2.0,
        free_ceiling=4.0,
        rotations=rotations,
        translations=np.zeros((4, 3)),
        gamma_bottom=0.07,
    )


def grid() -> GridSpec:
    return GridSpec.for_window(template(), (8, 8, 8), ("Ru", "O"), sigma=0.4)


def records(n: int = 12) -> list[TrainingRecord]:
    """A rattled Ru with one or two O."""
    rng = np.random.default_rng(0)
    sites = np.array([[2.0, 2.0, 2.5], [2.0, 0.3, 3.6], [0.3, 2.0, 3.6]])
    return [
        TrainingRecord(
            numbers=np.array([44, 8, 8])[: 2 + i % 2],
            positions=sites[: 2 + i % 2] + rng.normal(0.0, 0.05, (2 + i % 2, 3)),
            condition={"energy_class": i % 3, "n_O": 1 + i % 2},
            weight=1.0 + i % 2,
        )
        for i in range(n)
    ]


def cell_grid() -> GridSpec:
    return GridSpec.for_cell((5.0, 5.0, 6.0), (8, 8, 8), ("Ru", "O"), 0.55)


def cell_records(n: int = 12) -> list[TrainingRecord]:
    """A Ru with one or two O in cells of two sizes."""
    rng = np.random.default_rng(1)
    sites = np.array([[2.5, 2.5, 1.5], [2.5, 0.3, 3.0], [0.3, 2.5, 3.6]])
    return [
        TrainingRecord(
            numbers=np.array([44, 8, 8])[: 2 + i % 2],
            positions=sites[: 2 + i % 2] + rng.normal(0.0, 0.05, (2 + i % 2, 3)),
            condition={"energy_class": i % 3},
            lengths=(4.8, 5.0, 6.0) if i % 4 else (5.2, 5.0, 6.0),
        )
        for i in range(n)
    ]
