"""What a critic looks at in structures: numbers for each atom, in a file and in a picture."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from rich.console import Console

from generators.attribution import CaptumMissing, TrainedCritic, answers, attribute, gathered_on_atoms
from generators.template import Template
from generators.training.checkpoint import WeightsError
from generators.training.dataset import Batch, StructureDataset
from searcher.errors import EnvironmentProblem, InputError
from searcher.files import write_text
from searcher.generation.reach import Known
from searcher.generation.reading import spec_of_cell
from searcher.results.generator_plots import attributed_atoms

STRUCTURES, PICTURE = "attribution.extxyz", "attribution-{}.png"
PREFIX = "attribution_"
"""of the file's columns and values, before the answer's name"""


def draw_attribution(path: Path, template: Template | None, known: Sequence[Known], out: Path) -> dict[str, Any]:
    """Divide the critic's score, and the conditions that it tells, among the atoms of structures.

    Parameters
    ----------
    path : pathlib.Path
        Weights.
    template : Template or None
        Of windows, whose frozen atoms get nothing: they are the same for all.
    known : sequence of Known
    out : pathlib.Path
        Folder that gets `attribution.extxyz`, with a column for each answer, and a picture of each.

    Returns
    -------
    dict
        By answer a list of ``name``, ``answer`` for the structure, ``empty`` for the empty grid, and ``by_element``:
        sums over the atoms, which add up to their difference.

    Raises
    ------
    InputError
        If the weights hold no critic or are of slices, or a structure does not fit them.
    EnvironmentProblem
        If Captum is not installed.
    """
    try:
        critic = TrainedCritic.load(path, template)
        conditions, records = critic.settings.conditions, [one.record for one in known]
        dataset = StructureDataset(records, critic.spec, conditions, None, view=critic.view)
        batch = dataset.each()
    except (WeightsError, ValueError) as error:
        raise InputError(f"what the critic looks at: {error}") from None
    structures = [_bare(one.atoms) for one in known]
    n_frozen = 0 if template is None else template.n_frozen
    told: dict[str, Any] = {}
    for answer in critic.answers:
        told[answer] = _divided(critic, batch, known, structures, answer)
        values = [atoms.arrays[PREFIX + answer] for atoms in structures]
        picture = attributed_atoms(structures, values, n_frozen, [one.name for one in known])
        (out / PICTURE.format(answer)).write_bytes(picture)
    text = StringIO()
    ase.io.write(text, structures, format="extxyz")
    write_text(out / STRUCTURES, text.getvalue())
    return told


def _divided(
    critic: TrainedCritic, batch: Batch, known: Sequence[Known], structures: Sequence[Atoms], answer: str
) -> list[dict[str, Any]]:
    """One answer for every structure, whose atoms get a column of its parts."""
    try:
        voxels = attribute(critic, batch.grids, batch.conditions, answer)
    except CaptumMissing:
        raise EnvironmentProblem("`--attribution` needs Captum: pip install 'surface-searcher[attribution]'") from None
    given = answers(critic, batch.grids, batch.conditions, answer)
    empty = answers(critic, torch.zeros_like(batch.grids), batch.conditions, answer)
    rows = []
    for index, (one, atoms) in enumerate(zip(known, structures, strict=True)):
        shares = _of_atoms(voxels[index], one, atoms, critic)
        atoms.set_array(PREFIX + answer, shares)
        by_element = {str(s): float(shares[atoms.symbols == s].sum()) for s in critic.spec.species}
        row = {"name": one.name, "answer": float(given[index]), "empty": float(empty[index])}
        rows.append({**row, "by_element": by_element})
    return rows


def print_attribution(told: dict[str, Any], console: Console) -> None:
    """What each element of each structure adds to the critic's answers."""
    for answer, rows in told.items():
        for row in rows:
            shares = ", ".join(f"{symbol} {value:+.3g}" for symbol, value in row["by_element"].items())
            console.print(
                f"{row['name']}: {answer} {row['answer']:.3g}, of the empty grid {row['empty']:.3g}; {shares}",
                highlight=False,
                markup=False,
            )


def _bare(atoms: Atoms) -> Atoms:
    """A copy without constraints or energies, which columns of its own may stand in."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def _of_atoms(voxels: torch.Tensor, one: Known, atoms: Atoms, critic: TrainedCritic) -> np.ndarray:
    """Attribution of every atom (n_atoms,), zero for frozen ones."""
    n_frozen = len(atoms) - len(one.record.numbers)
    spec = critic.spec if one.record.lengths is None else spec_of_cell(critic.spec, np.array(one.record.lengths))
    shares = gathered_on_atoms(voxels, atoms.numbers[n_frozen:], atoms.positions[n_frozen:], spec)
    return np.concatenate([np.zeros(n_frozen), shares])
