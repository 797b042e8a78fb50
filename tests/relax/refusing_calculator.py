"""A reference calculator that fails at something, as DFT does."""

from ase.calculators.calculator import CalculationFailed

from relax.analytic import AnalyticRuO


class RefusesSingleAtoms(AnalyticRuO):
    """Knows crystals only."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if len(self.atoms) == 1:
            raise CalculationFailed("one atom does not converge")
