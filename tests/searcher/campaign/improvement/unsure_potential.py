"""A stand-in that knows how unsure it is: the analytic potential, its energies multiplied by `strength`."""

from typing import Any

from relax.analytic import AnalyticRuO


class UnsureRuO(AnalyticRuO):
    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength
        self.extra_results: dict[str, Any] = {}

    def calculate(self, atoms=None, properties=("energy",), system_changes=(), calc_args=""):
        super().calculate(atoms, properties, system_changes)
        self.results = {name: self.strength * value for name, value in self.results.items()}
        if calc_args == "local_gap_variance":
            z = atoms.positions[:, 2]
            self.extra_results = {"atoms": {"local_gap_variance": 1e-4 * (1 + z - z.min())}}
