"""Several campaigns beside each other: what each cost, what is stable, what they share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console
from rich.table import Table

from searcher.campaign.storage.candidate import Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.workers.executor import Executor
from searcher.campaign.workers.fingerprints import Fingerprints
from searcher.errors import InputError
from searcher.evaluation.diagram import as_record, diagram_of_runs
from searcher.results.status import status, yield_per_thousand
from searcher.results.terminations import chosen_delta_mu_o
from searcher.scoring.descriptors import SoapSettings
from searcher.scoring.novelty import Fingerprint, same_termination_matrix

DEFAULT_KAPPA_MIN = 0.075


@dataclass(frozen=True)
class Found:
    """An accepted termination of one campaign."""

    run: str
    id: str
    facet: str
    gamma: float
    """eV/Å² at the campaign's Δμ_O of its classes, for the order"""
    atoms: Atoms
    fingerprint: Fingerprint


def compare(folders: Sequence[Path], executor: Executor, kappa_min: float | None = None) -> dict[str, Any]:
    """Funnels, envelopes, and which terminations campaigns share.

    Parameters
    ----------
    folders : sequence of pathlib.Path
        Two or more campaigns.
    executor : Executor
        For SOAP vectors.
    kappa_min : float, optional
        Two terminations are the same if κ is not above it in either direction; otherwise that of the first campaign.

    Returns
    -------
    dict
        ``runs``: ``name``, ``facet``, ``force_calls``, ``accepted``, ``arms`` (funnel, and accepted per 1,000 force
        calls with its 95 % interval); ``windows`` and ``over_facets`` of all together as `searcher diagram` gives
        them; ``terminations``: ``facet`` and ``found``, the ids by run, lowest γ first; ``shared`` and ``distinct``:
        how many terminations more than one run has found, and how many only one, by run.

    Raises
    ------
    InputError
        If fewer than two campaigns are given, or two have the same name.
    StorageError
        If a folder holds no campaign.
    """
    ledgers = _opened(folders)
    chosen = kappa_min if kappa_min is not None else _kappa_min(ledgers[0])
    found = [one for ledger in ledgers for one in _accepted(ledger, executor)]
    groups = _groups(found, chosen)
    drawn = as_record(diagram_of_runs(folders)) if _anything(ledgers) else {"windows": [], "over_facets": []}
    names = [str(ledger.fact("name")) for ledger in ledgers]
    runs_of = [{found[n].run for n in group} for group in groups]
    return {
        "runs": [_run(folder, ledger) for folder, ledger in zip(folders, ledgers, strict=True)],
        "windows": drawn["windows"],
        "over_facets": drawn["over_facets"],
        "terminations": [_group(found, group) for group in groups],
        "shared": sum(len(runs) > 1 for runs in runs_of),
        "distinct": {name: sum(runs == {name} for runs in runs_of) for name in names},
        "kappa_min": chosen,
    }


def merged(folders: Sequence[Path], executor: Executor, kappa_min: float | None = None) -> list[Atoms]:
    """One structure of every termination that campaigns accepted, the lowest of each: what `known:` takes.

    Raises
    ------
    InputError
        If the campaigns have different templates, which no campaign could share.
    """
    ledgers = _opened(folders)
    templates = {ledger.template.get("id") for ledger in ledgers}
    if len(templates) > 1:
        raise InputError("the campaigns have different templates: facet, repeat, frozen part or lattice differ")
    found = [one for ledger in ledgers for one in _accepted(ledger, executor)]
    kept = []
    for group in _groups(found, kappa_min if kappa_min is not None else _kappa_min(ledgers[0])):
        atoms = found[group[0]].atoms.copy()
        atoms.info = {"candidate": f"{found[group[0]].run}/{found[group[0]].id}"}
        kept.append(atoms)
    return kept


def print_compared(record: Mapping[str, Any], console: Console) -> None:
    """The comparison as tables for a terminal."""
    table = Table(title="campaigns")
    for name in ("campaign", "arm", "proposed", "converged", "novel", "accepted", "force calls", "per 1,000 calls"):
        table.add_column(name, overflow="fold")
    for run in record["runs"]:
        for arm, funnel in run["arms"].items():
            rate = funnel["yield"]
            shown = "–" if rate is None else f"{rate[0]:.2f} ({rate[1]:.2f}–{rate[2]:.2f})"
            counts = [f"{funnel[key]:,}" for key in ("proposed", "converged", "novel", "accepted", "force_calls")]
            table.add_row(run["name"], arm, *counts, shown)
    console.print(table)
    only = ", ".join(f"{count} only by {name}" for name, count in record["distinct"].items())
    console.print(f"{record['shared']} terminations were found by more than one, {only}", highlight=False)
    for window in record["windows"]:
        console.print(
            f"({window['facet']}) {window['from']:.3f} … {window['to']:.3f} eV: {window['id']}", highlight=False
        )


def _opened(folders: Sequence[Path]) -> list[Ledger]:
    if len(folders) < 2:
        raise InputError("give two campaigns or more to compare")
    ledgers = [Ledger.of_run(folder) for folder in folders]
    names = [ledger.fact("name") for ledger in ledgers]
    if len(set(names)) < len(names):
        raise InputError(f"two campaigns are called {max(names, key=names.count)!r}: their ids could not be told apart")
    return ledgers


def _kappa_min(ledger: Ledger) -> float:
    return float(ledger.fact("config", {}).get("acceptance", {}).get("kappa_min", DEFAULT_KAPPA_MIN))


def _anything(ledgers: Sequence[Ledger]) -> bool:
    return any(c.line is not None for ledger in ledgers for c in ledger.candidates(verdict=Verdict.REFERENCE))


def _accepted(ledger: Ledger, executor: Executor) -> list[Found]:
    metal = ledger.fact("config", {}).get("material", {}).get("metal", "Ru")
    delta_mu_o = chosen_delta_mu_o(ledger)
    candidates = {c.id: c for c in ledger.candidates(verdict=Verdict.ACCEPTED) if c.relaxed is not None}
    structures = {name: ledger.structure(str(c.relaxed)) for name, c in candidates.items()}
    described = Fingerprints(executor, SoapSettings(species=("O", metal))).of(structures)
    found = []
    for name, vectors in described.items():
        if vectors is None:
            continue
        atoms, candidate = structures[name], candidates[name]
        area = float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1])))
        n_oxygen = int(np.count_nonzero(atoms.numbers == 8))
        fingerprint = Fingerprint(
            vectors.subset(np.flatnonzero(atoms.get_tags() != 0)), vectors, (3 * n_oxygen - 2 * len(atoms)) / area
        )
        gamma = candidate.measured_line.at(delta_mu_o)
        facet = str(ledger.template.get("facet"))
        found.append(Found(str(ledger.fact("name")), name, facet, gamma, atoms, fingerprint))
    return found


def _groups(found: Sequence[Found], kappa_min: float) -> list[list[int]]:
    """Indices of structures that are one termination: each joins the lowest one that it is the same as."""
    groups: list[list[int]] = []
    for facet in sorted({one.facet for one in found}):
        rows = sorted(
            (n for n, one in enumerate(found) if one.facet == facet),
            key=lambda n: (found[n].gamma, found[n].run, found[n].id),
        )
        same = same_termination_matrix([found[n].fingerprint for n in rows], kappa_min)
        leaders: list[int] = []
        members: dict[int, list[int]] = {}
        for place in range(len(rows)):
            leader = next((one for one in leaders if same[place, one]), None)
            if leader is None:
                leaders.append(place)
                members[place] = [rows[place]]
            else:
                members[leader].append(rows[place])
        groups += [members[leader] for leader in leaders]
    return groups


def _group(found: Sequence[Found], group: Sequence[int]) -> dict[str, Any]:
    ids: dict[str, list[str]] = {}
    for number in group:
        ids.setdefault(found[number].run, []).append(found[number].id)
    return {"facet": found[group[0]].facet, "found": ids}


def _run(folder: Path, ledger: Ledger) -> dict[str, Any]:
    now = status(folder, ledger)
    arms = {}
    for arm, funnel in now["arms"].items():
        rate = yield_per_thousand(funnel["accepted"], funnel["force_calls"])
        arms[arm] = {**funnel, "yield": None if rate is None else list(rate)}
    return {
        "name": now["name"],
        "facet": now["facet"],
        "force_calls": now["force_calls"],
        "accepted": now["accepted"],
        "arms": arms,
    }
