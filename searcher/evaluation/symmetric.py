"""One-sided slabs as slabs with two equal faces, relaxed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms

from relax.potential import PotentialSpec
from relax.worker import plain_arrays, relax_task
from searcher.campaign.workers.executor import Executor
from searcher.errors import EnvironmentProblem
from searcher.structures.slabs import FileStructure
from searcher.structures.symmetric import symmetrised


def relaxed_symmetric(
    structures: Sequence[FileStructure], potential: PotentialSpec, executor: Executor
) -> tuple[list[FileStructure], list[str]]:
    """Mirror one-sided slabs at a centre in their frozen layers and relax all of their atoms.

    Returns
    -------
    list of FileStructure
        Symmetric slabs with their energies in eV; what was not one-sided stays as it is.
    list of str
        What did not relax, and is left out.

    Raises
    ------
    InputError
        If a slab has no centre of inversion in its frozen layers.
    EnvironmentProblem
        If a worker did not answer.
    """
    built = {
        n: symmetrised(s.atoms, s.n_frozen)
        for n, s in enumerate(structures)
        if s.role == "slab" and s.n_frozen and s.faces != "mean"
    }
    payloads = [_payload(atoms, potential) for atoms in built.values()]
    found = list(structures)
    failed: dict[int, str] = {}
    for outcome in executor.map(relax_task, payloads):
        number = list(built)[outcome.index]
        if outcome.result is None:
            raise EnvironmentProblem(f"the potential relaxes nothing: {outcome.failure}, {outcome.message}")
        if not outcome.result["converged"]:
            failed[number] = f"`{structures[number].id}` does not relax as a symmetric slab: {outcome.result['reason']}"
            continue
        atoms = built[number]
        atoms.positions = np.asarray(outcome.result["positions"])
        energy = float(outcome.result["energy"])
        found[number] = replace(structures[number], atoms=atoms, faces="symmetric", n_frozen=0, energy=energy)
    return [s for n, s in enumerate(found) if n not in failed], [failed[n] for n in sorted(failed)]


def _payload(atoms: Atoms, potential: PotentialSpec) -> dict[str, Any]:
    return {
        "potential": potential.as_dict(),
        **plain_arrays(atoms),
        "frozen": [],
    }
