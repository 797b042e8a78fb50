"""Which structures a generator learns from: a pure function of an iteration's snapshot."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
from ase import Atoms

from generators.proposal import TrainingRecord
from generators.template import Template
from searcher.campaign.snapshot import KnownTermination, Snapshot
from searcher.scoring.thermodynamics import Line

OXYGEN = 8
INHERITED = "inherited"
"""arm of what a fork learns from its origin"""
ALWAYS_LEARNED = ("seed", "pretraining", INHERITED)


def select_training_set(
    snapshot: Snapshot,
    load: Callable[[str], Atoms],
    template: Template,
    classify: Callable[[Line], int],
    valid: Callable[[Atoms], bool],
    arms: Collection[str],
    snapshots_per_structure: int,
    largest_weight: float,
    learned: str = "accepted",
) -> list[TrainingRecord]:
    """Seeds, chosen structures and snapshots of their relaxations, uniform over class and oxygen count.

    Parameters
    ----------
    load : callable
        Structure by key.
    classify : callable
        Energy class of a γ(Δμ_O) line.
    valid : callable
        Whether a structure could pass as a proposal. Early steps of a relaxation often could not; learning from them
        would teach the generator what is rejected.
    arms : collection of str
        Arms whose structures are learned from.
    snapshots_per_structure : int
        Largest number of snapshots of one relaxation, late ones first.
    largest_weight : float
        Cap on a structure's weight relative to the mean.
    learned : "accepted" or "novel"
        Accepted structures only, or everything valid that was new when it was judged: the class tells the network what
        lies low.

    Returns
    -------
    list of TrainingRecord
        Structures that are not valid, or with an atom outside the template's free range, are left out.
    """
    records: list[TrainingRecord] = []
    for known in snapshot.known:
        chosen = known.accepted or (learned == "novel" and known.novel)
        if known.arm not in ALWAYS_LEARNED and not (chosen and known.arm in arms):
            continue
        for key, line in _steps(known, template.area, snapshots_per_structure):
            atoms = load(key)
            numbers, positions = template.free_part(atoms)
            if not _inside(positions, template) or not valid(atoms):
                continue
            oxygen = int(np.count_nonzero(numbers == OXYGEN))
            condition = {"energy_class": classify(line), "n_oxygen": oxygen, "n_metal": len(numbers) - oxygen}
            records.append(TrainingRecord(numbers, positions, condition))
    return _balanced(records, largest_weight)


def _steps(known: KnownTermination, area: float, most: int) -> list[tuple[str, Line]]:
    path = [
        (key, Line(known.line.gamma0 + excess / area, known.line.slope))
        for key, excess in reversed(known.path)
        if key != known.structure
    ]
    return [(known.structure, known.line), *path[:most]]


def _inside(positions: np.ndarray, template: Template) -> bool:
    z = positions[:, 2]
    return bool(len(z) and z.min() >= template.free_floor and z.max() <= template.free_ceiling)


def _balanced(records: list[TrainingRecord], largest_weight: float) -> list[TrainingRecord]:
    cells = [(r.condition["energy_class"], r.condition["n_oxygen"]) for r in records]
    sizes = Counter(cells)
    mean = len(records) / max(len(sizes), 1)
    return [
        replace(record, weight=min(mean / sizes[cell], largest_weight))
        for record, cell in zip(records, cells, strict=True)
    ]
