"""Whether a structure can be a surface termination of an oxide at all, before and after relaxation."""

from dataclasses import dataclass, fields

import numpy as np
from ase import Atoms

from searcher.scoring.descriptors import OUTSIDE_SLACK
from searcher.scoring.neighbours import NeighbourPairs, heights, neighbour_pairs

OXYGEN = 8


@dataclass(frozen=True)
class ValidityThresholds:
    """Limits of what passes; lengths in Å. The defaults fit rutile RuO2."""

    o_o_overlap: float = 1.15
    """O–O nearer than this overlap."""
    o_o_molecular: float = 1.60
    """O–O nearer than this are molecular O2, superoxo (1.32) or peroxo (1.43)."""
    o_o_clustered: float = 2.2
    """O–O nearer than this are clustered; the bulk has 2.476."""
    metal_o_min: float = 1.60
    """Metal–O nearer than this is rejected."""
    metal_metal_min: float = 2.3
    """Metal–metal nearer than this is rejected."""
    metal_metal_metallic: float = 2.6
    """Metal–metal nearer than this is flagged as metallic."""
    coordination_cutoff: float = 2.4
    """Metal–O nearer than this are bonded."""
    metal_coordination_max: int = 6
    """Metal atoms with more O neighbours are rejected."""
    metal_coordination_low: int = 2
    """Free metal atoms with this many O neighbours or fewer are flagged."""
    oxygen_coordination_high: int = 4
    """O atoms with this many metal neighbours or more are flagged; free ones without any are rejected."""
    plane_gap_max: float = 2.6
    """Widest gap between occupied planes along the surface normal."""
    vacuum_min: float = 10.0
    """Least free height between the slab and its next image along the normal."""
    frozen_displacement_max: float = 1e-3
    """How far a frozen atom may stand from its reference: round-off of a file with six digits, no more."""
    accept_molecular_o: bool = False
    """Molecular O is flagged instead of rejected."""

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name != "accept_molecular_o" and not getattr(self, item.name) >= 0:
                raise ValueError(f"`{item.name}` is {getattr(self, item.name)} but must not be negative")
        if not self.o_o_overlap <= self.o_o_molecular <= self.o_o_clustered:
            raise ValueError(
                f"`o_o_overlap` {self.o_o_overlap}, `o_o_molecular` {self.o_o_molecular} and `o_o_clustered` "
                f"{self.o_o_clustered} Å must rise in this order"
            )
        if self.metal_metal_min > self.metal_metal_metallic:
            raise ValueError(
                f"`metal_metal_min` {self.metal_metal_min} Å must not exceed `metal_metal_metallic` "
                f"{self.metal_metal_metallic} Å"
            )

    @property
    def largest_distance(self) -> float:
        """Longest pair distance in Å that any rule looks at."""
        return max(self.o_o_clustered, self.metal_o_min, self.metal_metal_metallic, self.coordination_cutoff)


@dataclass(frozen=True)
class Validity:
    """Verdict on a structure's geometry; `reasons` is empty if it is valid, `flags` note what is unusual."""

    valid: bool
    reasons: tuple[str, ...]
    flags: tuple[str, ...]


def check_validity(
    atoms: Atoms,
    n_frozen: int,
    thresholds: ValidityThresholds | None = None,
    frozen_reference: np.ndarray | None = None,
    first_only: bool = False,
) -> Validity:
    """Judge a slab's geometry.

    Everything that is not oxygen counts as metal. Pairs of two frozen atoms are not judged, nor are frozen atoms for
    too few neighbours: the cut at the bottom leaves some by construction.

    Parameters
    ----------
    atoms : ase.Atoms
        Slab with the frozen atoms first, the third cell vector leading out of the surface.
    n_frozen : int
        Number of frozen atoms; with 0 the whole structure must be one connected piece.
    thresholds : ValidityThresholds, optional
    frozen_reference : array, shape (n_frozen, 3), optional
        Where the frozen atoms belong, in Å.
    first_only : bool
        Look no further than to the first reason, as for the thousands of proposals of which few are valid.

    Returns
    -------
    Validity
        Reasons: ``non_finite``, ``empty``, ``outside_cell``, ``frozen_moved``, ``o_o_overlap``, ``molecular_o``,
        ``clustered_o``, ``metal_o_close``, ``metal_metal_close``, ``metal_overcoordinated``, ``floating_o``,
        ``disconnected``, ``gap``, ``vacuum``. Flags: ``metallic``, ``metal_undercoordinated``, ``o_overcoordinated``,
        ``molecular_o``.

    Raises
    ------
    ValueError
        If `n_frozen` or the shape of `frozen_reference` does not fit the structure: the caller's mistake.
    """
    limits = ValidityThresholds() if thresholds is None else thresholds
    if not 0 <= n_frozen <= len(atoms):
        raise ValueError(f"`n_frozen` is {n_frozen} but the structure has {len(atoms)} atoms")
    if frozen_reference is not None and np.shape(frozen_reference) != (n_frozen, 3):
        raise ValueError(f"`frozen_reference` has shape {np.shape(frozen_reference)}, expected ({n_frozen}, 3)")
    if not len(atoms):
        return Validity(False, ("empty",), ())
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        return Validity(False, ("non_finite",), ())
    if abs(atoms.cell.volume) < 1.0:
        raise ValueError(f"`cell` has a volume of {atoms.cell.volume:.3g} Å³: a slab needs three cell vectors")
    reasons = _frame_reasons(atoms, n_frozen, limits, frozen_reference)
    if "outside_cell" in reasons:
        return Validity(False, tuple(reasons), ())
    pairs = neighbour_pairs(atoms, limits.largest_distance)
    pair_reasons, pair_flags = _distance_findings(atoms, pairs, n_frozen, limits)
    reasons += pair_reasons
    if first_only and reasons:
        return Validity(False, tuple(reasons[:1]), tuple(pair_flags))
    bond_reasons, bond_flags = _bonding_findings(atoms, pairs, n_frozen, limits, first_only)
    reasons += bond_reasons
    return Validity(not reasons, tuple(reasons), tuple(pair_flags + bond_flags))


def relaxation_reasons(energy: float, forces: np.ndarray, converged: bool) -> tuple[str, ...]:
    """Reason codes for a relaxation's result: ``non_finite`` energy (eV) or forces (n_atoms, 3), ``not_converged``."""
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        return ("non_finite",)
    return () if converged else ("not_converged",)


def _frame_reasons(
    atoms: Atoms, n_frozen: int, limits: ValidityThresholds, frozen_reference: np.ndarray | None
) -> list[str]:
    """Reasons that follow from heights and from the frozen layers alone."""
    reasons: list[str] = []
    cell = atoms.cell.array
    inverse = np.linalg.inv(cell)
    fractions = atoms.positions @ inverse  # (n_atoms, 3)
    height = heights(inverse)[2]
    z = np.sort(fractions[:, 2]) * height
    # One cell length beside the cell is a relaxed atom that crossed a border, further away it is lost.
    lateral = fractions[:, :2]
    if (lateral < -1.0).any() or (lateral > 2.0).any() or z[0] < -OUTSIDE_SLACK or z[-1] > height + OUTSIDE_SLACK:
        reasons.append("outside_cell")
    if frozen_reference is not None and n_frozen:
        shift = (atoms.positions[:n_frozen] - frozen_reference) @ inverse
        shift[:, atoms.pbc] -= np.round(shift[:, atoms.pbc])
        if np.linalg.norm(shift @ cell, axis=1).max() > limits.frozen_displacement_max:
            reasons.append("frozen_moved")
    if len(z) > 1 and np.diff(z).max() > limits.plane_gap_max:
        reasons.append("gap")
    if height - (z[-1] - z[0]) < limits.vacuum_min:
        reasons.append("vacuum")
    return reasons


def _distance_findings(
    atoms: Atoms, pairs: NeighbourPairs, n_frozen: int, limits: ValidityThresholds
) -> tuple[list[str], list[str]]:
    """Reasons and flags for pairs that are too near, at least one of the two being free."""
    judged = (pairs.first >= n_frozen) | (pairs.second >= n_frozen)
    distances = pairs.distances[judged]
    n_oxygen = (atoms.numbers[pairs.first[judged]] == OXYGEN).astype(int)
    n_oxygen += atoms.numbers[pairs.second[judged]] == OXYGEN
    o_o, metal_o, metal_metal = (distances[n_oxygen == count] for count in (2, 1, 0))
    reasons: list[str] = []
    flags: list[str] = []
    if (o_o < limits.o_o_overlap).any():
        reasons.append("o_o_overlap")
    if ((o_o >= limits.o_o_overlap) & (o_o < limits.o_o_molecular)).any():
        (flags if limits.accept_molecular_o else reasons).append("molecular_o")
    if ((o_o >= limits.o_o_molecular) & (o_o < limits.o_o_clustered)).any():
        reasons.append("clustered_o")
    if (metal_o < limits.metal_o_min).any():
        reasons.append("metal_o_close")
    if (metal_metal < limits.metal_metal_min).any():
        reasons.append("metal_metal_close")
    elif (metal_metal < limits.metal_metal_metallic).any():
        flags.append("metallic")
    return reasons, flags


def _bonding_findings(
    atoms: Atoms, pairs: NeighbourPairs, n_frozen: int, limits: ValidityThresholds, first_only: bool
) -> tuple[list[str], list[str]]:
    """Reasons and flags for coordination and connection."""
    n_atoms = len(atoms)
    is_oxygen = atoms.numbers == OXYGEN
    n_oxygen = is_oxygen[pairs.first].astype(int) + is_oxygen[pairs.second]
    metal_o = (n_oxygen == 1) & (pairs.distances < limits.coordination_cutoff)
    molecular = (n_oxygen == 2) & (pairs.distances < limits.o_o_molecular) & limits.accept_molecular_o
    coordination = np.bincount(pairs.first[metal_o], minlength=n_atoms)  # (n_atoms,)
    partners = np.bincount(pairs.first[metal_o | molecular], minlength=n_atoms)
    free = np.arange(n_atoms) >= n_frozen
    reasons: list[str] = []
    flags: list[str] = []
    if (coordination[~is_oxygen] > limits.metal_coordination_max).any():
        reasons.append("metal_overcoordinated")
    if (coordination[free & ~is_oxygen] <= limits.metal_coordination_low).any():
        flags.append("metal_undercoordinated")
    if (partners[free & is_oxygen] == 0).any():
        reasons.append("floating_o")
    if (coordination[is_oxygen] >= limits.oxygen_coordination_high).any():
        flags.append("o_overcoordinated")
    if first_only and reasons:
        return reasons[:1], flags
    metallic = (n_oxygen == 0) & (pairs.distances < limits.metal_metal_metallic)
    bonded = metal_o | molecular | metallic
    if not _connected(pairs.first[bonded], pairs.second[bonded], n_atoms, n_frozen):
        reasons.append("disconnected")
    return reasons, flags


def _connected(first: np.ndarray, second: np.ndarray, n_atoms: int, n_frozen: int) -> bool:
    """Whether bonds link every free atom to a frozen one, or all atoms to each other where none is frozen."""
    reached = np.arange(n_atoms) < max(n_frozen, 1)
    while True:
        further = second[reached[first] & ~reached[second]]  # every pair stands in both orders
        if not len(further):
            return bool(reached.all())
        reached[further] = True
