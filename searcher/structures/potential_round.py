"""Starts for one round of improvement of a potential: the potential itself walks from them, a labeller corrects it.

What a potential meets on its own way is where it must be right, and where it was wrong without anybody noticing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms

from searcher.errors import InputError
from searcher.structures.crystal import Crystal, OrientedCrystal, orient
from searcher.structures.distorted_slabs import (
    FACETS,
    SUPERCELLS,
    changed_composition,
    random_insertion,
    supercell,
    thin_slab,
)
from searcher.structures.terminations import Termination, enumerate_terminations

THERMAL_TEMPERATURES = (300.0, 500.0, 800.0)
"""K: where a potential for searches must be right"""
HOT_TEMPERATURES = (1000.0, 1500.0)
SMALLEST = {"1x1": 18, "2x1": 12, "1x2": 12, "c2x2": 12}
"""Atoms per (1×1) cell of a thin slab, so that doubled ones stay below some 60 atoms"""


@dataclass(frozen=True)
class RoundSizes:
    """How many paths of each kind start.

    Attributes
    ----------
    thermal : int
        Slabs' dynamics at 300–800 K: every termination of five facets in (1×1), (2×1), (1×2) and c(2×2) in turn, the
        first time as it is, then with oxygen added and removed. 68 are once around.
    hot : int
        The same at 1000 and 1500 K.
    relaxing : int
        Short relaxations of the same, strongly rattled.
    insertions : int
        Long relaxations of random insertions above frozen slabs of every facet.
    """

    thermal: int = 136
    hot: int = 34
    relaxing: int = 68
    insertions: int = 40


def build_round(seed: int, crystal: Crystal, name: str, sizes: RoundSizes | None = None) -> list[Atoms]:
    """Tasks for `relax.labelling.labels.label` with the present potential, whose frames then go to the labeller.

    Parameters
    ----------
    seed : int
        Equal seeds give equal tasks.
    crystal : Crystal
        The oxide with the potential's lattice.
    name : str
        Of the round; begins every family's name.
    sizes : RoundSizes, optional

    Raises
    ------
    InputError
        If a size is negative.
    """
    sizes = sizes or RoundSizes()
    if min(vars(sizes).values()) < 0:
        raise InputError(f"`sizes` is {sizes} but no number may be negative")
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]
    return [
        *_dynamics(crystal, sizes.thermal, f"{name}-thermal", THERMAL_TEMPERATURES, streams[0]),
        *_dynamics(crystal, sizes.hot, f"{name}-hot", HOT_TEMPERATURES, streams[1]),
        *_relaxing(crystal, sizes.relaxing, f"{name}-relaxing", streams[2]),
        *_insertions(crystal, sizes.insertions, f"{name}-insertion", streams[3]),
    ]


def _slabs(crystal: Crystal, count: int, rng: np.random.Generator) -> Iterator[tuple[Atoms, str, int]]:
    """(slab, termination and cell, how often it was there before), every termination in every cell in turn."""
    kinds: list[tuple[OrientedCrystal, Termination, str]] = [
        (oriented, termination, cell)
        for cell, oriented in product(SUPERCELLS, [orient(crystal, facet) for facet in FACETS])
        for termination in enumerate_terminations(oriented)
    ]
    for index in range(count):
        oriented, termination, cell = kinds[index % len(kinds)]
        turn = index // len(kinds)
        slab = supercell(thin_slab(oriented, termination, rng, SMALLEST[cell]), cell)
        if turn:
            slab = changed_composition(slab, crystal.metal, rng)
        slab.set_cell(slab.cell * (1 + rng.uniform(-0.01, 0.01)), scale_atoms=True)
        yield slab, f"{termination.label}-{cell}", turn


def _dynamics(
    crystal: Crystal, count: int, name: str, temperatures: Sequence[float], rng: np.random.Generator
) -> Iterator[Atoms]:
    for index, (slab, kind, turn) in enumerate(_slabs(crystal, count, rng)):
        temperature = temperatures[(index + turn) % len(temperatures)]
        # so that half of the heat is potential energy from the start
        slab.positions += rng.normal(0.0, 0.05 * np.sqrt(temperature / 500.0), slab.positions.shape)
        yield _task(
            slab,
            "thermal" if temperature <= max(THERMAL_TEMPERATURES) else "slab",
            f"{name}-{kind}-{turn}",
            protocol="dynamics",
            steps=30,
            snapshots=3,
            temperature=temperature,
            seed=int(rng.integers(2**31)),
        )


def _relaxing(crystal: Crystal, count: int, name: str, rng: np.random.Generator) -> Iterator[Atoms]:
    for cut, kind, turn in _slabs(crystal, count, rng):
        slab = changed_composition(cut, crystal.metal, rng)
        slab.positions += rng.normal(0.0, float(rng.uniform(0.05, 0.25)), slab.positions.shape)
        yield _task(slab, "slab", f"{name}-{kind}-{turn}", protocol="relax", steps=25, snapshots=4)


def _insertions(crystal: Crystal, count: int, name: str, rng: np.random.Generator) -> Iterator[Atoms]:
    for index in range(count):
        facet = FACETS[index % len(FACETS)]
        atoms = random_insertion(orient(crystal, facet), rng)
        yield _task(atoms, "insertion", f"{name}-{facet}-{index}", protocol="relax", steps=50, snapshots=7)


def _task(atoms: Atoms, config_type: str, family: str, **instructions: str | int | float) -> Atoms:
    atoms.info = {"config_type": config_type, "family": family, **instructions}
    return atoms
