"""Our basin hopping, alone."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search_yield.cells import relaxation_of
from benchmarks.search_yield.frame import Frame
from benchmarks.search_yield.records import ArmRun, Relaxation, seconds_so_far, stopwatch
from searcher.campaign.hopping.basin_hopping import BasinHoppingSettings, basin_hopping, read_hops

ARMS: dict[str, dict[str, Any]] = {"hopping": {}, "hopping_cartesian": {"moves": "cartesian"}}
MOST_STEPS = 10**6


def run_hopping_arm(frame: Frame, arm: str, table: str, seed: int, budget: int, folder: Path) -> ArmRun:
    """Hop until the budget is spent; called again with the same folder it goes on where it was."""
    to_the_end = {"fall_back": 0.0} if table == "A" else {}
    settings = BasinHoppingSettings(
        steps=MOST_STEPS, force_calls=budget, relaxation=relaxation_of(table), **to_the_end, **ARMS[arm]
    )
    chains = folder / "chains"
    with stopwatch(folder):
        basin_hopping(frame.problem, frame.potential, frame.executor, frame.start, settings, seed, chains)
    template, calls, relaxations = frame.problem.template, 0, []
    for hop in (hop for hops in read_hops(chains) for hop in hops):
        calls += hop.force_calls
        if hop.force_calls:
            relaxations.append(_relaxation(calls, hop, template))
    return ArmRun(frame.cell.name, arm, table, seed, budget, calls, seconds_so_far(folder), 0.0, relaxations)


def _relaxation(calls: int, hop: Any, template: Any) -> Relaxation:
    if hop.energy is None:
        return Relaxation(calls, [], [], None, hop.move)
    atoms = hop.atoms(template)
    return Relaxation(calls, atoms.numbers.tolist(), np.asarray(atoms.positions).tolist(), hop.energy, hop.move)
