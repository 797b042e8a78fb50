"""Two known terminations made into one: half of the cell from each.

Cut and splice follows Deaven and Ho, Phys. Rev. Lett. 75, 288 (1995); for a slab on a template the cuts are two planes
upright on the surface, half a cell apart, because a cell that repeats needs two. Before it is cut, the second parent is
turned and shifted by an operation that leaves the frozen atoms as they are: so what stands on one half of a doubled
cell in one parent can stand on the other half in the child.
"""

import numpy as np

from generators.template import Template

FreePart = tuple[np.ndarray, np.ndarray]
"""Atomic numbers (n_free,) and positions (n_free, 3) in Å of a structure's free atoms"""


def equivalent(part: FreePart, template: Template, operation: int) -> FreePart:
    """The free atoms as one of the template's symmetry operations puts them, wrapped into the cell.

    Parameters
    ----------
    part : FreePart
    template : Template
    operation : int
        Index of the operation.
    """
    numbers, positions = part
    moved = positions @ template.rotations[operation].T + template.translations[operation]
    moved[:, :2] %= template.cell[:2]
    return numbers, moved


def cut_and_splice(first: FreePart, second: FreePart, template: Template, rng: np.random.Generator) -> FreePart:
    """What stands on one half of the cell in the first parent and on the other half in the second.

    Parameters
    ----------
    first, second : FreePart
    template : Template
    rng : numpy.random.Generator
        Draws the second parent's operation, and the cut's direction and place.

    Returns
    -------
    FreePart
        Counts may differ from both parents', and atoms at a cut may stand too near to each other.
    """
    second = equivalent(second, template, int(rng.integers(len(template.rotations))))
    axis, start = int(rng.integers(2)), rng.random()
    halves = []
    for (numbers, positions), wanted in ((first, True), (second, False)):
        place = (positions[:, axis] / template.cell[axis] - start) % 1.0
        kept = (place < 0.5) == wanted
        halves.append((numbers[kept], positions[kept]))
    numbers = np.concatenate([half[0] for half in halves])
    return numbers, np.vstack([half[1] for half in halves])
