"""One HTML file that says what a campaign found; it opens without a network."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase.data import atomic_numbers
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from searcher.campaign.storage.candidate import Candidate, Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.workers.executor import Executor
from searcher.config import flatten
from searcher.evaluation.diagram import delta_mu_o_range_of
from searcher.files import write_text
from searcher.results import report_diagram, report_training, svg
from searcher.results.redaction import redact
from searcher.results.report_data import example_pictures, page_data
from searcher.results.soap_map import Likeness, likeness, principal_axes
from searcher.results.status import FUNNEL_COLUMNS, status, yield_per_thousand
from searcher.results.terminations import MEV, Termination, chosen_delta_mu_o, described, reference_labels

if TYPE_CHECKING:
    from searcher.results.report_reach import Reach

MOST_PICTURES = 200


def write_report(
    folder: Path, ledger: Ledger, executor: Executor | None = None, beside: Sequence[Path] = (), reach: int = 0
) -> Path:
    """Write ``report.html`` into the campaign's folder and return its path.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's.
    ledger : Ledger
        Read only will do.
    executor : Executor, optional
        Computes what the map of likeness still lacks; without one, the map shows what was computed before.
    beside : sequence of pathlib.Path
        Folders of campaigns, usually of other facets, whose lines join the diagram.
    reach : int
        Minima, at most, that are traced back to the last generator's noise; seconds for each.

    Raises
    ------
    InputError
        If a campaign beside this one has another potential, or `reach` is asked of one without weights.
    """
    path = folder / "report.html"
    write_text(path, render(folder, ledger, executor, beside, reach))
    return path


def render(
    folder: Path, ledger: Ledger, executor: Executor | None = None, beside: Sequence[Path] = (), reach: int = 0
) -> str:
    """The report as text."""
    environment = Environment(
        loader=PackageLoader("searcher.results", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(milli=_milli, formula=_formula, minus=_minus)
    metal = ledger.fact("config", {}).get("material", {}).get("metal", "Ru")
    style = _asset("report.css") + svg.element_colours({s: atomic_numbers[s] for s in ("O", metal)})
    script, viewer = _asset("report.js"), _asset("vendor/3Dmol-min.js")
    context = {
        **_campaign(folder, ledger),
        **_surfaces(ledger, beside),
        **_terminations(folder, ledger, executor),
        **_training(folder, ledger),
        "reach": _reach(folder, ledger, reach) if reach else None,
        "viewer": Markup(viewer),
        "style": Markup(style),
        "script": Markup(script),
        "policy": _policy(style, script, viewer),
    }
    return environment.get_template("report.html").render(context)


def _campaign(folder: Path, ledger: Ledger) -> dict[str, Any]:
    """How far it came, why others were not kept, and where all of it is from."""
    found = status(folder, ledger)
    return {
        "status": found,
        "template": ledger.template,
        "facts": {key: ledger.fact(key) for key in ("potential", "evaluated_by", "seed", "threads", "host")},
        "potentials": [(hashed, since) for _, hashed, since, _, _ in ledger.potentials()],
        "versions": ledger.fact("versions", {}),
        "references": ledger.fact("references", {}),
        "settings": {k: redact(str(v)) for k, v in flatten(ledger.fact("config", {})).items()},
        "gates": [name for name in FUNNEL_COLUMNS if name != "force_calls"],
        "yields": {arm: yield_per_thousand(f["accepted"], f["force_calls"]) for arm, f in found["arms"].items()},
        "arm_class": {arm: report_diagram.arm_class(arm, list(found["arms"])) for arm in found["arms"]},
        "reasons": _reasons(found),
        "examples": example_pictures(ledger),
        "withheld": ledger.fact("withheld", []),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _surfaces(ledger: Ledger, beside: Sequence[Path]) -> dict[str, Any]:
    """The diagram with its windows and facets."""
    delta_mu_range = delta_mu_o_range_of(ledger)
    curves = report_diagram.all_curves(ledger, beside)
    return {
        "delta_mu_o": chosen_delta_mu_o(ledger),
        "delta_mu_range": delta_mu_range,
        "diagram": report_diagram.drawing(curves, delta_mu_range),
        "windows": report_diagram.stable_windows(curves, delta_mu_range),
        "facets": list(dict.fromkeys(curve.facet for curve in curves)),
    }


def _terminations(folder: Path, ledger: Ledger, executor: Executor | None) -> dict[str, Any]:
    """Table, map and the structures behind them."""
    tabled = _tabled(ledger)
    terminations = described(ledger, tabled)
    keys = {c.id: c.relaxed for c in tabled if c.relaxed is not None}
    alike = likeness(folder, ledger, list(keys.values()), executor)
    places = _places(keys, alike)
    groups = {name: alike.groups[key] for name, key in keys.items() if key in alike.groups}
    return {
        "rows": terminations,
        "labels": reference_labels(ledger),
        "pictures": _pictures(terminations),
        "most_pictures": MOST_PICTURES,
        "groups": groups,
        "group_sizes": sorted(Counter(groups.values()).items()),
        "map": _map(
            places, tabled, terminations, groups, [a["name"] for a in ledger.fact("config", {}).get("arms", [])]
        ),
        "data": page_data(ledger, terminations, places),
    }


def _training(folder: Path, ledger: Ledger) -> dict[str, Any]:
    return {
        "losses": report_training.losses(ledger),
        "gradients": report_training.gradients(ledger),
        "checks": report_training.checks(ledger),
        "findings": report_training.findings(ledger),
        "health": report_training.health(ledger),
        "samples": report_training.samples(folder, ledger),
    }


def _reach(folder: Path, ledger: Ledger, most: int) -> "Reach":
    from searcher.results.report_reach import reach_of  # with torch, which a report without it does not wait for

    return reach_of(folder, ledger, most)


def _asset(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str, *scripts: str) -> str:
    """Nothing from outside, and no script or style but the page's own."""
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in (style, *scripts)]
    return (
        f"default-src 'none'; img-src data:; style-src {hashes[0]}; script-src {' '.join(hashes[1:])}; "
        "base-uri 'none'; form-action 'none'"
    )


def _tabled(ledger: Ledger) -> list[Candidate]:
    return [
        *ledger.candidates(verdict=Verdict.ACCEPTED),
        *ledger.candidates(verdict=Verdict.REFERENCE, arm=report_diagram.SEED),
    ]


def _places(keys: Mapping[str, str], alike: Likeness) -> dict[str, tuple[float, float]]:
    on_axes = principal_axes(alike.vectors)
    return {name: on_axes[key] for name, key in keys.items() if key in on_axes}


def _map(
    places: Mapping[str, tuple[float, float]],
    tabled: Sequence[Candidate],
    terminations: Sequence[Termination],
    groups: Mapping[str, int],
    arms: Sequence[str],
) -> Markup:
    formulas = {one.id: one.free_formula for one in terminations}
    shown = {c.id: c for c in tabled if c.id in places}
    kinds = {name: report_diagram.arm_class(c.arm, arms) for name, c in shown.items()}
    titles = {name: f"{c.label or name}, {formulas[name]}" for name, c in shown.items()}
    return svg.scatter(places, kinds, titles, groups)


def _pictures(terminations: Sequence[Termination]) -> dict[str, Markup]:
    return {
        t.id: svg.structure(t.atoms, t.n_frozen, "top") + svg.structure(t.atoms, t.n_frozen, "side")
        for t in terminations[:MOST_PICTURES]
    }


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


def _milli(value: float) -> float:
    return MEV * value


def _minus(text: object) -> str:
    """A number with the sign that is as wide as a digit."""
    return str(text).replace("-", "−")
