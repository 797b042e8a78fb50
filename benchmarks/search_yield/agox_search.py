"""Searches of AGOX (GPL-3), run as a program in an environment of its own, through its public interface.

benchmarks/search_yield/agox_environment.sh FOLDER
FOLDER/bin/python -m benchmarks.search_yield.agox_search PROBLEM FOLDER
"""

import sys
import time
from pathlib import Path

import numpy as np
from agox import AGOX
from agox.algorithms import GOFEE
from agox.algorithms.config import ProblemConfig, RunConfig
from agox.candidates import StandardCandidate
from agox.databases import Database
from agox.environments import Environment
from agox.evaluators import LocalOptimizationEvaluator
from agox.generators import RandomGenerator, RattleGenerator
from agox.helpers.confinement import Confinement
from agox.postprocessors import WrapperPostprocess
from agox.samplers import MetropolisSampler
from ase import Atoms
from ase.geometry import find_mic

from benchmarks.search_yield.search_program import FMAX, STEPS, Problem, Search, Training, run_parts

SURROGATE_SHARE = 2 / 3
"""of GOFEE's budget for the search with its surrogate; the rest relaxes what it found, which it never does itself"""
SAME_PLACES = 0.5
"""Å: of candidates whose atoms all lie nearer, such as both frames of GOFEE's single step, the lower is relaxed"""
MOST_ITERATIONS = 10**6
METROPOLIS = 0.25
"""eV, the package's own"""


def random_search(part: Search, start: Atoms, seed: int, training: Training) -> None:
    """Random structures, each relaxed."""
    environment, database = _environment(part, start), Database("found.db", order=4)
    generator = RandomGenerator(confinement=_drawn_within(part.problem), environment=environment, order=1)
    modules = (generator, database, _evaluator(part, environment), WrapperPostprocess(order=2))
    AGOX(*modules, seed=seed).run(N_iterations=MOST_ITERATIONS)


def basin_hopping(part: Search, start: Atoms, seed: int, training: Training) -> None:
    """Rattled structures and Metropolis decisions, from the start."""
    environment, database = _environment(part, start), Database("found.db", order=4)
    sampler = MetropolisSampler(temperature=METROPOLIS, order=5)
    n_free = len(start) - part.problem.n_frozen
    generator = RattleGenerator(
        n_rattle=max(1, n_free // 4),
        confinement=_drawn_within(part.problem),
        environment=environment,
        sampler=sampler,
        order=1,
    )
    evaluator = _evaluator(part, environment)
    candidate = StandardCandidate(
        template=_template(part, start), numbers=start.numbers, positions=start.positions, cell=start.cell
    )
    for name, value in (("uuid", "start"), ("spawn_uuids", ["start"])):
        candidate.add_meta_information(name, value)
    if evaluator(candidate):
        sampler.setup(candidate)
    modules = (generator, database, evaluator, sampler, WrapperPostprocess(order=2))
    AGOX(*modules, seed=seed).run(N_iterations=MOST_ITERATIONS)


def gofee(part: Search, start: Atoms, seed: int, training: Training) -> None:
    """A surrogate's Bayesian search, then relaxations of its lowest different candidates."""
    problem = part.problem
    cell, corner = _box(problem, *problem.relaxation["window"])
    began, whole = time.monotonic(), part.budget
    search = GOFEE.create(
        problem=ProblemConfig(
            template=_template(part, start),
            numbers=start.numbers[problem.n_frozen :].tolist(),
            confinement_cell=cell,
            confinement_corner=corner,
            calculator=part.calculator,
        ),
        run=RunConfig(path=Path.cwd() / "gofee", seed=seed % 2**32, cpu_count=1),
    )
    search.run(iterations=max(1, int(SURROGATE_SHARE * whole) // 2))  # two calls an iteration
    training.seconds += time.monotonic() - began
    relaxer = part.optimiser()
    relaxed: list[np.ndarray] = []
    for candidate in sorted(search.get_database().get_all_candidates(), key=lambda c: c.get_potential_energy()):
        atoms = candidate.copy()
        vectors = (find_mic(atoms.positions - other, atoms.cell, atoms.pbc)[1] for other in relaxed)
        if all(lengths.max() > SAME_PLACES for lengths in vectors):
            relaxed.append(atoms.positions.copy())
            atoms.calc = part.calculator
            relaxer(atoms, logfile=None).run(fmax=FMAX, steps=STEPS)


def _template(part: Search, start: Atoms) -> Atoms:
    template = start[: part.problem.n_frozen]
    template.pbc = (True, True, False)
    return template


def _box(problem: Problem, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Cell and corner of a box of the slab's heights, three cells wide.

    In a box as wide as the cell, an atom that leaves it sideways, where the slab goes on, has its height set back in
    every step: relaxations of rutile, whose atoms stand on the cell's edges, do not end.
    """
    a, b, _ = problem.cell
    return np.diag([3 * a, 3 * b, high - low]), np.array([-a, -b, low])


def _drawn_within(problem: Problem) -> Confinement:
    return Confinement(*_box(problem, problem.floor, problem.ceiling))


def _environment(part: Search, start: Atoms) -> Environment:
    problem = part.problem
    cell, corner = _box(problem, *problem.relaxation["window"])  # atoms may drift as far as those of our arms
    return Environment(
        template=_template(part, start),
        numbers=start.numbers[problem.n_frozen :].tolist(),
        confinement_cell=cell,
        confinement_corner=corner,
        box_constraint_pbc=[True, True, False],
        fix_template=True,
        print_report=False,
    )


def _evaluator(part: Search, environment: Environment) -> LocalOptimizationEvaluator:
    return LocalOptimizationEvaluator(
        part.calculator,
        optimizer=part.optimiser(),
        gets={"get_key": "candidates"},
        optimizer_run_kwargs={"fmax": FMAX, "steps": STEPS},
        constraints=environment.get_constraints(),
        store_trajectory=False,
        order=3,
    )


METHODS = {"agox_random": random_search, "agox_hopping": basin_hopping, "agox_gofee": gofee}


if __name__ == "__main__":
    given = Problem.read(Path(sys.argv[1]))
    folder = Path(sys.argv[2]).resolve()
    run_parts(given, folder, METHODS[given.method])
