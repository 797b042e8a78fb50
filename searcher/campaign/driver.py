"""What a command does with a campaign: run it, keep its projections up to date, train on it."""

from pathlib import Path
from threading import Event

from rich.console import Console

from searcher.campaign.campaign import Campaign, open_campaign
from searcher.campaign.loop import run_campaign
from searcher.config import CampaignConfig
from searcher.errors import StoppedOnRequest
from searcher.results.export import write_accepted_db
from searcher.results.report import write_report
from searcher.results.status import print_status, status
from searcher.results.tracking import Tracker


def drive(config: CampaignConfig, stop: Event, console: Console) -> None:
    """Run a campaign to its end or until it is stopped; report and MLflow follow the ledger.

    Raises
    ------
    SearcherError
        If the campaign cannot start or go on; its exit code says which kind.
    """
    campaign = open_campaign(config, stop)
    tracker = make_tracker(campaign.folder, config)
    try:
        run_campaign(campaign, console, lambda campaign, iteration: _project(campaign, tracker))
        tracker.update("FINISHED")
        print_status(status(campaign.folder, campaign.ledger), console)
        console.print(f"report: {campaign.folder / 'report.html'}")
    except (StoppedOnRequest, KeyboardInterrupt):
        tracker.update("KILLED")
        raise
    except BaseException:
        tracker.update("FAILED")
        raise
    finally:
        campaign.close()


def make_tracker(folder: Path, config: CampaignConfig) -> Tracker:
    """The configured way to MLflow."""
    uri = config.tracking.uri or f"sqlite:///{(config.runs / 'mlflow.db').resolve()}"
    return Tracker(folder, uri, config.tracking.experiment, config.tracking.enabled)


def _project(campaign: Campaign, tracker: Tracker) -> None:
    write_accepted_db(campaign.folder, campaign.ledger)
    write_report(campaign.folder, campaign.ledger)
    tracker.update("RUNNING")
