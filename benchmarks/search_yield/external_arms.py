"""Arms that other packages search by, each a program in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.search_yield.cells import PLAIN_RELAXATION
from benchmarks.search_yield.frame import Frame
from benchmarks.search_yield.records import END, ArmRun, Relaxation, in_turns, seconds_so_far, stopwatch
from generators.moves import insert_oxygen, remove_oxygen
from searcher.campaign.relaxing import relaxation_window
from searcher.errors import EnvironmentProblem
from searcher.files import write_text

ROOT = Path(__file__).parents[2]
PROGRAMS = {"ase": "benchmarks.search_yield.ase_search", "agox": "benchmarks.search_yield.agox_search"}
ARMS = ("ase_hopping", "agox_random", "agox_hopping", "agox_gofee")
PROBLEM = "problem.json"
OXYGEN = 8


def run_external_arm(frame: Frame, arm: str, table: str, seed: int, budget: int, python: Path, folder: Path) -> ArmRun:
    """Search by another package; called again with the same folder it goes on with the next composition.

    Parameters
    ----------
    python : pathlib.Path
        Interpreter of the package's environment.

    Raises
    ------
    EnvironmentProblem
        If the program ends with an error.
    """
    write_problem(frame, arm, table, seed, budget, folder / PROBLEM)
    log = folder / "program.log"
    command = [str(python), "-m", PROGRAMS[arm.partition("_")[0]], str(folder / PROBLEM), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    with stopwatch(folder), log.open("ab") as stream:
        ended = subprocess.run(command, stdout=stream, stderr=stream, env=environment, cwd=ROOT, check=False)
    if ended.returncode != 0:
        raise EnvironmentProblem(f"arm `{arm}` ended with exit code {ended.returncode}; its last words are in `{log}`")
    parts: list[list[Relaxation]] = []
    training = 0.0
    for path in sorted(folder.glob("part-*.json")):
        part = json.loads(path.read_text(encoding="utf-8"))
        own = [Relaxation(**row) for row in part["relaxations"]]
        ended_at = Relaxation(part["calls"], [], [], None, END)
        parts.append([*own, ended_at])
        training += part["training_s"]
    relaxations, wall = in_turns(parts), seconds_so_far(folder)
    return ArmRun(frame.cell.name, arm, table, seed, budget, relaxations[-1].calls, wall, training, relaxations)


def write_problem(frame: Frame, arm: str, table: str, seed: int, budget: int, path: Path) -> None:
    """The cell in plain values."""
    template = frame.problem.template
    starts = starts_by_composition(frame, seed)
    content = {
        "method": arm,
        "table": table,
        "seed": seed,
        "budget": budget,
        "potential": frame.potential.as_dict(),
        "relaxation": {**PLAIN_RELAXATION, "window": relaxation_window(frame.problem)},
        "cell": template.cell.tolist(),
        "n_frozen": template.n_frozen,
        "floor": template.free_floor,
        "ceiling": template.free_ceiling,
        "starts": [{"numbers": a.numbers.tolist(), "positions": a.positions.tolist()} for a in starts],
    }
    write_text(path, json.dumps(content))


def starts_by_composition(frame: Frame, seed: int) -> list[Atoms]:
    """The start with oxygen atoms taken away or added at random until it has each allowed count."""
    template, (fewest, most) = frame.problem.template, frame.problem.counts["O"]
    rng = np.random.default_rng([seed, 0])
    starts = []
    for wanted in range(fewest, most + 1):
        numbers, positions = frame.start.numbers, frame.start.positions
        while (missing := wanted - _free_oxygen(numbers, template.n_frozen)) != 0:
            numbers, positions = (
                _one_more(frame, numbers, positions, rng)
                if missing > 0
                else _one_less(numbers, positions, template.n_frozen, rng)
            )
        starts.append(template.assemble(numbers[template.n_frozen :], positions[template.n_frozen :]))
    return starts


def _free_oxygen(numbers: np.ndarray, n_frozen: int) -> int:
    return int(np.count_nonzero(numbers[n_frozen:] == OXYGEN))


def _one_more(frame: Frame, numbers: Any, positions: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    template, limits = frame.problem.template, frame.problem.thresholds
    heights = (template.free_floor, template.free_ceiling)
    for shortest in np.linspace(limits.o_o_clustered, limits.o_o_molecular, 4):
        found = insert_oxygen(numbers, positions, template.cell, heights, rng, float(shortest))
        if found is not None:
            return found
    raise EnvironmentProblem(f"there is no room for {len(numbers) + 1} atoms on cell `{frame.cell.name}`")


def _one_less(numbers: Any, positions: Any, n_frozen: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    found = remove_oxygen(numbers, positions, np.arange(n_frozen, len(numbers)), rng)
    assert found is not None  # there is at least one more than wanted
    return found


def interpreter(arm: str, agox: Path | None) -> Path:
    """Which Python runs an arm.

    Raises
    ------
    EnvironmentProblem
        If AGOX's environment was not made.
    """
    if not arm.startswith("agox_"):
        return Path(sys.executable)
    python = None if agox is None else agox / "bin" / "python"
    if python is None or not python.is_file():
        raise EnvironmentProblem(
            f"arm `{arm}` needs `--agox FOLDER`, made by `sh benchmarks/search_yield/agox_environment.sh FOLDER`"
        )
    return python
