"""A campaign whose references, seeds and known structures are there, and nothing else; shared by benchmarks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from threading import Event

from rich.console import Console

from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.campaign import Campaign, open_campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.loading import load_config


@contextmanager
def prepared(config: Path, runs: Path | None, *overrides: str) -> Iterator[tuple[Campaign, SurfaceProblem]]:
    """Prepare a configuration's campaign in the folder `runs`, or where it was prepared before go on."""
    runs = runs or Path(mkdtemp(prefix="prepared-"))
    loaded = load_config(config, [f"runs={runs}", "tracking.enabled=false", "name=prepared", *overrides])
    campaign = open_campaign(loaded, Event())
    try:
        yield campaign, prepare(campaign, Console())
    finally:
        campaign.close()
