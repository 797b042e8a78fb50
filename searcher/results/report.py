"""One HTML file that says what a campaign found; it opens without a network."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from searcher.campaign.candidate import Candidate, Verdict
from searcher.campaign.executor import Executor
from searcher.campaign.ledger import Ledger
from searcher.config import flatten
from searcher.files import write_text
from searcher.results import plots, svg
from searcher.results.redaction import redact
from searcher.results.report_data import example_pictures, page_data
from searcher.results.soap_map import mean_vectors, principal_axes
from searcher.results.status import FUNNEL_COLUMNS, status, yield_per_thousand
from searcher.results.terminations import MEV, Termination, chosen_delta_mu_o, described, reference_labels
from searcher.scoring.thermodynamics import DELTA_MU_O_RANGE, Line, lower_envelope

SEED = "seed"
MOST_PICTURES = 200
MOST_POINTS = 400
PRESSURES = (1.0, 1e-10)  # bar


def write_report(folder: Path, ledger: Ledger, executor: Executor | None = None) -> Path:
    """Write ``report.html`` into the campaign's folder and return its path.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's.
    ledger : Ledger
        Read only will do.
    executor : Executor, optional
        Computes what the map of likeness still lacks; without one, the map shows what was computed before.
    """
    path = folder / "report.html"
    write_text(path, render(folder, ledger, executor))
    return path


def render(folder: Path, ledger: Ledger, executor: Executor | None = None) -> str:
    """The report as text."""
    environment = Environment(
        loader=PackageLoader("searcher.results", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"milli": lambda value: MEV * value, "formula": _formula}
    found = status(folder, ledger)
    template = ledger.template
    metal = ledger.fact("config", {}).get("material", {}).get("metal", "Ru")
    style = _asset("report.css") + svg.element_colours({s: atomic_numbers[s] for s in ("O", metal)})
    script = _asset("report.js")
    viewer = _asset("vendor/3Dmol-min.js")
    tabled = _tabled(ledger)
    terminations = described(ledger, tabled)
    places = _places(folder, ledger, tabled, executor)
    delta_mu_range = _delta_mu_range(ledger)
    context = {
        "status": found,
        "template": template,
        "facts": {key: ledger.fact(key) for key in ("potential", "seed", "threads", "host")},
        "versions": ledger.fact("versions", {}),
        "references": ledger.fact("references", {}),
        "settings": {k: redact(str(v)) for k, v in flatten(ledger.fact("config", {})).items()},
        "gates": [name for name in FUNNEL_COLUMNS if name != "force_calls"],
        "yields": {arm: yield_per_thousand(f["accepted"], f["force_calls"]) for arm, f in found["arms"].items()},
        "arm_class": {arm: f"arm{index % 6}" for index, arm in enumerate(found["arms"])},
        "delta_mu_o": chosen_delta_mu_o(ledger),
        "delta_mu_range": delta_mu_range,
        "rows": terminations,
        "labels": reference_labels(ledger),
        "pictures": _pictures(terminations),
        "most_pictures": MOST_PICTURES,
        "diagram": _diagram(ledger, list(found["arms"]), delta_mu_range),
        "windows": _windows(ledger, delta_mu_range),
        "losses": _losses(ledger),
        "loss_names": _loss_names(ledger),
        "slices": _slices(folder),
        "reasons": _reasons(found),
        "examples": example_pictures(ledger),
        "map": _map(places, tabled, terminations, list(found["arms"])),
        "data": page_data(ledger, terminations, places),
        "viewer": Markup(viewer),
        "withheld": ledger.fact("withheld", []),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "style": Markup(style),
        "script": Markup(script),
        "policy": _policy(style, script, viewer),
    }
    return environment.get_template("report.html").render(context)


def _asset(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str, *scripts: str) -> str:
    """Nothing from outside, and no script or style but the page's own."""
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in (style, *scripts)]
    return (
        f"default-src 'none'; img-src data:; style-src {hashes[0]}; script-src {' '.join(hashes[1:])}; "
        "base-uri 'none'; form-action 'none'"
    )


def _delta_mu_range(ledger: Ledger) -> tuple[float, float]:
    low, high = ledger.fact("config", {}).get("acceptance", {}).get("delta_mu_o_range", DELTA_MU_O_RANGE)
    return float(low), float(high)


def _tabled(ledger: Ledger) -> list[Candidate]:
    return [*ledger.candidates(verdict=Verdict.ACCEPTED), *ledger.candidates(verdict=Verdict.REFERENCE, arm=SEED)]


def _lines(candidates: Sequence[Candidate]) -> dict[str, Line]:
    return {c.id: c.line for c in candidates if c.line is not None}


def _known_and_accepted(ledger: Ledger) -> list[Candidate]:
    """References first, so that a termination found again does not take the place of a known one."""
    usable = [c for c in ledger.candidates(verdict=Verdict.REFERENCE) if c.reason is None]
    return [*usable, *ledger.candidates(verdict=Verdict.ACCEPTED)]


def _diagram(ledger: Ledger, arms: Sequence[str], delta_mu_range: tuple[float, float]) -> Markup:
    labels = reference_labels(ledger)
    lines = _lines(_known_and_accepted(ledger))
    curves = []
    for candidate in _known_and_accepted(ledger):
        if candidate.id not in lines:
            continue
        kind = "reference" if candidate.verdict == Verdict.REFERENCE else f"arm{arms.index(candidate.arm) % 6}"
        kind = "seed" if candidate.verdict == Verdict.REFERENCE and candidate.arm == SEED else kind
        curves.append(svg.Curve(candidate.id, labels.get(candidate.id, candidate.id), kind, lines[candidate.id]))
    return svg.diagram(curves, delta_mu_range, PRESSURES) if curves else Markup("")


def _windows(ledger: Ledger, delta_mu_range: tuple[float, float]) -> list[dict[str, Any]]:
    lines = _lines(_known_and_accepted(ledger))
    if not lines:
        return []
    labels = reference_labels(ledger)
    windows = lower_envelope(lines, delta_mu_range)
    return [{"id": w.id, "label": labels.get(w.id, w.id), "start": w.start, "stop": w.stop} for w in windows]


def _places(
    folder: Path, ledger: Ledger, tabled: Sequence[Candidate], executor: Executor | None
) -> dict[str, tuple[float, float]]:
    keys = {c.id: c.relaxed for c in tabled if c.relaxed is not None}
    on_axes = principal_axes(mean_vectors(folder, ledger, list(keys.values()), executor))
    return {name: on_axes[key] for name, key in keys.items() if key in on_axes}


def _map(
    places: Mapping[str, tuple[float, float]],
    tabled: Sequence[Candidate],
    terminations: Sequence[Termination],
    arms: Sequence[str],
) -> Markup:
    formulas = {one.id: one.free_formula for one in terminations}
    shown = {c.id: c for c in tabled if c.id in places}
    kinds = {name: SEED if c.arm not in arms else f"arm{arms.index(c.arm) % 6}" for name, c in shown.items()}
    titles = {name: f"{c.label or name}, {formulas[name]}" for name, c in shown.items()}
    return svg.scatter(places, kinds, titles)


def _loss_names(ledger: Ledger) -> list[str]:
    names = {name for i in range(_iterations(ledger)) for name in ledger.metrics(i)}
    return sorted(n for n in names if n in plots.SHOWN_METRICS or n.endswith("loss"))


def _iterations(ledger: Ledger) -> int:
    return 1 + max((iteration for iteration, _, _ in ledger.stages()), default=-1)


def _losses(ledger: Ledger) -> Markup:
    """All iterations one after another, thinned to what a screen can show."""
    series: dict[str, list[tuple[float, float]]] = {name: [] for name in _loss_names(ledger)}
    offset, boundaries = 0.0, []
    for iteration in range(_iterations(ledger)):
        metrics = {name: points for name, points in ledger.metrics(iteration).items() if name in series}
        if not metrics:
            continue
        for name, points in metrics.items():
            series[name] += [(offset + step, value) for step, value in points]
        offset += 1 + max(step for points in metrics.values() for step, _ in points)
        boundaries.append(offset)
    thinned = {name: points[:: 1 + len(points) // MOST_POINTS] for name, points in series.items()}
    return svg.curves_over_steps(thinned, boundaries[:-1])


def _pictures(terminations: Sequence[Termination]) -> dict[str, Markup]:
    return {
        t.id: svg.structure(t.atoms, t.n_frozen, "top") + svg.structure(t.atoms, t.n_frozen, "side")
        for t in terminations[:MOST_PICTURES]
    }


def _slices(folder: Path) -> str | None:
    """The last iteration's generated grids as a picture for ``src``, or None if none were kept."""
    kept = sorted((folder / "iterations").glob("*/samples.npz"))
    if not kept:
        return None
    return "data:image/png;base64," + base64.b64encode(plots.slices(kept[-1], 3)).decode()


def _reasons(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Counts per reason, the most frequent first; a column per arm."""
    codes = {code for arm in found["arms"] for code in found["reasons"].get(arm, {})}
    rows = []
    for code in codes:
        counts = {arm: found["reasons"].get(arm, {}).get(code, 0) for arm in found["arms"]}
        rows.append({"code": code, "counts": counts, "total": sum(counts.values())})
    return sorted(rows, key=lambda row: (-row["total"], row["code"]))


def _formula(text: str) -> Markup:
    """Counts as subscripts."""
    return Markup("").join(
        Markup("<sub>{}</sub>").format(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)
    )
