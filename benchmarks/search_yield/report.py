"""The comparison as Markdown and pictures."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.search_yield import external_arms, hopping_arms
from benchmarks.search_yield.figures import yield_picture
from benchmarks.search_yield.frame import Frame
from benchmarks.search_yield.measures import (
    LOOP_ARM,
    Figure,
    advantage,
    arms_of,
    calls_forgone,
    calls_until,
    distinct,
    found_again,
    hypervolume,
    median,
    only_found_by,
    searches_of,
)
from benchmarks.search_yield.pool import WIDEST_MARGIN, Pool, pool_of
from benchmarks.search_yield.records import END, ArmRun
from relax.potential import potential_hash
from searcher.files import write_text
from searcher.scoring.thermodynamics import Line

OTHERS = ("random", "random_oxygen", *hopping_arms.ARMS, *external_arms.ARMS)
"""Searches that a user would pick instead"""
FEWEST_FOR_A_BAND = 3
"""runs"""
NARROW, WIDE = 0.010, WIDEST_MARGIN
MEV = 1000.0
SAME_SLOPE = 1e-6
"""Å⁻²; γ(Δμ_O) of terminations with equally much oxygen are parallel"""
FOUND = (
    "arm",
    "runs",
    "force calls",
    "within 10",
    "within 25",
    "only it",
    "calls to 50 %",
    "calls to 80 %",
    "withheld",
    "hypervolume",
)
SPENT = ("arm", "relaxations", "valid", "calls each", "wall time, s", "calls forgone", "surrogate")
LEGEND = """\
Medians over runs; in brackets, where there are three or more and they differ, the 5th and 95th percentile of a \
bootstrap over runs and terminations. The arm that found most within 25 meV/Å² goes first. *Within 10* and *within \
25*: distinct valid terminations so many meV/Å² above the pooled envelope at most. *Only it*: of these (25), those \
that no other arm has in any run. *Calls to 50 %* and *80 %*: force calls until so much of the pool (25) was found. \
*Withheld*: share of the constructed terminations kept from every arm and found again, and the median force calls \
until then. *Hypervolume*: share of the area under γ(Δμ_O) between start and pooled envelope. *Wall time*: with \
training, proposing and everything else; *calls forgone*: so many more force calls would the fastest search of this \
table have made in that time. *Surrogate*: evaluations of a surrogate potential in which proposals were relaxed \
first; they are no force calls.
"""


def write_report(frame: Frame, runs: list[ArmRun], table: str, out: Path) -> None:
    """A Markdown table and a picture of one cell."""
    pool = pool_of(frame, runs)
    name = f"search-yield-{table}-{frame.cell.name}"
    out.mkdir(parents=True, exist_ok=True)
    (out / "pictures").mkdir(exist_ok=True)
    write_text(out / f"{name}.md", report(frame, pool, table, name))
    yield_picture(pool, out / "pictures" / f"{name}.svg")


def report(frame: Frame, pool: Pool, table: str, name: str) -> str:
    """The page of one cell."""
    budget = max(search.run.budget for search in pool.searches)
    rng = np.random.default_rng(0)
    wide = {arm: distinct(pool, arm, WIDE, budget, rng) for arm in arms_of(pool)}
    best_first = sorted(wide, key=lambda arm: (-wide[arm].median, arm))
    found = [_found(pool, arm, wide[arm], frame.start_line, budget, rng) for arm in best_first]
    rule = "everybody relaxes alike" if table == "A" else "each arm as it is shipped"
    n_wide, n_narrow = len(pool.within(WIDE)), len(pool.within(NARROW))
    chosen = f"--table {table} --cells {frame.cell.name}"
    lines = [
        f"# Search yield, table {table}: ({frame.cell.facet}) {frame.cell.repeat[0]}×{frame.cell.repeat[1]}",
        "",
        f"{_budgets(pool)} force calls a run, {rule}. All arms together found {n_wide} distinct terminations within "
        f"{MEV * WIDE:g} meV/Å² of their envelope, {n_narrow} within {MEV * NARROW:g}.",
        "",
        *_table(FOUND, found),
        "What that took:",
        "",
        *_table(SPENT, [_spent(pool, arm) for arm in best_first]),
        LEGEND,
        *_advantage(pool, rng),
        *_withheld(frame, pool),
        f"![distinct terminations against force calls](pictures/{name}.svg)",
        "",
        _origin(pool, potential_hash(frame.potential)),
        "",
        f"    python -m benchmarks.search_yield run {chosen} --calls {budget} --agox FOLDER",
        f"    python -m benchmarks.search_yield tables {chosen}",
        "",
    ]
    return "\n".join(lines)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _found(pool: Pool, arm: str, wide: Figure, start: Line, budget: int, rng: np.random.Generator) -> list[str]:
    searches = searches_of(pool, arm)
    share, again = found_again(pool, arm)
    return [
        arm,
        str(len(searches)),
        _number(sum(min(s.run.calls, s.run.budget) for s in searches) / len(searches)),
        _banded(distinct(pool, arm, NARROW, budget, rng), len(searches)),
        _banded(wide, len(searches)),
        str(only_found_by(pool, arm, WIDE)),
        _banded(calls_until(pool, arm, WIDE, 0.5, rng), len(searches)),
        _banded(calls_until(pool, arm, WIDE, 0.8, rng), len(searches)),
        f"{100 * share:.0f} %" + (f", {_number(again)}" if math.isfinite(again) else ""),
        f"{median([hypervolume(pool, s, start, budget) for s in searches]):.3f}",
    ]


def _spent(pool: Pool, arm: str) -> list[str]:
    searches = searches_of(pool, arm)
    relaxations = sum(r.calls <= s.run.budget and r.origin != END for s in searches for r in s.run.relaxations)
    spent = sum(min(s.run.calls, s.run.budget) for s in searches)
    return [
        arm,
        f"{relaxations / len(searches):.0f}",
        f"{100 * sum(s.minima for s in searches) / max(relaxations, 1):.0f} %",
        f"{spent / max(relaxations, 1):.0f}",
        _number(median([s.run.wall_s for s in searches])),
        _number(median([calls_forgone(pool, s) for s in searches])),
        _number(median([float(s.run.details.get("surrogate_calls", math.nan)) for s in searches])),
    ]


def _advantage(pool: Pool, rng: np.random.Generator) -> list[str]:
    """How the loop stands beside the best of what is not this program's loop."""
    others = [arm for arm in arms_of(pool) if arm in OTHERS]
    if LOOP_ARM not in arms_of(pool) or not others:
        return []
    told = []
    for margin in (NARROW, WIDE):
        found = advantage(pool, LOOP_ARM, others, margin, rng)
        told.append(
            f"{found.median:.2f} ({found.low:.2f}–{found.high:.2f}) times as many within {MEV * margin:g} meV/Å²"
        )
    names = ", ".join(f"`{arm}`" for arm in others)
    return [f"`{LOOP_ARM}` found {' and '.join(told)} as the best of {names}.", ""]


def _withheld(frame: Frame, pool: Pool) -> list[str]:
    """How low what was withheld is, beside what was found of the same composition, and who found it."""
    told = []
    for label, line in frame.withheld_lines.items():
        found = sum(search.again[label] is not None for search in pool.searches)
        alike = [o for s in pool.searches for _, o in s.lines if math.isclose(o.slope, line.slope, abs_tol=SAME_SLOPE)]
        lowest = min((pool.envelope.distance(one) for one in alike), default=math.inf)
        height = pool.envelope.distance(line)
        told.append(
            f"`{label}` lies {MEV * height:.0f} meV/Å² above the pooled envelope, the lowest found with as much oxygen "
            f"{MEV * lowest:.0f}; {found} of {len(pool.searches)} runs found it"
        )
    return [f"Of what was withheld, {'; '.join(told)}.", ""] if told else []


def _budgets(pool: Pool) -> str:
    """Of all runs; some arms may have been stopped earlier than others."""
    budgets = sorted({search.run.budget for search in pool.searches})
    return " or ".join(f"{budget:,}" for budget in budgets)


def _banded(figure: Figure, n_runs: int) -> str:
    known = n_runs >= FEWEST_FOR_A_BAND and not (figure.low == figure.median == figure.high)
    band = f" ({_number(figure.low)}–{_number(figure.high)})" if known else ""
    return f"{_number(figure.median)}{band}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "not counted"
    return f"{value:,.0f}" if math.isfinite(value) else "never"


def _origin(pool: Pool, potential: str) -> str:
    runs = [search.run for search in pool.searches]
    machines = ", ".join(sorted({run.machine for run in runs}))
    dates = sorted({run.date for run in runs})
    versions = {name: sorted({run.versions[name] for run in runs}) for name in runs[0].versions}
    listed = ", ".join(f"{name} {'/'.join(found)}" for name, found in versions.items())
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"Measured {when} on one core ({machines}) with the potential {potential}; {listed}."
