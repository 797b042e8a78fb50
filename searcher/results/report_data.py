"""What the report's page needs to show a structure that was chosen, as JSON inside the page."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from markupsafe import Markup

from searcher.campaign.storage.candidate import Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import StorageError
from searcher.results import svg
from searcher.results.description import describe_candidate
from searcher.results.terminations import Termination, reference_labels

MOST_DESCRIBED = 500
FROZEN_SHADE = 0.75
"""grey that frozen atoms' colours are mixed with"""
DETAILS = ("wood", "coverages", "vacancies", "coordination", "layer_spacings_A", "layer_group")


def page_data(ledger: Ledger, terminations: Sequence[Termination], places: Mapping[str, tuple[float, float]]) -> Markup:
    """One JSON object that is safe inside a page: ``elements`` and, by id, ``structures`` and ``details``."""
    numbers = sorted({int(number) for one in terminations for number in one.atoms.numbers})
    elements = {
        str(number): {
            "symbol": chemical_symbols[number],
            "colour": _hexadecimal(jmol_colors[number]),
            "pale": _hexadecimal(0.3 * jmol_colors[number] + 0.7 * FROZEN_SHADE),
            "radius": round(float(covalent_radii[number]) * 0.55, 3),
        }
        for number in numbers
    }
    labels = reference_labels(ledger)
    data = {
        "elements": elements,
        "structures": {one.id: _structure(one) for one in terminations},
        "details": {one.id: _details(ledger, one, labels) for one in terminations[:MOST_DESCRIBED]},
        "mapped": sorted(places),
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    # inside of a page, "</" would end the element that holds it
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def example_pictures(ledger: Ledger) -> dict[str, Markup]:
    """The first structure of every reason for which something was not kept, from the side, by reason code."""
    pictures: dict[str, Markup] = {}
    for verdict in (Verdict.REJECTED, Verdict.FAILED):
        for candidate in ledger.candidates(verdict=verdict):
            key = candidate.relaxed or candidate.proposed
            if candidate.reason is None or candidate.reason in pictures or key is None:
                continue
            try:
                atoms = ledger.structure(key)
            except StorageError:
                continue  # retention has dropped it; another example may be left
            if not np.isfinite(atoms.positions).all():
                continue
            n_frozen = int(np.count_nonzero(atoms.get_tags() == 0))
            pictures[candidate.reason] = svg.structure(atoms, n_frozen, "side")
    return pictures


def _hexadecimal(colour: np.ndarray) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in colour)


def _structure(one: Termination) -> dict[str, Any]:
    return {
        "n": one.atoms.numbers.tolist(),
        "p": np.round(one.atoms.positions, 3).reshape(-1).tolist(),
        "c": np.round(one.atoms.cell.lengths(), 3).tolist(),
        "f": one.n_frozen,
    }


def _details(ledger: Ledger, one: Termination, labels: Mapping[str, str]) -> dict[str, Any]:
    found = describe_candidate(ledger, one, labels)
    return {key: found[key] for key in DETAILS if key in found}
