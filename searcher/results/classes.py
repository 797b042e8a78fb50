"""How a campaign's minima lie in its energy classes, and edges for a fork; nothing in the campaign changes."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from searcher.campaign.beginning.preparation import recorded_problem
from searcher.campaign.improvement.versions import current_potential, lines_under, with_references
from searcher.campaign.snapshot import is_known
from searcher.campaign.storage.candidate import Candidate, Gate
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import InputError
from searcher.results.terminations import chosen_delta_mu_o
from searcher.scoring.energy_classes import GAMMA_EDGES, EnergyClasses, Mode
from searcher.scoring.thermodynamics import Line, height_above_envelope

Bins = Literal["edges", "quantile", "equal-width"]
MEV = 1000.0
DECIMALS = 2  # of an edge in meV/Å²; energies have three more, in eV
EDGES_KEY = "conditioning.edges_mev_per_A2"
SHOWN_UNITS = {"gamma": "meV/Å²", "energy_per_atom": "eV/atom", "total_energy": "eV"}


def classes_record(ledger: Ledger, bins: Bins = "edges", n_classes: int = 8, mode: Mode = "gamma") -> dict[str, Any]:
    """Minima by class.

    Parameters
    ----------
    ledger : Ledger
    bins : {"edges", "quantile", "equal-width"}
        ``edges``: only the classes that the campaign recorded; otherwise also new ones from these minima.
    n_classes : int
        Of the new classes, 2 or more.
    mode : {"gamma", "energy_per_atom", "total_energy"}
        What new classes divide. A campaign itself takes edges of γ only.

    Returns
    -------
    dict
        ``minima``, their number; ``delta_mu_o``, in eV; ``recorded`` and ``new`` (None for ``edges``), each with
        ``mode``, ``unit``, ``edges`` (n_classes − 1,) in that unit and ``counts`` (n_classes,); ``new`` also with
        ``setting``, for a fork's ``--set`` (None where a campaign takes no such edges).

    Raises
    ------
    InputError
        If there are no minima, too few different ones for so many classes, or `mode` is asked of recorded edges.
    """
    if bins == "edges" and mode != "gamma":
        raise InputError(
            f"`--mode {mode}` needs `--bins quantile` or `equal-width`: a campaign's recorded edges are those of gamma"
        )
    minima = [c for c in ledger.candidates(reached=Gate.VALID_RELAXED) if is_known(c)]
    if not minima:
        raise InputError(f"the campaign of `{ledger.path}` has no relaxed minimum yet")
    config = ledger.fact("config", {})
    edges = config.get("conditioning", {}).get("edges_mev_per_A2", [edge * MEV for edge in GAMMA_EDGES])
    found = Counter(c.energy_class for c in minima)
    return {
        "minima": len(minima),
        "delta_mu_o": chosen_delta_mu_o(ledger),
        "recorded": {
            "mode": "gamma",
            "unit": SHOWN_UNITS["gamma"],
            "edges": [float(edge) for edge in edges],
            "counts": [found[number] for number in range(len(edges) + 1)],
        },
        "new": None if bins == "edges" else _new_classes(_values(ledger, minima, mode), bins, n_classes, mode),
    }


def _new_classes(values: Sequence[float], bins: Bins, n_classes: int, mode: Mode) -> dict[str, Any]:
    """Edges rounded as they are shown, and the counts that these rounded edges give."""
    if n_classes > len(values):
        raise InputError(f"`--n {n_classes}` classes are more than the {len(values)} minima that they are made from")
    scale, decimals = (MEV, DECIMALS) if mode == "gamma" else (1.0, DECIMALS + 3)
    divide = EnergyClasses.quantile if bins == "quantile" else EnergyClasses.equal_width
    try:
        exact = divide(values, n_classes, mode)
        edges = [round(edge * scale, decimals) for edge in exact.edges]
        classes = EnergyClasses(tuple(edge / scale for edge in edges), mode)
    except ValueError as error:
        raise InputError(f"{len(values)} minima do not make `--n {n_classes}` classes: {error}") from error
    found = Counter(classes.classify(value) for value in values)
    return {
        "mode": mode,
        "unit": SHOWN_UNITS[mode],
        "bins": bins,
        "edges": edges,
        "counts": [found[number] for number in range(n_classes)],
        "setting": f"{EDGES_KEY}=[{', '.join(f'{edge:g}' for edge in edges)}]" if mode == "gamma" else None,
    }


def _values(ledger: Ledger, minima: Sequence[Candidate], mode: Mode) -> list[float]:
    """What `mode` divides: eV/Å² above the relaxed seeds, eV per atom, or eV."""
    if mode == "gamma":
        lines = _lines(ledger, minima)
        seeds = {c.id: lines[c.id] for c in minima if c.arm == "seed"}
        if not seeds:
            raise InputError(
                "the campaign has no relaxed seed to measure heights from; `--mode total_energy` needs none"
            )
        delta_mu_o = chosen_delta_mu_o(ledger)
        return [height_above_envelope(lines[c.id], seeds, delta_mu_o) for c in minima]
    potential = current_potential(ledger)
    energies = [ledger.measured_energy(c.id, potential) for c in minima]
    if mode == "total_energy":
        return energies
    atoms = [len(ledger.structure(str(c.relaxed))) for c in minima]
    return [energy / n for energy, n in zip(energies, atoms, strict=True)]


def _lines(ledger: Ledger, minima: Sequence[Candidate]) -> dict[str, Line]:
    """γ(Δμ_O) of all by the potential in use."""
    lines = {c.id: c.measured_line for c in minima}
    versions = ledger.potentials()
    if len(versions) > 1:
        _, hashed, since, _, record = versions[-1]
        lines |= lines_under(ledger, with_references(recorded_problem(ledger), record), hashed, since, minima)
    return lines


def print_classes(record: dict[str, Any], console: Console) -> None:
    """Tables for a terminal, and what to paste."""
    told = f"{record['minima']} minima; heights above the lowest relaxed seed at Δμ_O = {record['delta_mu_o']:g} eV"
    console.print(told, highlight=False)
    console.print(_table("recorded classes", record["recorded"]))
    new = record["new"]
    if new is None:
        return
    console.print(_table(f"new classes ({new['bins']})", new))
    if new["setting"] is None:
        console.print("A campaign's classes are those of gamma: these edges are for looking at.", highlight=False)
        return
    key, _, edges = new["setting"].partition("=")
    section, _, name = key.partition(".")
    console.print("For a fork, in its configuration:", highlight=False)
    console.print(f"{section}:\n  {name}: {edges}", highlight=False, markup=False, soft_wrap=True)
    console.print("or on the command line:", highlight=False)
    command = f"searcher run CONFIG --set '{new['setting']}' --fork NAME"
    console.print(command, highlight=False, markup=False, soft_wrap=True)


def _table(title: str, classes: dict[str, Any]) -> Table:
    unit = classes["unit"]
    table = Table(title=title)
    table.add_column("class")
    for head in (f"from / {unit}", f"below / {unit}", "minima"):
        table.add_column(head, justify="right")
    edges = ["–", *(f"{edge:g}" for edge in classes["edges"]), "–"]
    for number, count in enumerate(classes["counts"]):
        table.add_row(str(number), edges[number], edges[number + 1], str(count))
    return table
