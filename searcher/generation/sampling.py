"""Draw density grids from weights into a file, as `searcher backmap` reads it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from generators.grids.files import write_grids
from generators.networks.conditioning import decode
from generators.sampling import GridSampler, described_sampler
from generators.template import Template
from generators.training.checkpoint import WeightsError
from searcher.errors import InputError
from searcher.files import replacing
from searcher.generation.training import TEMPLATE, WEIGHTS


def open_sampler(folder: Path, run: Path | None, device: str = "cpu") -> tuple[GridSampler, Template | None]:
    """Weights of a folder that `searcher train` wrote, or of a campaign's warm start.

    Parameters
    ----------
    folder : pathlib.Path
    run : pathlib.Path, optional
        Campaign whose template the weights are for, where the folder holds none.

    Raises
    ------
    InputError
        If weights or template are missing, or do not fit.
    """
    template = _template(folder, run)
    try:
        return described_sampler(folder / WEIGHTS, template, device), template
    except WeightsError as error:
        raise InputError(str(error)) from None


def _template(folder: Path, run: Path | None) -> Template | None:
    if run is not None:
        from searcher.campaign.beginning.preparation import recorded_problem
        from searcher.campaign.storage.ledger import Ledger

        ledger = Ledger.of_run(run)
        template = recorded_problem(ledger).template
        ledger.close()
        return template
    path = folder / TEMPLATE
    if not path.is_file():
        return None
    try:
        return Template.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"`{path}` is damaged ({error})") from None


def parse_conditions(texts: Sequence[str]) -> dict[str, float]:
    """``name=value`` to numbers by name.

    Raises
    ------
    InputError
        If a text has another form.
    """
    conditions = {}
    for text in texts:
        name, separator, value = text.partition("=")
        try:
            conditions[name] = float(value)
        except ValueError:
            separator = ""
        if not separator or not name:
            raise InputError(f"`--condition {text}` must have the form name=number, for example energy_class=0")
    return conditions


def sample_to_file(
    sampler: GridSampler,
    template: Template | None,
    out: Path,
    n: int,
    conditions: dict[str, float],
    seed: int,
    temperature: float = 1.0,
) -> dict[str, Any]:
    """Draw `n` grids into an ``.npz`` and say what they are.

    Raises
    ------
    InputError
        If a condition is unknown or outside its range.
    """
    try:
        drawn = sampler.draw(n, conditions, np.random.default_rng(seed), temperature)
    except ValueError as error:
        raise InputError(f"what is asked for: {error}") from None
    grids, spec = drawn.grids.numpy(), sampler.spec
    if sampler.view.kind == "slice":
        axis = sampler.view.axis
        shape = list(spec.shape)
        shape[axis] = 1
        spec = replace(spec, shape=(shape[0], shape[1], shape[2]))
        grids = np.expand_dims(grids, 2 + axis)
    told = decode(drawn.rows, sampler.conditions)
    lengths = None if drawn.lengths is None else drawn.lengths.numpy()
    with replacing(out) as draft:
        write_grids(draft, grids, spec, told, "" if template is None else template.id, lengths)
    return {
        "samples": n,
        "shape": list(spec.shape),
        "species": list(spec.species),
        "conditions": [dict(row) for row in {tuple(sorted(one.items())): None for one in told}] if told else [],
        "lengths": None if lengths is None else [round(float(value), 3) for value in lengths.mean(axis=0)],
        "out": str(out),
    }
