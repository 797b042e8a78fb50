"""Energy landscape paving: minima in which a chain has stood are raised, so that it moves on.

Hansmann and Wille, Phys. Rev. Lett. 88, 068105 (2002). At temperatures at which a chain finds low minima at all, the
first deep one would hold it for ever.
"""

SAME_ENERGY = 0.05
"""eV; relaxations to 0.1 eV/Å into one minimum differ by less, and what is raised together by mistake does no harm."""


class Paving:
    """How often one chain has stood in each minimum, told apart by oxygen count and energy.

    Parameters
    ----------
    height : float
        eV added for every step.
    """

    def __init__(self, height: float) -> None:
        self._height = height
        self._visits: dict[int, list[tuple[float, int]]] = {}

    def visit(self, n_oxygen: int, energy: float) -> None:
        """Count one more step in the minimum of this energy (eV)."""
        found = self._visits.setdefault(n_oxygen, [])
        for row, (known, count) in enumerate(found):
            if abs(known - energy) <= SAME_ENERGY:
                found[row] = (known, count + 1)
                return
        found.append((energy, 1))

    def at(self, n_oxygen: int, energy: float) -> float:
        """What is added to Ω of the minimum of this energy, in eV."""
        for known, count in self._visits.get(n_oxygen, ()):
            if abs(known - energy) <= SAME_ENERGY:
                return self._height * count
        return 0.0
