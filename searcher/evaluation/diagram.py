"""`searcher diagram`: which termination is stable where, for files and for campaigns, over one facet or several."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms
from rich.console import Console
from rich.table import Table

from relax.oxide import RUTHENIUM
from searcher.campaign.storage.candidate import Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import InputError
from searcher.evaluation.energies import Energies, EnergyReferences, lines_of
from searcher.evaluation.symmetric import relaxed_symmetric
from searcher.scoring.thermodynamics import (
    DELTA_MU_O_RANGE,
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    Line,
    Window,
    delta_mu_o,
    delta_mu_o_range,
    lower_envelope,
    temperature_at,
)
from searcher.structures.crystal import Crystal
from searcher.structures.slabs import file_structures

MEV = 1000.0
DIGITS = 6
UNKNOWN_FACET = "unknown"


@dataclass(frozen=True)
class Member:
    """A termination in a diagram; `line` in eV/Å²."""

    id: str
    facet: str | None
    line: Line
    source: str


@dataclass(frozen=True)
class Diagram:
    """γ(Δμ_O) of several terminations.

    Attributes
    ----------
    members : list of Member
    delta_mu_range : tuple of float
        In eV.
    range_source : str
        ``given``, ``formation energy``, ``campaign`` or ``default``.
    references : EnergyReferences or None
        None where every γ was recorded.
    notes : list of str
        What a reader must know.
    crystal : Crystal or None
        On whose lattice the facets stand, where it is known.
    """

    members: list[Member]
    delta_mu_range: tuple[float, float]
    range_source: str
    references: EnergyReferences | None
    notes: list[str]
    crystal: Crystal | None = None

    def facets(self) -> dict[str, dict[str, Line]]:
        """Lines by id, by facet."""
        groups: dict[str, dict[str, Line]] = {}
        for member in self.members:
            groups.setdefault(member.facet or UNKNOWN_FACET, {})[member.id] = member.line
        return groups

    def over_facets(self) -> dict[str, Line]:
        """All lines by id."""
        return {member.id: member.line for member in self.members}


def diagram_of_files(
    named: Sequence[tuple[str, Atoms]],
    energies: Energies,
    facet: str | None = None,
    gamma_bottom: float | None = None,
    delta_mu_range: tuple[float, float] | None = None,
    symmetric: bool = False,
) -> Diagram:
    """γ(Δμ_O) of slabs from files; bulk, metal and O2 among them give the references.

    With `symmetric` one-sided slabs are mirrored and relaxed first, so that γ needs no lower face of another slab.

    Raises
    ------
    InputError
        If no slab has a γ.
    """
    structures = file_structures(named, facet)
    slabs = [s for s in structures if s.role == "slab"]
    notes: list[str] = []
    if symmetric:
        slabs, notes = relaxed_symmetric(slabs, energies.potential, energies.executor)
    computed = {slab.id for slab in slabs if symmetric and slab.faces == "symmetric"}
    kept: list[EnergyReferences] = []

    def references() -> EnergyReferences:
        if not kept:
            kept.append(energies.references(structures))
        return kept[0]

    lines = lines_of(slabs, energies, references, gamma_bottom)
    known = {s.facet for s in slabs if s.facet is not None}
    only = known.pop() if len(known) == 1 else None
    members = []
    for slab, (line, source) in zip(slabs, lines, strict=True):
        if line is None:
            notes.append(
                f"`{slab.id}` has no γ: it needs an energy, oxygen with one metal, and, one-sided, the γ of its lower "
                "face (`--facet` or `--gamma-bottom`)"
            )
            continue
        origin = "potential" if slab.id in computed else source
        members.append(Member(slab.id, slab.facet or only, line, origin))
        if slab.faces == "mean":
            notes.append(f"`{slab.id}` has two different faces: its γ is their mean")
    if not members:
        raise InputError("the files hold no slab with a surface energy" + "".join(f"\n{note}" for note in notes))
    if kept and kept[0].source == "potential" and any(m.source == "file" for m in members):
        notes.append("energies are those of the files, bulk and O2 those of the potential: they must be the same one's")
    chosen, source = DELTA_MU_O_RANGE, "default"
    if delta_mu_range is not None:
        chosen, source = delta_mu_range, "given"
    elif kept and kept[0].formation_energy is not None and kept[0].formation_energy < 0:
        chosen, source = delta_mu_o_range(kept[0].formation_energy), "formation energy"
    return Diagram(members, chosen, source, kept[0] if kept else None, notes, energies.crystal(slabs))


def delta_mu_o_range_of(ledger: Ledger) -> tuple[float, float]:
    """The campaign's range of Δμ_O in eV: its own once it is prepared, as its configuration or RuO2 have it before."""
    given = ledger.fact("delta_mu_o_range") or ledger.fact("config", {}).get("acceptance", {}).get("delta_mu_o_range")
    low, high = given or DELTA_MU_O_RANGE
    return float(low), float(high)


def ledger_crystal(ledger: Ledger) -> Crystal | None:
    """A campaign's oxide on its potential's lattice; None before that was measured."""
    found = ledger.fact("references") or {}
    if "a" not in found:
        return None
    metal = ledger.fact("config", {}).get("material", {}).get("metal", RUTHENIUM)
    return Crystal(metal, found["a"], found["c"], found["u"])


def diagram_of_runs(folders: Sequence[Path], delta_mu_range: tuple[float, float] | None = None) -> Diagram:
    """Everything that campaigns know or have accepted.

    Raises
    ------
    StorageError
        If a folder holds no campaign.
    InputError
        If nothing has a γ yet, or the campaigns are of different oxides.
    """
    members: list[Member] = []
    ranges, crystals = [], []
    for folder in folders:
        ledger = Ledger.of_run(folder)
        facet = ledger.template.get("facet")
        prefix = f"{ledger.fact('name')}/" if len(folders) > 1 else ""
        ranges.append(delta_mu_o_range_of(ledger))
        crystals.append(ledger_crystal(ledger))
        found = [*ledger.candidates(verdict=Verdict.REFERENCE), *ledger.candidates(verdict=Verdict.ACCEPTED)]
        for candidate in found:
            if candidate.line is None:
                continue
            if candidate.verdict == Verdict.REFERENCE and candidate.reason is not None:
                continue
            name = candidate.label or candidate.id
            members.append(Member(prefix + name, facet, candidate.line, "campaign"))
        ledger.close()
    if not members:
        raise InputError("these campaigns have no relaxed termination yet")
    members = _with_own_ids(members)
    known = [crystal for crystal in crystals if crystal is not None]
    if len(metals := sorted({crystal.metal for crystal in known})) > 1:
        oxides = " and ".join(f"{metal}O2" for metal in metals)
        raise InputError(f"the campaigns are of {oxides}: surface energies of two oxides share no diagram")
    crystal = known[0] if known else None
    if delta_mu_range is not None:
        return Diagram(members, delta_mu_range, "given", None, [], crystal)
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return Diagram(members, (float(low), float(high)), "campaign", None, [], crystal)


def as_record(diagram: Diagram, pressures: Sequence[float] = (1.0,)) -> dict[str, Any]:
    """One JSON-able object.

    Parameters
    ----------
    diagram : Diagram
    pressures : sequence of float
        Of O2 in bar, for the windows in temperature.

    Returns
    -------
    dict
        ``windows``: by facet and rising Δμ_O, each with ``id``, ``facet``, ``from`` and ``to`` in eV, ``gamma_from``
        and ``gamma_to`` in meV/Å², and ``temperature``, one entry per pressure in bar with ``from`` and ``to`` in K,
        None beyond 100 to 6000 K; ``over_facets`` the same for the lowest γ of all facets, if there are several;
        ``structures``: ``id``, ``facet``, ``gamma_at_0`` in meV/Å², ``slope`` in meV/Å² per eV, ``energy_source``;
        ``delta_mu_o_range`` in eV with ``range_source``; ``references``; ``notes``.
    """
    facets = diagram.facets()
    windows = [window for facet, lines in facets.items() for window in _windows(diagram, lines, facet, pressures)]
    return {
        "windows": windows,
        "over_facets": _windows(diagram, diagram.over_facets(), None, pressures) if len(facets) > 1 else [],
        "structures": [
            {
                "id": member.id,
                "facet": member.facet,
                "gamma_at_0": round(MEV * member.line.gamma0, DIGITS),
                "slope": round(MEV * member.line.slope, DIGITS),
                "energy_source": member.source,
            }
            for member in diagram.members
        ],
        "delta_mu_o_range": list(diagram.delta_mu_range),
        "range_source": diagram.range_source,
        "references": None if diagram.references is None else asdict(diagram.references),
        "units": {"from": "eV", "to": "eV", "gamma": "meV/Å²", "temperature": "K", "pressure": "bar"},
        "notes": diagram.notes,
    }


def with_o2_scheme(diagram: Diagram, half_energy_o2: float) -> Diagram:
    """The same energies against another ½E(O2) in eV: Δμ_O counts from there.

    Raises
    ------
    InputError
        If the diagram's γ were recorded, so that their reference is not known.
    """
    if diagram.references is None:
        raise InputError("γ was recorded, not computed: its O2 reference cannot be exchanged")
    shift = half_energy_o2 - diagram.references.half_energy_o2
    members = [
        replace(member, line=Line(member.line.gamma0 + member.line.slope * shift, member.line.slope))
        for member in diagram.members
    ]
    return replace(diagram, members=members, references=replace(diagram.references, half_energy_o2=half_energy_o2))


def print_diagram(record: Mapping[str, Any], console: Console) -> None:
    """Windows as a table for a terminal."""
    pressures = [entry["pressure"] for entry in record["windows"][0]["temperature"]]
    table = Table(title="windows of stability")
    for name in ("facet", "id", "Δμ_O / eV", *(f"T / K at {pressure:g} bar" for pressure in pressures)):
        table.add_column(name, overflow="fold")
    for window in record["windows"]:
        ranges = [_range_in_kelvin(window, entry) for entry in window["temperature"]]
        table.add_row(window["facet"], window["id"], f"{window['from']:.3f} … {window['to']:.3f}", *ranges)
    console.print(table)


def _range_in_kelvin(window: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    coldest_known = delta_mu_o(LOWEST_TEMPERATURE, entry["pressure"])

    def kelvin(value: float | None, delta_mu: float) -> str:
        if value is not None:
            return f"{value:.0f}"
        return f"<{LOWEST_TEMPERATURE:.0f}" if delta_mu > coldest_known else f">{HIGHEST_TEMPERATURE:.0f}"

    coldest, hottest = kelvin(entry["from"], window["to"]), kelvin(entry["to"], window["from"])
    return coldest if coldest == hottest else f"{coldest} … {hottest}"


def _windows(
    diagram: Diagram, lines: Mapping[str, Line], facet: str | None, pressures: Sequence[float]
) -> list[dict[str, Any]]:
    facet_of = {member.id: member.facet or UNKNOWN_FACET for member in diagram.members}
    return [
        {
            "id": window.id,
            "facet": facet or facet_of[window.id],
            "from": round(window.start, DIGITS),
            "to": round(window.stop, DIGITS),
            "gamma_from": round(MEV * lines[window.id].at(window.start), DIGITS),
            "gamma_to": round(MEV * lines[window.id].at(window.stop), DIGITS),
            "temperature": [_in_temperature(window, pressure) for pressure in pressures],
        }
        for window in lower_envelope(lines, diagram.delta_mu_range)
    ]


def _in_temperature(window: Window, pressure: float) -> dict[str, float | None]:
    coldest, hottest = (temperature_at(value, pressure) for value in (window.stop, window.start))
    return {
        "pressure": pressure,
        "from": None if coldest is None else round(coldest, 2),
        "to": None if hottest is None else round(hottest, 2),
    }


def _with_own_ids(members: Sequence[Member]) -> list[Member]:
    seen: dict[str, int] = {}
    own = []
    for member in members:
        seen[member.id] = seen.get(member.id, 0) + 1
        own.append(member if seen[member.id] == 1 else replace(member, id=f"{member.id}~{seen[member.id]}"))
    return own
