"""Settings as campaigns recorded them, also those of older versions."""

from collections.abc import Mapping, MutableMapping
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from searcher.config.arm_kinds import SECTIONS
from searcher.config.campaign import CampaignConfig
from searcher.errors import InputError

ONCE_OF_EVERY_ARM = ("noise_temperature", "composition", "metal", "moves")
"""keys that older versions recorded for arms of all kinds"""


def recorded_config(values: Mapping[str, Any]) -> CampaignConfig:
    """The settings that a ledger holds; what an older version did not know is as it is by default.

    Raises
    ------
    InputError
        If they name something that this version does not know.
    """
    try:
        return CampaignConfig.model_validate(mended(values))
    except ValidationError as error:
        listed = ", ".join(f"`{'.'.join(map(str, issue['loc']))}`" for issue in error.errors())
        raise InputError(
            f"the campaign was made by another version, with settings unknown to this one: {listed}"
        ) from None


def mended(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a ledger holds, as this version would have recorded it."""
    copied = deepcopy(dict(values))
    drop_other_kinds(copied)
    return copied


def drop_other_kinds(recorded: MutableMapping[str, Any]) -> None:
    """Take away from each arm what belongs to another kind of arm."""
    for arm in recorded.get("arms", ()):
        known = SECTIONS[arm["kind"]].model_fields if arm.get("kind") in SECTIONS else {}
        for key in ONCE_OF_EVERY_ARM:
            if key not in known:
                arm.pop(key, None)
