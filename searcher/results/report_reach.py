"""What the report says, where it is asked for, of minima that the last generator cannot make."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generators.proposal import TrainingRecord
from generators.sampling import GridSampler, described_sampler
from generators.template import Template
from generators.training.checkpoint import WeightsError
from searcher.campaign.beginning.preparation import recorded_problem
from searcher.campaign.snapshot import is_known
from searcher.campaign.storage.candidate import Gate
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import InputError
from searcher.generation.reach import Known, as_told, paths_picture, reach, spread_over, unreached_picture
from searcher.results.plots import embedded
from searcher.results.terminations import chosen_delta_mu_o

OXYGEN = 8
PATH_STEPS = 16
PATHS = 3
SEED = 0


@dataclass(frozen=True)
class Reach:
    """Minima traced back to the noise of a campaign's last generator.

    Attributes
    ----------
    weights : str
        Relative to the campaign's folder.
    told : dict
        See `searcher.generation.reach.as_told`.
    worst, paths : str
        ``src`` of pictures: the minima reached worst beside the nearest generated grids, and ways through the noise.
    """

    weights: str
    told: dict[str, Any]
    worst: str
    paths: str


def reach_of(folder: Path, ledger: Ledger, most: int) -> Reach:
    """Trace at most so many of the known minima back.

    Raises
    ------
    InputError
        If no generator of the campaign has weights that are still there and noise to search.
    """
    weights = _last_weights(folder, ledger)
    template = recorded_problem(ledger).template
    try:
        sampler = described_sampler(weights, template)
    except WeightsError as error:
        raise InputError(str(error)) from None
    known = spread_over(known_minima(ledger, template, sampler), most)
    if not known:
        raise InputError("`--reach` needs known minima with the conditions that the generator is told, but has none")
    found = reach(sampler, template, known, SEED)
    rng = np.random.default_rng(SEED)
    paths = [sampler.path(PATH_STEPS, rng) for _ in range(PATHS)]
    pictures = (embedded(unreached_picture(found)), embedded(paths_picture(paths)))
    return Reach(str(weights.relative_to(folder)), as_told(found), *pictures)


def known_minima(ledger: Ledger, template: Template, sampler: GridSampler) -> list[Known]:
    """Relaxed valid minima with what the generator would be told of them.

    Those without a class, or with an atom outside the template's free range, are left out.
    """
    found: list[Known] = []
    delta_mu_o = chosen_delta_mu_o(ledger)
    names = {spec.name for spec in sampler.conditions}
    for candidate in ledger.candidates(reached=Gate.VALID_RELAXED):
        if not is_known(candidate) or candidate.relaxed is None:
            continue
        atoms = ledger.structure(candidate.relaxed)
        numbers, positions = template.free_part(atoms)
        oxygen = int(np.count_nonzero(numbers == OXYGEN))
        condition: dict[str, int | float] = {"n_oxygen": oxygen, "n_metal": len(numbers) - oxygen}
        condition["delta_mu_o"] = delta_mu_o
        if candidate.energy_class is not None:
            condition["energy_class"] = candidate.energy_class
        if not names <= set(condition) or not len(numbers) or not _inside(positions, template):
            continue
        record = TrainingRecord(numbers, positions, condition)
        if sampler.view.kind == "cell":
            x, y, z = (float(length) for length in template.cell)
            record = TrainingRecord(atoms.numbers, atoms.positions, condition, lengths=(x, y, z))
        labels = {"arm": candidate.arm, "verdict": str(candidate.verdict)}
        found.append(Known(candidate.label or candidate.id, record, atoms, labels))
    return found


def _inside(positions: np.ndarray, template: Template) -> bool:
    z = positions[:, 2]
    return bool(z.min() >= template.free_floor and z.max() <= template.free_ceiling)


def _last_weights(folder: Path, ledger: Ledger) -> Path:
    """Of the last training that left any."""
    for _, name, detail in reversed(ledger.stages()):
        if name.startswith("train:") and "weights" in detail and (folder / detail["weights"]).is_file():
            weights: Path = folder / detail["weights"]
            return weights
    raise InputError(
        f"`--reach` needs a generator's weights, but the campaign `{folder}` has trained none that are kept"
    )
