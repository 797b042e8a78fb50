"""A campaign in this process, without a picture of its progress."""

from threading import Event

from rich.console import Console

from searcher.campaign.campaign import Campaign, open_campaign
from searcher.campaign.loop import run_campaign
from searcher.config import CampaignConfig


def run(config: CampaignConfig, stop: Event | None = None, after=lambda campaign, iteration: None) -> Campaign:
    campaign = open_campaign(config, stop or Event())
    try:
        run_campaign(campaign, Console(quiet=True), after)
    finally:
        campaign.close()
    return campaign
