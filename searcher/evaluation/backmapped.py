"""`searcher backmap`: the atoms of density grids, as structures."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from rich.console import Console

from generators.grids.backmapping import BackmappingSettings, Decoded, backmap
from generators.grids.files import GridFile, read_grids
from generators.grids.spec import GridError, GridSpec
from generators.overlaps import DistanceTable, push_apart
from searcher.campaign.arms.grid_proposer import backmapping_settings
from searcher.campaign.beginning.preparation import recorded_problem
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.ledger import Ledger
from searcher.config.recorded import recorded_config
from searcher.errors import InputError
from searcher.files import replacing


def backmapped(path: Path, out: Path, run: Path | None = None, min_r2: float = 0.5) -> list[dict[str, Any]]:
    """Read the atoms of a file's grids and write those that could be read as extxyz.

    Parameters
    ----------
    path : pathlib.Path
        As `generators.grids.files.write_grids` makes it.
    out : pathlib.Path
    run : pathlib.Path, optional
        A campaign; the atoms are put on its template, and read as its own proposals are. Without one they stand alone
        in the grid's box.
    min_r2 : float
        Of which less is explained, the grid counts as unreadable.

    Returns
    -------
    list of dict
        Per grid ``index``, ``reason`` (None if it could be read), ``r2``, ``formula`` of the atoms that were read,
        ``condition``.

    Raises
    ------
    InputError
        If the grids are damaged, or were made for another template.
    """
    try:
        file = read_grids(path)
    except GridError as error:
        raise InputError(str(error)) from None
    problem, settings = None, BackmappingSettings(r2_min=min_r2)
    if run is not None:
        ledger = Ledger.of_run(run)
        problem = recorded_problem(ledger)
        if file.template != problem.template.id:
            raise InputError(
                f"`{path}` was made for template {file.template or 'none'}, but the campaign `{run}` has "
                f"{problem.template.id}: facet, repeat, frozen part or lattice differ"
            )
        config = recorded_config(ledger.fact("config"))
        grid = config.grid.model_copy(update={"min_r2": min_r2})
        settings = backmapping_settings(config.model_copy(update={"grid": grid}), problem)
        ledger.close()
    decoded = backmap(file.grids, file.spec, settings) if len(file.grids) else []
    structures = [_structure(one, file, problem) for one in decoded]
    records = [_record(n, one, structures[n], file) for n, one in enumerate(decoded)]
    for record, atoms in zip(records, structures, strict=True):
        atoms.info = {"id": f"{path.stem} #{record['index']}", "r2": record["r2"], **record["condition"]}
    with replacing(out) as draft:
        readable = [atoms for atoms, one in zip(structures, decoded, strict=True) if one.reason is None]
        write(draft, readable, format="extxyz")
    return records


def print_backmapped(records: Sequence[dict[str, Any]], console: Console) -> None:
    """How many could be read, and why the others could not."""
    reasons = Counter(record["reason"] for record in records)
    console.print(f"{reasons.pop(None, 0)} of {len(records)} grids could be read", highlight=False)
    for reason, count in reasons.most_common():
        console.print(f"  {reason}: {count}", highlight=False)


def _record(index: int, decoded: Decoded, atoms: Atoms, file: GridFile) -> dict[str, Any]:
    free = atoms[atoms.get_tags() != 0] if atoms.get_tags().any() else atoms
    return {
        "index": index,
        "reason": decoded.reason,
        "r2": round(float(decoded.r2), 6),
        "formula": free.get_chemical_formula(mode="metal"),
        "condition": dict(file.conditions[index]),
    }


def _structure(decoded: Decoded, file: GridFile, problem: SurfaceProblem | None) -> Atoms:
    if problem is None:
        return _in_box(decoded, file.spec)
    least = DistanceTable(problem.minimum_distances)
    return problem.template.assemble(
        decoded.numbers, push_apart(decoded.numbers, decoded.positions, problem.template, least)
    )


def _in_box(decoded: Decoded, spec: GridSpec) -> Atoms:
    return Atoms(
        numbers=decoded.numbers,
        positions=decoded.positions - np.asarray(spec.origin),
        cell=spec.lengths,
        pbc=spec.periodic,
    )
