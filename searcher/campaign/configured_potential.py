"""The potential that a configuration names, and the campaign's copy of it; loaded without what runs a campaign."""

import logging
from pathlib import Path

from relax.potential import PotentialError, PotentialSpec, gap_spec, potential_hash
from searcher.campaign.storage.places import XML, version_folder
from searcher.config import CampaignConfig
from searcher.errors import EnvironmentProblem

log = logging.getLogger(__name__)


def campaign_folder(config: CampaignConfig) -> Path:
    return config.runs / config.name


def potential_spec(config: CampaignConfig) -> tuple[PotentialSpec, str]:
    """The configured potential and its hash; where a GAP's files are gone, the copy that the campaign made of them.

    Raises
    ------
    EnvironmentProblem
        If its files are missing or damaged.
    """
    section = config.potential
    try:
        if section.gap is not None:
            spec = gap_spec(section.gap)
            copy = version_folder(campaign_folder(config), 0) / XML
            if not Path(spec.path).exists() and copy.is_file():
                log.warning("`potential.gap` %s is gone; the campaign's own copy %s is used", spec.path, copy)
                spec = gap_spec(copy)
        else:
            spec = PotentialSpec("calculator", import_path=section.import_path or "", arguments=section.arguments)
        return spec, potential_hash(spec)
    except PotentialError as error:
        raise EnvironmentProblem(str(error)) from None
