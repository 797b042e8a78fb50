"""Grand-canonical basin hopping on a template: Markov chains at several oxygen potentials, advanced together.

A hop is a random move or an oxygen atom more or less, a relaxation, and a Metropolis decision on Ω = E − N_O·μ_O. There
are no proposal-ratio terms: it searches, it does not sample.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from generators.moves import BOND_REACH
from relax.potential import PotentialSpec, potential_hash
from relax.relaxation_settings import relaxation_settings
from searcher.campaign.hopping.hops import HopFolder, hop_counts, read_hops
from searcher.campaign.hopping.markov_chains import OXYGEN, Walk
from searcher.campaign.hopping.settings import BasinHoppingSettings
from searcher.campaign.hopping.visited_minima import VisitedMinimum, distinct_minima, write_minima
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.workers.executor import Executor
from searcher.errors import InputError

__all__ = ["BasinHoppingSettings", "VisitedMinimum", "basin_hopping", "hop_counts", "read_hops", "write_minima"]

Progress = Callable[[int], None]


def basin_hopping(
    problem: SurfaceProblem,
    potential: PotentialSpec,
    executor: Executor,
    start: Atoms,
    settings: BasinHoppingSettings,
    seed: int,
    folder: Path,
    progress: Progress = lambda hops: None,
) -> list[VisitedMinimum]:
    """Search for terminations; called again with the same folder it goes on where it was.

    Parameters
    ----------
    start : ase.Atoms
        A termination on the template, which all chains start from; it is relaxed first.
    seed : int
        Equal seeds give equal minima, whatever the order in which workers answer.
    folder : pathlib.Path
        Keeps every step; `read_hops` reads it and `hop_counts` sums it up.
    progress : callable
        Told the number of hops finished since the last call.

    Returns
    -------
    list of VisitedMinimum
        Distinct valid minima in the order of their first visit, the relaxed start first.

    Raises
    ------
    InputError
        If `start` is not on the template, its oxygen count is not allowed, or the folder is of other chains.
    SearchFailed
        If the start does not relax to a valid termination.
    """
    _check_start(problem, start)
    store = HopFolder(folder, _identity(problem, potential, start, settings, seed))
    walk = Walk(problem, potential, executor, settings)
    history = read_hops(folder)
    if not history:
        history = [[walk.relax_start(start)]]
        store.write(0, history[0])
    chains = walk.chains(history, seed)
    done = len(history) - 1
    spent = sum(hop.force_calls for hops in history for hop in hops)
    progress(done * len(chains))
    while done < settings.steps and (settings.force_calls is None or spent < settings.force_calls):
        done += 1
        hops = walk.advance(chains, done)
        store.write(done, hops)
        history.append(hops)
        spent += sum(hop.force_calls for hop in hops)
        progress(len(chains))
    visited = [hop for hops in history for hop in hops]
    return distinct_minima(problem, executor, visited, settings.ladder, settings.kappa_min)


def _check_start(problem: SurfaceProblem, start: Atoms) -> None:
    template = problem.template
    same = len(start) >= template.n_frozen and np.array_equal(
        start.numbers[: template.n_frozen], template.frozen_numbers
    )
    if not same or not np.allclose(start.positions[: template.n_frozen], template.frozen_positions, atol=1e-6):
        raise InputError(
            f"`start` does not begin with the {template.n_frozen} frozen atoms of the template {template.id}; "
            "lay its free atoms on it with `template.assemble`"
        )
    numbers, _ = template.free_part(start)
    if not problem.counts_allowed(numbers):
        raise InputError(
            f"`start` has {np.count_nonzero(numbers == OXYGEN)} free O of {len(numbers)} free atoms, "
            f"allowed are {dict(problem.counts)}"
        )


def _identity(
    problem: SurfaceProblem, potential: PotentialSpec, start: Atoms, settings: BasinHoppingSettings, seed: int
) -> dict[str, Any]:
    """Everything on which the hops depend."""
    content = np.round(np.column_stack([start.numbers, start.positions]), 6).astype("<f8")
    return {
        "seed": seed,
        "template": problem.template.id,
        "potential": potential_hash(potential),
        "start": hashlib.sha256(content.tobytes()).hexdigest()[:16],
        "references": asdict(problem.references),
        "thresholds": asdict(problem.thresholds),
        "counts": {symbol: list(bounds) for symbol, bounds in problem.counts.items()},
        "bond_reach": BOND_REACH,
        **settings.deciding(),
        "relaxation": asdict(relaxation_settings(settings.relaxation)),
    }
