"""What is too distorted for a learned reference calculator to be believed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from relax.oxide import carried_over


@dataclass(frozen=True)
class LabelLimits:
    """What is too distorted for a learned reference calculator to be believed.

    Attributes
    ----------
    minimum_distances : mapping of str to float
        Shortest distance in Å per pair of symbols in alphabetical order, for example ``"O-Ru"``.
    dimer_distances : mapping of str to float
        The same for structures whose `config_type` is ``"dimer"``.
    max_force : float
        Largest |F| of an atom in eV/Å.
    """

    minimum_distances: Mapping[str, float] = field(default_factory=lambda: {"O-O": 0.9, "O-Ru": 1.3, "Ru-Ru": 1.9})
    dimer_distances: Mapping[str, float] = field(default_factory=lambda: {"O-O": 0.9, "O-Ru": 1.3, "Ru-Ru": 1.7})
    max_force: float = 30.0

    @classmethod
    def of_metal(cls, metal: str) -> "LabelLimits":
        """The same for the oxide of another metal."""
        of_ruo2 = cls()
        return cls(carried_over(of_ruo2.minimum_distances, metal), carried_over(of_ruo2.dimer_distances, metal))


def too_close(atoms: Atoms, limits: LabelLimits) -> str | None:
    """The first pair of species nearer than `limits` allow, as ``"O-Ru"``, else None."""
    floors = limits.dimer_distances if atoms.info.get("config_type") == "dimer" else limits.minimum_distances
    first, second, distance = neighbor_list("ijd", atoms, max(floors.values()))
    symbols = np.array(atoms.get_chemical_symbols())
    for pair, floor in floors.items():
        one, two = pair.split("-")
        of_pair = (symbols[first] == one) & (symbols[second] == two)
        if np.any(distance[of_pair] < floor):
            return pair
    return None
