"""Small distorted cells on which a calculation from first principles is affordable."""

from collections.abc import Iterator
from itertools import cycle

import numpy as np
from ase import Atoms
from ase.geometry import get_duplicate_atoms

from searcher.structures.crystal import Crystal, orient
from searcher.structures.distorted_slabs import FACETS, changed_composition, thin_slab
from searcher.structures.terminations import enumerate_terminations

SMALLEST, LARGEST = 10, 14
"""Atoms of a slab"""
VACUUM = 8.0
"""Å; empty space costs plane waves as much as matter does"""
TRIALS = 20


def small_cells(seed: int, crystal: Crystal, count: int, name: str) -> list[Atoms]:
    """Tasks for `relax.labelling.labels.label`: bulk cells of 12 atoms, slabs of 10–14 of every termination that fits.

    Parameters
    ----------
    seed : int
        Equal seeds give equal cells.
    crystal : Crystal
    count : int
        Every fifth is bulk.
    name : str
        Begins every family's name.
    """
    rng = np.random.default_rng(seed)
    slabs = _slabs(crystal, rng)
    cells = []
    for index in range(count):
        kind, atoms = ("bulk", _bulk(crystal, rng)) if index % 5 == 4 else next(slabs)
        atoms.info = {"config_type": "bulk" if kind == "bulk" else "slab", "family": f"{name}-{kind}-{index}"}
        cells.append(atoms)
    return cells


def _bulk(crystal: Crystal, rng: np.random.Generator) -> Atoms:
    """Two conventional cells, along each axis in turn by chance, strained by up to 4 % and rattled."""
    copies = [(1, 1, 2), (1, 2, 1), (2, 1, 1)][int(rng.integers(3))]
    atoms = crystal.bulk().repeat(copies)
    strain = np.diag(rng.uniform(-0.04, 0.04, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    _rattle(atoms, rng)
    return atoms


def _slabs(crystal: Crystal, rng: np.random.Generator) -> Iterator[tuple[str, Atoms]]:
    """Every termination in turn, endlessly, of every facet alike; those with no thin enough slab are left out."""
    by_facet = []
    for facet in FACETS:
        oriented = orient(crystal, facet)
        by_facet.append([(oriented, termination) for termination in enumerate_terminations(oriented)])
    for turn in zip(*(cycle(kinds) for kinds in by_facet), strict=True):
        for oriented, termination in turn:
            for _ in range(TRIALS):
                slab = primitive(thin_slab(oriented, termination, rng, SMALLEST))
                if rng.uniform() < 0.5:
                    slab = changed_composition(slab, crystal.metal, rng)
                if SMALLEST <= len(slab) <= LARGEST:
                    slab.center(vacuum=VACUUM / 2, axis=2)
                    _rattle(slab, rng)
                    yield termination.label, slab
                    break


def primitive(slab: Atoms) -> Atoms:
    """The half of a slab whose lateral cell is centred, as (111)'s smallest orthogonal one is; else the slab itself."""
    x, y, z = slab.cell.array
    half = slab.copy()
    half.set_cell([(x + y) / 2, (y - x) / 2, z])
    half.wrap(eps=1e-4)
    get_duplicate_atoms(half, cutoff=0.1, delete=True)
    return half if 2 * len(half) == len(slab) else slab


def _rattle(atoms: Atoms, rng: np.random.Generator) -> None:
    """As heat does: mostly 0.05–0.15 Å per component."""
    atoms.positions += rng.normal(0.0, float(rng.uniform(0.04, 0.16)), atoms.positions.shape)
