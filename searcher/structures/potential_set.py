"""The structures that a potential is fitted to, before they are labelled."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from relax.oxide import length_ratio, metal_crystal
from searcher.errors import InputError
from searcher.structures.crystal import Crystal, orient
from searcher.structures.distorted_slabs import FACETS, changed_composition, random_insertion, thin_slab
from searcher.structures.terminations import enumerate_terminations


@dataclass(frozen=True)
class SetSizes:
    """How many tasks of each kind; a path gives several frames.

    Attributes
    ----------
    bulk, bulk_hot, metal, slab, slab_hot : int
        Single distorted crystals, their dynamics, metal crystals, short relaxations and dynamics of distorted slabs.
    wild_slab : int
        Single slabs like the former, but more strongly distorted.
    insertions : int
        Relaxation paths of random insertions above frozen (110) trilayers, (2×1).
    other_insertions : int
        The same above other facets.
    """

    bulk: int = 70
    bulk_hot: int = 8
    metal: int = 36
    slab: int = 170
    slab_hot: int = 16
    wild_slab: int = 150
    insertions: int = 62
    other_insertions: int = 20


def build_potential_set(
    seed: int, crystal: Crystal, sizes: SetSizes | None = None, metal_lattice: str = "hcp"
) -> list[Atoms]:
    """Tasks for `relax.labelling.labels.label`: crystal, metal, dimers, slabs, clumsy proposals and hot dynamics.

    Parameters
    ----------
    seed : int
        Equal seeds give equal tasks.
    crystal : Crystal
        The oxide, best with the reference calculator's own lattice.
    sizes : SetSizes, optional
    metal_lattice : str
        Crystal structure of the metal as `ase.build.bulk` names it; its lattice lengths are ASE's.

    Returns
    -------
    list of ase.Atoms
        Cheap tasks first. `info` says what is to be done with each, see `relax.labelling.tasks`.

    Raises
    ------
    InputError
        If `sizes` has a negative number.
    """
    sizes = sizes or SetSizes()
    if min(vars(sizes).values()) < 0:
        raise InputError(f"`sizes` is {sizes} but no number may be negative")
    seeds = np.random.SeedSequence(seed).spawn(7)
    streams = [np.random.default_rng(s) for s in seeds]
    return [
        *_dimers(crystal),
        *_distorted_bulk(crystal, sizes.bulk, streams[0]),
        *_metal(crystal.metal, metal_lattice, sizes.metal, streams[1]),
        *_slabs(crystal, sizes.wild_slab, np.random.default_rng(seeds[2]), widest=0.3),  # the same slabs, rattled more
        *_slabs(crystal, sizes.slab, streams[2], widest=0.2, protocol="relax", steps=14, snapshots=3),
        *_hot_bulk(crystal, sizes.bulk_hot, streams[3]),
        *_insertions(crystal, ("110",), sizes.insertions, "insertion", streams[4]),
        *_insertions(crystal, FACETS, sizes.other_insertions, "facet-insertion", streams[5]),
        *_hot_slabs(crystal, sizes.slab_hot, streams[6]),
    ]


def _task(atoms: Atoms, config_type: str, family: str, **instructions: str | int | float) -> Atoms:
    atoms.info.clear()
    atoms.info.update({"config_type": config_type, "family": family, **instructions})
    return atoms


def _dimers(crystal: Crystal) -> Iterator[Atoms]:
    """Isolated atoms, for the atomic reference energies, and pairs from the repulsive wall outwards."""
    box = [14.0, 14.5, 15.0]
    for symbol in crystal.species:
        yield _task(Atoms([symbol], [[7, 7, 7]], cell=box, pbc=True), "isolated_atom", f"atom-{symbol}")
    ranges = {
        ("O", "O"): np.concatenate([np.arange(0.92, 1.7, 0.05), np.arange(1.75, 2.6, 0.15), [3.0, 3.6, 4.4, 6.0]]),
        ("O", crystal.metal): np.concatenate([np.arange(1.32, 2.2, 0.08), np.arange(2.3, 4.6, 0.3)]),
        (crystal.metal, crystal.metal): np.concatenate([np.arange(1.75, 2.8, 0.1), np.arange(3.0, 4.6, 0.3)]),
    }
    for pair, distances in ranges.items():
        for distance in distances * length_ratio(crystal.metal, *pair):
            atoms = Atoms(pair, [[4, 7, 7], [4 + float(distance), 7, 7]], cell=box, pbc=True)
            yield _task(atoms, "dimer", f"dimer-{'-'.join(pair)}")
    for distance in np.arange(1.12, 1.36, 0.02):
        atoms = Atoms("O2", [[4, 7, 7], [4 + float(distance), 7, 7]], cell=box, pbc=True)
        yield _task(atoms, "molecule", "molecule-O2")


def _distorted_bulk(crystal: Crystal, count: int, rng: np.random.Generator) -> Iterator[Atoms]:
    for index in range(count):
        atoms = crystal.bulk().repeat((1, 1, int(rng.integers(1, 4))))
        reach = 0.06 if index % 3 else 0.025
        _strain(atoms, reach, rng)
        _rattle(atoms, float(rng.uniform(0.0, 0.2)) if index % 4 else 0.0, rng)
        if index % 6 == 5:
            del atoms[int(rng.integers(len(atoms)))]
        yield _task(atoms, "bulk", f"bulk-{index}")


def _hot_bulk(crystal: Crystal, count: int, rng: np.random.Generator) -> Iterator[Atoms]:
    for index in range(count):
        atoms = crystal.bulk().repeat((1, 1, 3))
        _strain(atoms, 0.03, rng)
        yield _dynamics(atoms, "bulk", f"bulk-hot-{index}", float(rng.uniform(300, 2000)), rng)


def _metal(metal: str, lattice: str, count: int, rng: np.random.Generator) -> Iterator[Atoms]:
    for index in range(count):
        atoms = metal_crystal(metal, lattice)
        if index % 2:
            atoms = atoms.repeat((2, 2, 1))
        _strain(atoms, 0.07, rng)
        _rattle(atoms, float(rng.uniform(0.0, 0.25)) if index % 2 else 0.02, rng)
        yield _task(atoms, "metal", f"metal-{index}")


def _slabs(
    crystal: Crystal, count: int, rng: np.random.Generator, widest: float, **instructions: str | int
) -> Iterator[Atoms]:
    """Every termination in turn, first as cut, then distorted, with O or metal added and removed."""
    cuts = [(orient(crystal, facet), facet) for facet in FACETS]
    kinds = [(oriented, termination) for oriented, _ in cuts for termination in enumerate_terminations(oriented)]
    for index in range(count):
        oriented, termination = kinds[index % len(kinds)]
        atoms = _repeated_now_and_then(thin_slab(oriented, termination, rng), rng)
        if index >= len(kinds):
            atoms = changed_composition(atoms, crystal.metal, rng)
            atoms.set_cell(atoms.cell * (1 + rng.uniform(-0.015, 0.015)), scale_atoms=True)
            _rattle(atoms, float(rng.uniform(0.03, widest)), rng)
        family = f"slab-{termination.label}-{index // len(kinds)}"
        yield _task(atoms, "slab", family, **instructions)


def _hot_slabs(crystal: Crystal, count: int, rng: np.random.Generator) -> Iterator[Atoms]:
    oriented = [orient(crystal, facet) for facet in FACETS]
    kinds = [(one, termination) for one in oriented for termination in enumerate_terminations(one)]
    for index in range(count):
        one, termination = kinds[int(rng.integers(len(kinds)))]
        slab = _repeated_now_and_then(thin_slab(one, termination, rng), rng)
        atoms = changed_composition(slab, crystal.metal, rng)
        yield _dynamics(atoms, "slab", f"slab-hot-{index}", float(rng.uniform(300, 1500)), rng)


def _insertions(
    crystal: Crystal, facets: tuple[str, ...], count: int, name: str, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Paths from random positions of a trilayer's metal and a wide range of oxygen above a frozen slab."""
    for index in range(count):
        atoms = random_insertion(orient(crystal, facets[index % len(facets)]), rng)
        yield _task(atoms, "insertion", f"{name}-{index}", protocol="relax", steps=30, snapshots=7)


def _repeated_now_and_then(slab: Atoms, rng: np.random.Generator) -> Atoms:
    if len(slab) <= 20 and rng.uniform() < 0.25:
        return slab.repeat((1, 2, 1) if rng.uniform() < 0.5 else (2, 1, 1))
    return slab


def _dynamics(atoms: Atoms, config_type: str, family: str, temperature: float, rng: np.random.Generator) -> Atoms:
    return _task(
        atoms,
        config_type,
        family,
        protocol="dynamics",
        steps=60,
        snapshots=5,
        temperature=round(temperature, 1),
        seed=int(rng.integers(2**31)),
    )


def _strain(atoms: Atoms, reach: float, rng: np.random.Generator) -> None:
    """Strain all three axes by up to ±`reach`, and shear by a third of it."""
    shear = rng.uniform(-reach / 3, reach / 3, (3, 3))
    strain = np.diag(rng.uniform(-reach, reach, 3)) + np.triu(shear, 1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)


def _rattle(atoms: Atoms, width: float, rng: np.random.Generator) -> None:
    atoms.positions += rng.normal(0.0, width, (len(atoms), 3)) if width else 0.0
