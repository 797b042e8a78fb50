"""Reasons to end a relaxation early that need nothing but the structure and its energy."""

from typing import Final

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list

from relax.overlaps import frozen_indices
from relax.watching import StopCriterion

EXPLODING: Final = "exploding"
LEAVING_WINDOW: Final = "leaving_window"
FORMING_O2: Final = "forming_o2"
OXYGEN: Final = 8


def exploding(max_rise: float) -> StopCriterion:
    """Stop at an energy more than `max_rise` eV above the first one."""
    start = np.inf

    def criterion(atoms: Atoms, energy: float, calls: int) -> str | None:
        nonlocal start
        if calls <= 1:
            start = energy
        return EXPLODING if energy > start + max_rise else None

    return criterion


def leaving_window(lowest: float, highest: float) -> StopCriterion:
    """Stop when a free atom is below or above these heights (Å)."""

    def criterion(atoms: Atoms, energy: float, calls: int) -> str | None:
        heights = np.delete(atoms.positions[:, 2], frozen_indices(atoms))
        inside = not len(heights) or (lowest <= heights.min() and heights.max() <= highest)
        return None if inside else LEAVING_WINDOW

    return criterion


def forming_o2(bond: float = 1.6, calm_force: float = 2.0, patience: int = 3) -> StopCriterion:
    """Stop when two oxygen atoms have become a molecule.

    Parameters
    ----------
    bond : float
        O–O nearer than this (Å) is a molecule.
    calm_force : float
        Only where no free atom's force is larger (eV/Å): before, a pair may be near because it was proposed so.
    patience : int
        Force calls in a row.
    """
    seen = 0

    def criterion(atoms: Atoms, energy: float, calls: int) -> str | None:
        nonlocal seen
        forces = np.delete(atoms.get_forces(apply_constraint=False), frozen_indices(atoms), axis=0)
        calm = np.linalg.norm(forces, axis=1).max(initial=0.0) <= calm_force
        seen = seen + 1 if calm and _has_pair(atoms, bond) else 0
        return FORMING_O2 if seen >= patience else None

    return criterion


def _has_pair(atoms: Atoms, bond: float) -> bool:
    first, second = neighbour_list("ij", atoms, bond)
    return bool(np.any((atoms.numbers[first] == OXYGEN) & (atoms.numbers[second] == OXYGEN)))
