"""Slabs to fit a potential to: cut, repeated, with atoms added and removed, or strewn over at random."""

from typing import Final

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.constraints import FixAtoms

from relax.oxide import of_species, pair_name
from searcher.structures.crystal import OrientedCrystal
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
INSERTION_FLOORS = {"Ru-Ru": 2.1, "O-Ru": 1.55, "O-O": 1.25}  # Å, of RuO2: clumsy, yet where a learned labeller holds
SUPERCELLS: Final = {
    "1x1": ((1, 0), (0, 1)),
    "2x1": ((2, 0), (0, 1)),
    "1x2": ((1, 0), (0, 2)),
    "c2x2": ((1, 1), (-1, 1)),
}
"""Lateral cell vectors as multiples of those of (1×1)"""


def supercell(slab: Atoms, name: str) -> Atoms:
    """A slab repeated laterally as one of `SUPERCELLS`."""
    lateral = np.eye(3, dtype=int)
    lateral[:2, :2] = SUPERCELLS[name]
    return make_supercell(slab, lateral)


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
    slab = boxed(oriented, numbers, positions, room=repeat + 2.5)
    copies = 1 if oriented.area > 25 else 2
    slab = slab.repeat((1, copies, 1))
    metal_count = max(1, round(len(added) / 3)) * copies
    oxygen_count = int(rng.integers(metal_count, 3 * metal_count + 1))
    top = float(slab.positions[:, 2].max())
    grown = slab.copy()
    for symbol in [oriented.crystal.metal] * metal_count + ["O"] * oxygen_count:
        grown = drop_in(grown, symbol, (top + 0.4, top + repeat + 1.6), rng)
    grown.set_constraint(FixAtoms(indices=range(len(slab))))
    return grown


def drop_in(atoms: Atoms, symbol: str, heights: tuple[float, float], rng: np.random.Generator) -> Atoms:
    """Add one atom at a random place above the minimum distances; the best of 200 places if none is."""
    best, best_room = np.zeros(3), -np.inf
    lengths = atoms.cell.lengths()[:2]
    floors = of_species(INSERTION_FLOORS, {symbol, *atoms.symbols.species()})
    floor = np.array([floors[pair_name(symbol, other)] for other in atoms.get_chemical_symbols()])
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


def thin_slab(
    oriented: OrientedCrystal, termination: Termination, rng: np.random.Generator, at_least: int = 18
) -> Atoms:
    """The thinnest slab of so many atoms with the termination on top and any cut at the bottom."""
    repeat = repeat_distance(oriented)
    bottoms = planes_between(oriented, -0.1, repeat - 0.1)
    bottom = bottoms[int(rng.integers(len(bottoms)))].z - 0.2
    layers = 1
    while True:
        top = termination.height + layers * repeat
        numbers, positions = termination_atoms(oriented, termination, bottom, top)
        if len(numbers) >= at_least:
            break
        layers += 1
    return boxed(oriented, numbers, positions, room=0.0)


def boxed(oriented: OrientedCrystal, numbers: np.ndarray, positions: np.ndarray, room: float) -> Atoms:
    """A slab in a periodic box with half of the vacuum below it, and `room` in Å for more atoms."""
    low, high = positions[:, 2].min(), positions[:, 2].max()
    cell = [*oriented.lengths, high - low + room + VACUUM]
    return Atoms(numbers, positions - [0, 0, low - VACUUM / 2], cell=cell, pbc=True)


def changed_composition(atoms: Atoms, metal: str, rng: np.random.Generator) -> Atoms:
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
    atoms += drop_in(atoms, symbol, heights, rng)[-1:]
