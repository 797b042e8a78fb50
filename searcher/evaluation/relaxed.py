"""`searcher relax`: structures of files relaxed in isolated processes."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from rich.console import Console
from rich.table import Table

from relax.overlaps import frozen_indices
from relax.potential import PotentialSpec
from relax.relaxation_settings import RelaxationSettings, RelaxationSettingsError
from relax.worker import plain_arrays, relax_task
from searcher.campaign.workers.executor import Executor, Outcome
from searcher.errors import InputError
from searcher.files import replacing
from searcher.structures.slabs import ID_KEYS, structure_ids

KEPT = (*ID_KEYS, "facet")
"""what a structure's file says that still holds when it is relaxed"""


def relaxed_settings(fmax: float, max_calls: int) -> RelaxationSettings:
    """Settings from the command line.

    Raises
    ------
    InputError
        If one is out of range.
    """
    try:
        return RelaxationSettings(fmax=fmax, max_calls=max_calls)
    except RelaxationSettingsError as error:
        raise InputError(str(error).replace("relaxation.", "").replace("_", "-")) from None


def relaxed(
    named: Sequence[tuple[str, Atoms]],
    out: Path,
    potential: PotentialSpec,
    settings: RelaxationSettings,
    executor: Executor,
) -> list[dict[str, Any]]:
    """Relax structures and write all of them as extxyz, in their order, each with energy and what became of it.

    Parameters
    ----------
    named : sequence of (name, structure)
        Atoms that a constraint fixes stay where they are.
    out : pathlib.Path
    potential : PotentialSpec
    settings : RelaxationSettings
    executor : Executor

    Returns
    -------
    list of dict
        ``id``, ``converged``, ``reason`` (a code, None if it converged), ``energy_eV`` and ``fmax_eV_per_A`` (None if
        nothing was evaluated), ``force_calls``, ``potential``.
    """
    names = structure_ids(named)
    payloads = [_payload(atoms, potential, settings) for _, atoms in named]
    records: list[dict[str, Any]] = [{} for _ in named]
    structures = [atoms.copy() for _, atoms in named]
    for outcome in executor.map(relax_task, payloads):
        atoms = structures[outcome.index]
        records[outcome.index] = _record(names[outcome.index], outcome)
        if outcome.result is not None:
            atoms.positions = np.asarray(outcome.result["positions"])
    for record, atoms in zip(records, structures, strict=True):
        told = {key: value for key, value in record.items() if value is not None and key != "energy_eV"}
        # what else a file records, γ and its references above all, holds for the old positions and potential
        atoms.info = {key: atoms.info[key] for key in KEPT if key in atoms.info} | told
        atoms.calc = None
        if record["energy_eV"] is not None:
            atoms.calc = SinglePointCalculator(atoms, energy=record["energy_eV"])
    with replacing(out) as draft:
        write(draft, structures, format="extxyz")
    return records


def print_relaxed(records: Sequence[dict[str, Any]], console: Console) -> None:
    """A table for a terminal."""
    table = Table()
    for column in ("structure", "energy / eV", "fmax / eV Å⁻¹", "force calls", "outcome"):
        table.add_column(column, overflow="fold")
    for record in records:
        energy, fmax = record["energy_eV"], record["fmax_eV_per_A"]
        table.add_row(
            record["id"],
            "–" if energy is None else f"{energy:.4f}",
            "–" if fmax is None else f"{fmax:.3f}",
            str(record["force_calls"]),
            "converged" if record["converged"] else record["reason"],
        )
    console.print(table)


def _payload(atoms: Atoms, potential: PotentialSpec, settings: RelaxationSettings) -> dict[str, Any]:
    return {
        "potential": potential.as_dict(),
        **plain_arrays(atoms),
        "frozen": frozen_indices(atoms),
        "settings": asdict(settings),
    }


def _record(name: str, outcome: Outcome) -> dict[str, Any]:
    result = outcome.result
    if result is None:
        values: dict[str, Any] = {"converged": False, "reason": outcome.failure, "force_calls": 0, "potential": None}
        return {"id": name, **values, "energy_eV": None, "fmax_eV_per_A": None}
    energy, fmax = float(result["energy"]), float(result["max_force"])
    converged = bool(result["converged"])
    return {
        "id": name,
        "converged": converged,
        "reason": None if converged else result["reason"] or "not_converged",
        "force_calls": int(result["force_calls"]),
        "potential": result["potential_hash"],
        "energy_eV": energy if np.isfinite(energy) else None,
        "fmax_eV_per_A": fmax if np.isfinite(fmax) else None,
    }
