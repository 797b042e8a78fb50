"""The structures that a potential is fitted to, before they are labelled."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk as ase_bulk
from ase.constraints import FixAtoms

from searcher.errors import InputError
from searcher.structures.crystal import Crystal, OrientedCrystal, orient
from searcher.structures.terminations import (
    OXYGEN,
    Termination,
    enumerate_terminations,
    planes_between,
    repeat_distance,
    termination_atoms,
)

FACETS = ("001", "100", "101", "110", "111")
VACUUM = 11.0  # Å; beyond twice the reach of the reference model's first message-passing layer
INSERTION_FLOORS = {"metal": 2.1, "mixed": 1.55, "oxygen": 1.25}  # Å: clumsy, yet where a learned labeller holds


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
    """Tasks for `relax.labelling.label`: crystal, metal, dimers, slabs, clumsy proposals and hot dynamics.

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
        Cheap tasks first. `info` says what is to be done with each, see `relax.labelling`.

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
        for distance in distances:
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
        atoms = ase_bulk(metal, lattice)
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
        atoms = _thin_slab(oriented, termination, rng)
        if index >= len(kinds):
            atoms = _changed_composition(atoms, crystal.metal, rng)
            atoms.set_cell(atoms.cell * (1 + rng.uniform(-0.015, 0.015)), scale_atoms=True)
            _rattle(atoms, float(rng.uniform(0.03, widest)), rng)
        family = f"slab-{termination.label}-{index // len(kinds)}"
        yield _task(atoms, "slab", family, **instructions)


def _hot_slabs(crystal: Crystal, count: int, rng: np.random.Generator) -> Iterator[Atoms]:
    oriented = [orient(crystal, facet) for facet in FACETS]
    kinds = [(one, termination) for one in oriented for termination in enumerate_terminations(one)]
    for index in range(count):
        one, termination = kinds[int(rng.integers(len(kinds)))]
        atoms = _changed_composition(_thin_slab(one, termination, rng), crystal.metal, rng)
        yield _dynamics(atoms, "slab", f"slab-hot-{index}", float(rng.uniform(300, 1500)), rng)


def _insertions(
    crystal: Crystal, facets: tuple[str, ...], count: int, name: str, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Paths from random positions of a trilayer's metal and a wide range of oxygen above a frozen slab."""
    for index in range(count):
        atoms = random_insertion(orient(crystal, facets[index % len(facets)]), rng)
        yield _task(atoms, "insertion", f"{name}-{index}", protocol="relax", steps=30, snapshots=7)


def random_insertion(oriented: OrientedCrystal, rng: np.random.Generator) -> Atoms:
    """A frozen stoichiometric slab of at least 5.5 Å with one repeat's metal and 1–3 O per metal strewn above it.

    The lateral cell is doubled along its shorter side unless it is larger than 25 Å² already.
    """
    stoichiometric = next(t for t in enumerate_terminations(oriented) if t.name == "stoichiometric")
    repeat = repeat_distance(oriented)
    thickness = repeat * np.ceil(5.5 / repeat)
    height = stoichiometric.height
    numbers, positions = termination_atoms(oriented, stoichiometric, height - thickness, height)
    _, added = termination_atoms(oriented, stoichiometric, height, height + repeat)
    slab = _boxed(oriented, numbers, positions, room=repeat + 2.5)
    copies = 1 if oriented.area > 25 else 2
    slab = slab.repeat((1, copies, 1))
    metal_count = max(1, round(len(added) / 3)) * copies
    oxygen_count = int(rng.integers(metal_count, 3 * metal_count + 1))
    top = float(slab.positions[:, 2].max())
    grown = slab.copy()
    for symbol in [oriented.crystal.metal] * metal_count + ["O"] * oxygen_count:
        grown = _drop_in(grown, symbol, (top + 0.4, top + repeat + 1.6), rng)
    grown.set_constraint(FixAtoms(indices=range(len(slab))))
    return grown


def _drop_in(atoms: Atoms, symbol: str, heights: tuple[float, float], rng: np.random.Generator) -> Atoms:
    """Add one atom at a random place above the minimum distances; the best of 200 places if none is."""
    best, best_room = np.zeros(3), -np.inf
    lengths = atoms.cell.lengths()[:2]
    floor = np.array([_insertion_floor(symbol, other) for other in atoms.get_chemical_symbols()])
    for _ in range(200):
        place = np.array([*(rng.uniform(0, 1, 2) * lengths), rng.uniform(*heights)])
        difference = atoms.positions - place
        difference[:, :2] -= lengths * np.round(difference[:, :2] / lengths)
        room = float(np.min(np.linalg.norm(difference, axis=1) - floor))
        if room > best_room:
            best, best_room = place, room
        if room >= 0:
            break
    return atoms + Atoms([symbol], [best])


def _insertion_floor(one: str, two: str) -> float:
    oxygens = (one == "O") + (two == "O")
    return INSERTION_FLOORS[("metal", "mixed", "oxygen")[oxygens]]


def _thin_slab(oriented: OrientedCrystal, termination: Termination, rng: np.random.Generator) -> Atoms:
    """A slab of 18–40 atoms with the termination on top and any cut at the bottom."""
    repeat = repeat_distance(oriented)
    bottoms = planes_between(oriented, -0.1, repeat - 0.1)
    bottom = bottoms[int(rng.integers(len(bottoms)))].z - 0.2
    layers = 1
    while True:
        top = termination.height + layers * repeat
        numbers, positions = termination_atoms(oriented, termination, bottom, top)
        if len(numbers) >= 18:
            break
        layers += 1
    slab = _boxed(oriented, numbers, positions, room=0.0)
    if len(slab) <= 20 and rng.uniform() < 0.25:
        slab = slab.repeat((1, 2, 1) if rng.uniform() < 0.5 else (2, 1, 1))
    return slab


def _boxed(oriented: OrientedCrystal, numbers: np.ndarray, positions: np.ndarray, room: float) -> Atoms:
    """A slab in a periodic box with half of the vacuum below it, and `room` in Å for more atoms."""
    low, high = positions[:, 2].min(), positions[:, 2].max()
    cell = [*oriented.lengths, high - low + room + VACUUM]
    return Atoms(numbers, positions - [0, 0, low - VACUUM / 2], cell=cell, pbc=True)


def _changed_composition(atoms: Atoms, metal: str, rng: np.random.Generator) -> Atoms:
    """Up to four O more or fewer, and now and then a metal adatom or vacancy, near either face."""
    atoms = atoms.copy()
    for _ in range(int(rng.integers(0, 5))):
        _change(atoms, "O", rng)
    if rng.uniform() < 0.2:
        _change(atoms, metal, rng)
    return atoms


def _change(atoms: Atoms, symbol: str, rng: np.random.Generator) -> None:
    low, high = atoms.positions[:, 2].min(), atoms.positions[:, 2].max()
    is_oxygen = atoms.numbers == OXYGEN
    near_face = (atoms.positions[:, 2] < low + 2.5) | (atoms.positions[:, 2] > high - 2.5)
    candidates = np.flatnonzero(near_face & (is_oxygen == (symbol == "O")))
    if rng.uniform() < 0.5 and len(candidates) > 1:
        del atoms[int(rng.choice(candidates))]
        return
    at_top = rng.uniform() < 0.5
    heights = (high + 0.6, high + 2.0) if at_top else (low - 2.0, low - 0.6)
    atoms += _drop_in(atoms, symbol, heights, rng)[-1:]


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


def symmetric_slabs(crystal: Crystal, facet: str = "110", repeats: int = 5) -> dict[str, Atoms]:
    """Slabs with two equal faces, inverted through a metal atom, by the name of their termination.

    Parameters
    ----------
    repeats : int
        Metal planes of (110); other facets have about as many repeats.
    """
    oriented = orient(crystal, facet)
    repeat = repeat_distance(oriented)
    slabs = {}
    for termination in enumerate_terminations(oriented):
        height = termination.height
        while 2 * height < (repeats - 1) * repeat:
            height += repeat
        numbers, positions = termination_atoms(oriented, termination, -height, height)
        slabs[termination.name] = _boxed(oriented, numbers, positions, room=0.0)
    return slabs
