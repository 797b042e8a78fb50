"""What arms of each kind propose, one file a kind.

Each has ``learn(campaign, problem, snapshot, arm, console)``, which gives the arm's `Source`; those with weights have
``learner(campaign, problem, arm)`` as well, see `searcher.campaign.arms.learned`, and those with settings that their
model does not check ``check(config, arm)``.
"""

from importlib import import_module
from typing import Any

from searcher.config import ArmSection, CampaignConfig


def kind_of(arm: ArmSection) -> Any:
    """The module that knows arms of this kind."""
    return import_module(f"{__name__}.{arm.kind}")


def check_arms(config: CampaignConfig) -> None:
    """Refuse unfit settings of arms before anything is written.

    Raises
    ------
    InputError
        Naming the setting.
    """
    for arm in config.arms:
        kind = kind_of(arm)
        if hasattr(kind, "check"):
            kind.check(config, arm)
