"""Which rutile oxide a potential is made for, and what follows from its metal: lengths between atoms, its crystal.

Lengths were chosen for RuO2. Those of another oxide stand in the same ratio to the sum of the two covalent radii
(Cordero et al., Dalton Trans. 2832 (2008), as ASE has them): all of them say how near two atoms may come, and a bond is
about as long as that sum.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ase import Atoms
from ase.data import atomic_numbers, covalent_radii, reference_states

RUTHENIUM = "Ru"
DIGITS = 2
"""Of a length in Å"""
LATTICE_OF_NEIGHBOURS = {"hcp": 1.0, "fcc": 2**0.5, "bcc": 2 / 3**0.5}
"""a of a metal whose nearest neighbours are 1 Å apart"""


@dataclass(frozen=True)
class Oxide:
    """A rutile oxide MO2, with the lattice that structures are built on. The defaults are SevenNet 7net-MF-0's of RuO2.

    Attributes
    ----------
    metal : str
        Element symbol.
    a, c : float
        Lattice lengths in Å.
    u : float
        Internal coordinate of oxygen.
    metal_structure : str
        Crystal of the pure metal, ``"hcp"``, ``"fcc"`` or ``"bcc"``.
    """

    metal: str = RUTHENIUM
    a: float = 4.548
    c: float = 3.137
    u: float = 0.3056
    metal_structure: str = "hcp"


RUO2 = Oxide()


def pair_name(one: str, two: str) -> str:
    """Two symbols in alphabetical order, for example ``"Ir-O"``."""
    return "-".join(sorted((one, two)))


def length_ratio(metal: str, one: str, two: str) -> float:
    """Sum of covalent radii of two symbols, O or `metal`, over that of the same pair with Ru for the metal."""
    of_ruo2 = (RUTHENIUM if symbol == metal else symbol for symbol in (one, two))
    return _radii(one, two) / _radii(*of_ruo2)


def carried_over(lengths: Mapping[str, float], metal: str) -> dict[str, float]:
    """Lengths in Å per pair of O and another metal, from those per pair of O and Ru."""
    carried = {}
    for pair, length in lengths.items():
        one, two = (metal if symbol == RUTHENIUM else symbol for symbol in pair.split("-"))
        carried[pair_name(one, two)] = round(length * length_ratio(metal, one, two), DIGITS)
    return carried


def of_species(lengths: Mapping[str, float], species: Collection[str]) -> dict[str, float]:
    """Lengths per pair of symbols, with those of every further metal among `species` carried over from Ru's."""
    named = {symbol for pair in lengths for symbol in pair.split("-")}
    complete = dict(lengths)
    if RUTHENIUM in named:
        of_ruo2 = {pair: length for pair, length in lengths.items() if set(pair.split("-")) <= {"O", RUTHENIUM}}
        for metal in set(species) - named:
            complete |= carried_over(of_ruo2, metal)
    return complete


def metal_crystal(metal: str, structure: str) -> Atoms:
    """Primitive cell of a metal: its lattice lengths are ASE's, else such that neighbours are two covalent radii apart.

    Parameters
    ----------
    structure : str
        ``"hcp"``, ``"fcc"`` or ``"bcc"``.
    """
    from ase.build import bulk  # it loads half of SciPy, and every command reads settings

    state = reference_states[atomic_numbers[metal]] or {}
    if state.get("symmetry") == structure:
        return bulk(metal, structure)
    return bulk(metal, structure, a=LATTICE_OF_NEIGHBOURS[structure] * _radii(metal, metal))


def _radii(one: str, two: str) -> float:
    return float(covalent_radii[atomic_numbers[one]] + covalent_radii[atomic_numbers[two]])
