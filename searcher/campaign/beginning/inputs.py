"""Everything a configuration names, checked before anything is written."""

from pathlib import Path

from searcher.campaign.campaign import potential_spec
from searcher.campaign.storage.warm_start import RECORD, STRUCTURES, WEIGHTS
from searcher.config import CampaignConfig
from searcher.errors import InputError
from searcher.structures.files import read_structures


def check_inputs(config: CampaignConfig) -> None:
    """Potential, structure files and warm start are there and readable.

    Raises
    ------
    EnvironmentProblem
        If the potential is missing or damaged.
    InputError
        If a file is missing, empty or of an unknown format.
    """
    potential_spec(config)
    for path in (*config.seeds, *config.known, *((config.withheld,) if config.withheld else ())):
        read_structures(path)
    if config.network.warm_start:
        for name in (WEIGHTS, RECORD, STRUCTURES):
            path = Path(config.network.warm_start) / name
            if not path.is_file():
                raise InputError(f"`network.warm_start`: `{path}` does not exist; `searcher train` writes it")
    if config.network.transfer and not Path(config.network.transfer).is_file():
        raise InputError(f"`network.transfer`: `{config.network.transfer}` does not exist; it names a weights file")
