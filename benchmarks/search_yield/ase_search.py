"""Basin hopping as ASE has it, composition by composition.

python -m benchmarks.search_yield.ase_search PROBLEM FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.optimize.basin import BasinHopping

from benchmarks.search_yield.search_program import FMAX, Problem, Search, Training, run_parts

TEMPERATURE = 1000.0
"""K, as our own basin hopping has it; ASE's default of 100 K hardly ever accepts a step uphill."""
STEP = 0.5
"""Å; of ASE's own example, its default of 0.1 Å falls back into the same minimum"""
MOST_STEPS = 10**6


def search(part: Search, start: Atoms, seed: int, training: Training) -> None:
    """Hop until the budget is spent."""
    np.random.seed(seed)  # noqa: NPY002 - the package draws from the global generator
    start.calc = part.calculator
    hopping = BasinHopping(
        start,
        temperature=TEMPERATURE * units.kB,
        optimizer=part.optimiser(),
        fmax=FMAX,
        dr=STEP,
        logfile=None,
        trajectory=None,
        optimizer_logfile=None,
        local_minima_trajectory=None,
        adjust_cm=False,
    )
    hopping.run(MOST_STEPS)


if __name__ == "__main__":
    run_parts(Problem.read(Path(sys.argv[1])), Path(sys.argv[2]), search)
