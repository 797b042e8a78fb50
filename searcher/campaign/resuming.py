"""What may differ when a campaign is taken up again, and how a new one starts from another's archive."""

import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from searcher.campaign.improvement.versions import current_potential
from searcher.campaign.provenance import provenance
from searcher.campaign.storage.iterations import finished_iterations
from searcher.campaign.storage.ledger import Ledger
from searcher.config import CampaignConfig, flatten, result_changing
from searcher.config.recorded import mended, recorded_config
from searcher.errors import EnvironmentProblem, InputError

PACKAGES = (
    "surface-searcher", "torch", "ase", "quippy-ase", "dscribe", "numpy", "scipy", "numba", "scikit-learn"
)  # fmt: skip
ARCHIVE_DEPENDS_ON = ("material", "surface", "o2_reference")
"""sections that must be equal for energies and templates of two campaigns to be the same"""


def versions() -> dict[str, str]:
    """Of Python, this program and the packages on which results may depend; what only shows them may change."""
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}


def refuse_changes(ledger: Ledger, config: CampaignConfig, hashed: str) -> None:
    """Make sure that going on gives what never having stopped would have given.

    Raises
    ------
    InputError
        If settings on which results depend, the thread count or a version differ.
    EnvironmentProblem
        If the potential's files have changed.
    """
    before, now = result_changing(recorded_config(ledger.fact("config"))), result_changing(config)
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        listed = "; ".join(f"`{key}` was {before.get(key)!r}, is {now.get(key)!r}" for key in changed)
        raise InputError(
            f"campaign `{config.name}` was started with other settings: {listed}. `--fork NAME` starts a new campaign "
            "with these from its archive"
        )
    if ledger.fact("potential") != hashed:
        raise EnvironmentProblem(
            f"campaign `{config.name}` was started with potential {ledger.fact('potential')}, the files now hash to "
            f"{hashed}: they were changed behind its back"
        )
    recorded = ledger.fact("versions")
    differing = {name: found for name, found in versions().items() if recorded.get(name, found) != found}
    if differing:
        listed = "; ".join(f"{name} was {recorded[name]}, is {found}" for name, found in differing.items())
        raise InputError(
            f"campaign `{config.name}` was started with other versions: {listed}. Install those, or let `--fork NAME` "
            "start a new campaign from its archive"
        )


def resumed(ledger: Ledger, config: CampaignConfig, extend: bool) -> CampaignConfig:
    """The settings to go on with; what differs from before, and changes no result, is recorded.

    Parameters
    ----------
    extend : bool
        If all iterations are done, do as many again. An extended campaign that was interrupted goes on to its new end.
    """
    done = len(finished_iterations(ledger))
    asked = config.budget.iterations
    end = max(asked, int(ledger.fact("extended_to", 0)))
    if extend and done >= end:
        end = done + asked
    config = config.model_copy(update={"budget": config.budget.model_copy(update={"iterations": end})})
    before, now = flatten(mended(ledger.fact("config"))), flatten(config.model_dump(mode="json"))
    changes = {key: [before.get(key), now.get(key)] for key in before.keys() | now.keys()}
    changes = {key: change for key, change in changes.items() if change[0] != change[1]}
    record = {"time": time.time(), **provenance(), "changes": changes}
    with ledger.transaction():
        ledger.set_fact("ended", "KILLED")  # unless it ends otherwise and says so
        ledger.set_fact("resumes", [*ledger.fact("resumes", []), record])
        ledger.set_fact("config", config.model_dump(mode="json"))
        if extend:
            ledger.set_fact("extended_to", end)
    return config


def read_origin(folder: Path, config: CampaignConfig, hashed: str) -> dict[str, Any]:
    """What a fork remembers of the campaign that it starts from.

    Raises
    ------
    InputError
        If its structures and energies mean something else under these settings.
    """
    ledger = Ledger.of_run(folder)
    before, now = flatten(mended(ledger.fact("config"))), flatten(config.model_dump(mode="json"))
    differing = [
        f"`{key}` was {before.get(key)!r}, is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if key.partition(".")[0] in ARCHIVE_DEPENDS_ON and before.get(key) != now.get(key)
    ]
    if (used := current_potential(ledger)) != hashed:
        differing.append(f"the potential was {used}, is {hashed}")
    origin = {"folder": str(folder.resolve()), "uid": ledger.fact("uid")}
    ledger.close()
    if differing:
        raise InputError(
            f"`--fork`: the archive of `{folder}` does not fit: {'; '.join(differing)}. `searcher export` and `known:` "
            "carry structures over"
        )
    return origin
