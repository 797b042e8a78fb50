"""What each variant of the loop makes of the same knowledge: one iteration from one archive.

Whole searches differ by chance from their first relaxation on. From one archive, what every arm proposes next can be
compared after a few hundred force calls. Nothing is relaxed in a surrogate first: a fork has no
frames to fit one to.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

from benchmarks.search_yield.cells import Cell, campaign_settings, configuration, merged, relaxing_to_the_end
from benchmarks.search_yield.variants import NO_PRERELAXATION
from searcher.campaign.campaign import open_campaign
from searcher.campaign.loop import run_campaign
from searcher.campaign.storage.candidate import Candidate, Gate

HEADERS = (
    "variant",
    "arm",
    "proposed",
    "valid",
    "relaxed",
    "calls each",
    "converged",
    "novel",
    "accepted",
    "per 1,000",
)


def continued(
    origin: Path, cell: Cell, table: str, seed: int, calls: int, changes: Mapping[str, Any], folder: Path
) -> list[Candidate]:
    """One iteration of a fork of `origin`, all arms taking part; what it proposed."""
    settings = merged(campaign_settings(cell, table, "campaign", seed, calls, folder), changes)
    settings["arms"] = [{**arm, "first_iteration": 0} for arm in settings["arms"]]
    settings = merged(settings, {"budget": {"iterations": 1, "force_calls_per_iteration": calls}})
    settings = merged(settings, NO_PRERELAXATION)
    config = configuration(relaxing_to_the_end(settings) if table == "A" else settings)
    campaign = open_campaign(config, Event(), forked_from=origin)
    try:
        run_campaign(campaign, Console(stderr=True), lambda campaign, iteration: None)
        return campaign.ledger.candidates(iteration=0)
    finally:
        campaign.close()


def rows(variant: str, candidates: Iterable[Candidate]) -> list[str]:
    """A row of Markdown per arm."""
    found = list(candidates)
    return [_row(variant, arm, [c for c in found if c.arm == arm]) for arm in sorted({c.arm for c in found})]


def header() -> str:
    """The table's first two rows."""
    return "| " + " | ".join(HEADERS) + " |\n|" + "---|" * len(HEADERS)


def _row(variant: str, arm: str, candidates: list[Candidate]) -> str:
    relaxed = [c for c in candidates if c.force_calls]
    calls = sum(c.force_calls for c in relaxed)
    passed = {gate: sum(c.passed >= gate for c in candidates) for gate in Gate}
    cells = (
        variant,
        arm,
        str(len(candidates)),
        str(passed[Gate.VALID]),
        str(len(relaxed)),
        f"{calls / max(len(relaxed), 1):.0f}",
        str(passed[Gate.CONVERGED]),
        str(passed[Gate.NOVEL]),
        str(passed[Gate.ACCEPTED]),
        f"{1000 * passed[Gate.ACCEPTED] / max(calls, 1):.1f}",
    )
    return "| " + " | ".join(cells) + " |"
