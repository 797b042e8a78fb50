"""`searcher score`: novelty, surface energy, class and validity of structures from files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console
from rich.table import Table

from searcher.campaign.workers.fingerprints import Fingerprints
from searcher.errors import InputError
from searcher.evaluation.energies import Energies, EnergyReferences, lines_of, recorded_references
from searcher.scoring.descriptors import LocalVectors, SoapSettings
from searcher.scoring.energy_classes import EnergyClasses
from searcher.scoring.known_set import KnownSet
from searcher.scoring.novelty import EXCESS_TOLERANCE, pair_kappa
from searcher.scoring.thermodynamics import Line, excess_oxygen, height_above_envelope
from searcher.scoring.validity import ValidityThresholds, check_validity
from searcher.structures.slabs import FileStructure, file_structures

MEV = 1000.0
DIGITS = 6
KappaOf = Callable[[LocalVectors], tuple[float, str | None]]


@dataclass(frozen=True)
class ScoreSettings:
    """How structures are scored; energies in eV, lengths in Å.

    Attributes
    ----------
    delta_mu_o : float
        Where γ and class are told.
    kappa_min : float
        Two structures are one termination if κ is not above it in either direction.
    facet : str or None
        Of all structures, where files do not say it and cells do not show it.
    gamma_bottom : float or None
        γ of the lower face of one-sided slabs in eV/Å², where neither files nor the potential shall give it.
    """

    delta_mu_o: float = -0.5
    kappa_min: float = 0.075
    facet: str | None = None
    gamma_bottom: float | None = None
    classes: EnergyClasses = field(default_factory=EnergyClasses)
    thresholds: ValidityThresholds = field(default_factory=ValidityThresholds)


def score(
    named: Sequence[tuple[str, Atoms]],
    against: Sequence[tuple[str, Atoms]],
    energies: Energies,
    settings: ScoreSettings | None = None,
) -> list[dict[str, Any]]:
    """One record per structure.

    Parameters
    ----------
    named, against : sequences of (name, structure)
        What is scored, and what is known. Bulk crystal, metal and O2 among them give reference energies instead.
    energies : Energies
    settings : ScoreSettings, optional

    Returns
    -------
    list of dict
        ``id``; ``kappa`` to the most similar known structure, None without any; ``nearest``, its id; ``gamma`` in
        meV/Å² at ``delta_mu_o`` (eV); ``energy_class`` by height above the envelope of the known ones; ``valid``;
        ``reasons``; and how they came about: ``kappa_reverse``, ``kappa_faces``, ``same_as``, ``atoms``, ``facet``,
        ``faces``, ``energy_source``, ``reference_source``, ``flags``.

    Raises
    ------
    InputError
        If there is nothing to score.
    """
    settings = settings or ScoreSettings()
    structures = file_structures(named, settings.facet)
    known = file_structures(against, settings.facet)
    slabs, known_slabs = ([s for s in group if s.role == "slab"] for group in (structures, known))
    if not slabs:
        raise InputError("the files hold no slab to score: bulk, metal and O2 only serve as references")
    references = _once(lambda: energies.references([*structures, *known]))
    lines = lines_of(slabs, energies, references, settings.gamma_bottom)
    known_lines = lines_of(known_slabs, energies, references, settings.gamma_bottom)
    vectors = _describe([*slabs, *known_slabs], energies)
    known_vectors = vectors[len(slabs) :]
    pools: dict[str | None, KappaOf | None] = {}
    records = []
    for number, structure in enumerate(slabs):
        fits = [n for n, other in enumerate(known_slabs) if _same_facet(structure, other)]
        if structure.facet not in pools:
            pools[structure.facet] = _kappa_to([(n, v) for n in fits if (v := known_vectors[n]) is not None])
        line, source = lines[number]
        peers = {known_slabs[n].id: pair[0] for n in fits if (pair := known_lines[n])[0] is not None}
        record = _novelty(structure, vectors[number], pools[structure.facet], known_slabs, known_vectors)
        record |= _energy(line, source, {key: known for key, known in peers.items() if known}, settings)
        record |= _validity(structure, settings)
        same = record["kappa"] is not None and max(record["kappa"], record["kappa_reverse"]) <= settings.kappa_min
        same = same and record.pop("equal_excess")
        record.pop("equal_excess", None)
        records.append(
            {
                "id": structure.id,
                **record,
                "same_as": record["nearest"] if same else None,
                "novel": record["kappa"] is None or record["kappa"] > settings.kappa_min,
                "facet": structure.facet,
                "faces": structure.faces,
                "reference_source": _reference_source(structure, line, source, references),
            }
        )
    return records


def print_scores(records: Sequence[Mapping[str, Any]], console: Console) -> None:
    """The records as a table for a terminal."""
    table = Table()
    for name in ("id", "κ", "nearest", "γ / meV Å⁻²", "class", "valid", "reasons"):
        table.add_column(name, overflow="fold")
    for record in records:
        table.add_row(
            record["id"],
            _shown(record["kappa"], 3),
            record["nearest"] or "–",
            _shown(record["gamma"], 1),
            "–" if record["energy_class"] is None else str(record["energy_class"]),
            "yes" if record["valid"] else "no",
            ", ".join((*record["reasons"], *record["flags"])),
        )
    console.print(table)


def _shown(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _once(make: Callable[[], EnergyReferences]) -> Callable[[], EnergyReferences]:
    kept: list[EnergyReferences] = []

    def give() -> EnergyReferences:
        if not kept:
            kept.append(make())
        return kept[0]

    return give


def _reference_source(
    structure: FileStructure, line: Line | None, source: str, references: Callable[[], EnergyReferences]
) -> str | None:
    if line is None:
        return None
    own = source == "recorded" or (source == "file" and recorded_references(structure) is not None)
    return "recorded" if own else references().source


def _same_facet(one: FileStructure, other: FileStructure) -> bool:
    return one.facet is None or other.facet is None or one.facet == other.facet


def _describe(structures: Sequence[FileStructure], energies: Energies) -> list[LocalVectors | None]:
    species = tuple(sorted({str(symbol) for s in structures for symbol in s.atoms.symbols}))
    found = Fingerprints(energies.executor, SoapSettings(species=species)).of(
        {str(n): s.atoms for n, s in enumerate(structures)}
    )
    return [found[str(n)] for n in range(len(structures))]


def _free(structure: FileStructure, vectors: LocalVectors) -> LocalVectors:
    return vectors.subset(range(structure.n_frozen, len(structure.atoms))) if structure.n_frozen else vectors


def _excess(structure: FileStructure) -> float:
    try:
        return excess_oxygen(structure.counts) / structure.area / (1 if structure.faces == "one-sided" else 2)
    except ValueError:
        return float("nan")


def _kappa_to(known: Sequence[tuple[int, LocalVectors]]) -> KappaOf | None:
    """A function that gives the smallest κ to known structures, and the number of the nearest; None without any."""
    if not known:
        return None
    pool = KnownSet()
    for number, vectors in known:
        pool.add(str(number), vectors, 0.0)
    return pool.kappa


def _novelty(
    structure: FileStructure,
    vectors: LocalVectors | None,
    kappa_to: KappaOf | None,
    known: Sequence[FileStructure],
    known_vectors: Sequence[LocalVectors | None],
) -> dict[str, Any]:
    scope = "free" if structure.n_frozen else "all"
    record: dict[str, Any] = {"kappa": None, "nearest": None, "kappa_reverse": None, "kappa_faces": None}
    record |= {"atoms": scope, "equal_excess": False}
    if vectors is None or kappa_to is None:
        return record
    free = _free(structure, vectors)
    kappa, nearest = kappa_to(free)
    other, described = known[int(str(nearest))], known_vectors[int(str(nearest))]
    assert described is not None  # only described structures are compared with
    record |= {"kappa": round(kappa, DIGITS), "nearest": other.id}
    record["kappa_reverse"] = round(pair_kappa(_free(other, described), vectors), DIGITS)
    record["equal_excess"] = abs(_excess(structure) - _excess(other)) <= EXCESS_TOLERANCE
    if scope == "all":
        z = structure.atoms.positions[:, 2]
        halves = (np.flatnonzero(z <= z.mean()), np.flatnonzero(z > z.mean()))
        record["kappa_faces"] = [round(kappa_to(vectors.subset(half))[0], DIGITS) for half in halves]
    return record


def _energy(line: Line | None, source: str, peers: Mapping[str, Line], settings: ScoreSettings) -> dict[str, Any]:
    gamma = energy_class = None
    if line is not None:
        gamma = round(MEV * line.at(settings.delta_mu_o), DIGITS)
        if peers:
            energy_class = settings.classes.classify(height_above_envelope(line, peers, settings.delta_mu_o))
    return {
        "gamma": gamma,
        "delta_mu_o": settings.delta_mu_o,
        "energy_class": energy_class,
        "energy_source": source if line is not None else "none",
    }


def _validity(structure: FileStructure, settings: ScoreSettings) -> dict[str, Any]:
    try:
        found = check_validity(structure.atoms, structure.n_frozen, settings.thresholds)
    except ValueError as error:
        raise InputError(f"structure `{structure.id}`: {error}") from None
    return {"valid": found.valid, "reasons": list(found.reasons), "flags": list(found.flags)}
