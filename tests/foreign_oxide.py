"""A stand-in for a potential of another rutile oxide: iridium behaves as ruthenium does in the analytic one."""

from collections.abc import Sequence
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from relax.analytic import AnalyticRuO

RUTHENIUM, IRIDIUM = 44, 77


class AnalyticIrO(Calculator):
    """`AnalyticRuO` with the metal's name changed."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.inner = AnalyticRuO()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        renamed = self.atoms.copy()
        renamed.numbers[renamed.numbers == IRIDIUM] = RUTHENIUM
        self.inner.calculate(renamed, list(properties), list(all_changes))
        self.results = dict(self.inner.results)
