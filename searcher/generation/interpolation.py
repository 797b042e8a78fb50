"""Ways between two terminations through a generator's noise, as structures that can be relaxed."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from generators.latent_inversion import InversionSettings, between
from generators.sampling import GridSampler, Sampler
from generators.template import Template
from searcher.errors import InputError
from searcher.files import write_text
from searcher.generation.reach import Known, traced_back
from searcher.generation.reading import read_structures


def way_between(
    sampler: GridSampler,
    template: Template | None,
    ends: Sequence[Known],
    n: int,
    seed: int,
    out: Path,
    settings: InversionSettings | None = None,
) -> dict[str, Any]:
    """Trace two structures back to the noise and write what the generator makes between them.

    Parameters
    ----------
    sampler : GridSampler
    template : Template or None
        Of windows.
    ends : sequence of Known, length 2
    n : int
        Structures, both ends as the generator makes them included.
    seed : int
        Of the searches' starts.
    out : pathlib.Path
        Structure file (.extxyz); grids that cannot be read are left out, and no file is written if none can be.
    settings : InversionSettings, optional

    Returns
    -------
    dict
        ``ends``: name and ``unexplained`` share of each; ``steps``: composition of each, or the reason why it cannot be
        read; ``structures`` written; ``out``, None without any.

    Raises
    ------
    InputError
        If the weights have no noise to search, or the structures do not fit them.
    """
    if n < 2:
        raise InputError(f"`--n` is {n} but a way has two ends at least")
    _, found = traced_back(sampler, ends, seed, settings)
    assert isinstance(sampler, Sampler)
    drawn = between(sampler, found.noise, found.drawn.rows, n)
    n_frozen = 0 if template is None else template.n_frozen
    steps: list[str] = []
    written: list[Atoms] = []
    for number, (atoms, reason) in enumerate(read_structures(drawn, sampler, template)):
        steps.append(reason or atoms[n_frozen:].get_chemical_formula(mode="metal"))
        if reason is None:
            atoms.info = {"step": number, "from": ends[0].name, "to": ends[1].name}
            written.append(atoms)
    if written:
        text = StringIO()
        ase.io.write(text, written, format="extxyz")
        write_text(out, text.getvalue())
    return {
        "ends": [
            {"name": one.name, "unexplained": float(left)} for one, left in zip(ends, found.unexplained, strict=True)
        ],
        "steps": steps,
        "structures": len(written),
        "out": str(out) if written else None,
    }
