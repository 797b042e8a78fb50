"""Everything a configuration names, checked before anything is written."""

from collections.abc import Callable
from pathlib import Path

from relax.potential import gap_spec
from searcher.campaign.configured_potential import potential_spec
from searcher.campaign.storage.warm_start import RECORD, STRUCTURES, WEIGHTS
from searcher.config import CampaignConfig
from searcher.errors import InputError
from searcher.structures.files import read_structures


def check_inputs(config: CampaignConfig, at: Callable[..., str]) -> None:
    """Potential, structure files and warm start are there and readable.

    Parameters
    ----------
    at : callable
        File and line of a setting, by its keys.

    Raises
    ------
    EnvironmentProblem
        If the potential is missing or damaged.
    InputError
        If a file is missing, empty or of an unknown format; names file and line.
    """
    potential_spec(config)
    named = [("seeds", *entry) for entry in enumerate(config.seeds)]
    named += [("known", *entry) for entry in enumerate(config.known)]
    for section, index, path in named:
        _require_structures(path, at, section, index)
    if config.withheld:
        _require_structures(config.withheld, at, "withheld")
    if config.improve.every:
        from searcher.campaign.improvement.refit import labelled_frames  # takes a second that others need not wait

        gap = config.potential.gap
        try:
            labelled_frames(None if gap is None else Path(gap_spec(gap).path).parent, config.improve)
        except InputError as error:
            raise InputError(f"{at('improve')}: {error}") from None
    network = config.network
    if network.warm_start:
        for name in (WEIGHTS, RECORD, STRUCTURES):
            path = Path(network.warm_start) / name
            if not path.is_file():
                where = at("network", "warm_start")
                raise InputError(f"{where}: `network.warm_start`: `{path}` does not exist; `searcher train` writes it")
    if network.transfer and not Path(network.transfer).is_file():
        where = at("network", "transfer")
        raise InputError(f"{where}: `network.transfer`: `{network.transfer}` does not exist; it names a weights file")


def _require_structures(path: Path, at: Callable[..., str], *location: str | int) -> None:
    try:
        read_structures(path)
    except InputError as error:
        raise InputError(f"{at(*location)}: {error}") from None
