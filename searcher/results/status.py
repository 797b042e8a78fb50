"""How far a campaign has come."""

import fcntl
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from scipy.stats import chi2

from searcher.campaign.storage.candidate import Verdict
from searcher.campaign.storage.iterations import finished_iterations
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.storage.locking import LOCK, holder
from searcher.campaign.storage.retention import disk_use

FUNNEL_COLUMNS = (
    "proposed", "decoded", "valid", "selected", "converged", "valid_relaxed", "unique", "novel", "accepted",
    "force_calls",
)  # fmt: skip
CONFIDENCE = 0.95
MIB = 2**20


def is_running(folder: Path) -> bool:
    """Whether a driver holds the campaign's lock; asking takes an instant, which a driver that starts waits for."""
    lock = folder / LOCK
    if not lock.exists():
        return False
    with lock.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def arm_names(ledger: Ledger) -> list[str]:
    """The configured arms in their order; seeds and known structures are none."""
    return [arm["name"] for arm in ledger.fact("config", {}).get("arms", [])]


def status(folder: Path, ledger: Ledger) -> dict[str, Any]:
    """One JSON-able object.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's.
    ledger : Ledger
        Read only will do.

    Returns
    -------
    dict
        ``name``, ``folder``, ``oxide``, ``facet``, ``state`` (``new``, ``running``, ``stopped``, ``finished``),
        ``iterations`` (finished), ``iterations_asked``, ``stage`` (last recorded), ``accepted``, ``force_calls``,
        ``arms`` (funnel by name), ``reasons`` (count by arm and code), ``saved_calls`` (by arm and code of an early
        stop, as estimated from the relaxations that converged), ``references`` (count by arm), ``disk`` (bytes by kind
        of file, and free) and ``driver`` (``pid`` and ``host``, if one works on it or left it without a word).
    """
    config = ledger.fact("config", {})
    done = len(finished_iterations(ledger))
    asked = config.get("budget", {}).get("iterations")
    stages = ledger.stages()
    arms = {name: ledger.funnel(name) for name in arm_names(ledger)}
    reasons: dict[str, dict[str, int]] = {}
    for arm, reason, count in ledger.reasons():
        reasons.setdefault(arm, {})[reason] = count
    references: dict[str, int] = {}
    for candidate in ledger.candidates(verdict=Verdict.REFERENCE):
        references[candidate.arm] = references.get(candidate.arm, 0) + 1
    return {
        "name": ledger.fact("name"),
        "folder": str(folder),
        "oxide": f"{config.get('material', {}).get('metal', 'Ru')}O2",
        "facet": ledger.template.get("facet"),
        "state": _state(asked is not None and done >= asked, is_running(folder), bool(stages)),
        "iterations": done,
        "iterations_asked": asked,
        "stage": None if not stages else {"iteration": stages[-1][0], "name": stages[-1][1]},
        "accepted": sum(funnel["accepted"] for funnel in arms.values()),
        "force_calls": sum(funnel["force_calls"] for funnel in arms.values()),
        "arms": arms,
        "reasons": reasons,
        "saved_calls": {name: saved_calls(ledger, name) for name in arms},
        "references": references,
        "disk": disk_use(folder),
        "driver": holder(folder),
    }


def saved_calls(ledger: Ledger, arm: str) -> dict[str, float]:
    """Force calls that early stops have saved an arm, by reason, in all iterations."""
    saved: dict[str, float] = {}
    for _, name, detail in ledger.stages():
        if name == "relax" and arm in detail:
            for reason, calls in detail[arm]["saved"].items():
                saved[reason] = round(saved.get(reason, 0.0) + calls, 1)
    return saved


def _state(complete: bool, running: bool, started: bool) -> str:
    if complete:
        return "finished"
    if running:
        return "running"
    return "stopped" if started else "new"


def yield_per_thousand(accepted: int, force_calls: int) -> tuple[float, float, float] | None:
    """Accepted structures per 1,000 force calls with the ends of its exact 95 % Poisson interval; None without calls.

    Garwood, Biometrika 28, 437 (1936).
    """
    if force_calls == 0:
        return None
    tail = (1 - CONFIDENCE) / 2
    low = chi2.ppf(tail, 2 * accepted) / 2 if accepted else 0.0
    high = chi2.ppf(1 - tail, 2 * (accepted + 1)) / 2
    scale = 1000.0 / force_calls
    return accepted * scale, float(low) * scale, float(high) * scale


def print_status(found: dict[str, Any], console: Console) -> None:
    """The state in a line and the funnels as a table, for a terminal."""
    surface = found["oxide"] + (f"({found['facet']})" if found["facet"] else "")
    done = f"{found['iterations']} of {found['iterations_asked']} iterations"
    heading = f"{found['name']}, {surface}: {found['state']}, {done}"
    console.print(f"{heading}, {found['accepted']} accepted, {found['force_calls']:,} force calls", highlight=False)
    disk = found["disk"]
    kinds = ", ".join(f"{kind} {disk[kind] / MIB:.1f}" for kind in disk if kind not in ("total", "free") and disk[kind])
    total, free = f"{disk['total'] / MIB:.1f} MiB", f"{disk['free'] / MIB:,.0f} MiB"
    console.print(f"{total} on disk ({kinds}), {free} free", highlight=False, soft_wrap=True)
    table = Table()
    table.add_column("gate")
    for name in found["arms"]:
        table.add_column(name, justify="right")
    for gate in FUNNEL_COLUMNS:
        table.add_row(gate.replace("_", " "), *(f"{funnel[gate]:,}" for funnel in found["arms"].values()))
    yields = [yield_per_thousand(f["accepted"], f["force_calls"]) for f in found["arms"].values()]
    table.add_row("accepted per 1,000 calls", *("–" if y is None else f"{y[0]:.2f}" for y in yields))
    saved = {name: sum(found["saved_calls"][name].values()) for name in found["arms"]}
    shares = [saved[name] / max(1.0, saved[name] + funnel["force_calls"]) for name, funnel in found["arms"].items()]
    table.add_row("calls saved by early stops", *(f"{100 * share:.0f} %" for share in shares))
    console.print(table)
