"""Every planar way to end a rutile crystal along a facet's normal."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ase.data import atomic_numbers

from searcher.structures.crystal import PLANE_TOLERANCE, OrientedCrystal

OXYGEN = 8
BOND = 2.4  # Å: longest metal–oxygen bond of the bulk (rutile RuO2: 1.99, next neighbours 3.41)


@dataclass(frozen=True)
class Termination:
    """A cut of the bulk crystal.

    Attributes
    ----------
    facet : str
    name : str
        ``O-poor``, ``stoichiometric``, ``O-rich``, ``super-O-poor``, ``super-O-rich``; a suffix tells equal Γ apart.
    excess_oxygen : float
        Γ = (N_O − 2 N_M) per face and lateral cell.
    height : float
        z of the cut in Å above a metal atom of the oriented crystal: atoms with z below it belong to the slab.
    without_top_oxygen, only_top_oxygen : bool
        The uppermost plane, one of metal and oxygen, keeps only its metal or only its oxygen.
    """

    facet: str
    name: str
    excess_oxygen: float
    height: float
    without_top_oxygen: bool = False
    only_top_oxygen: bool = False

    @property
    def label(self) -> str:
        return f"{self.facet}-{self.name}"


@dataclass(frozen=True)
class Plane:
    """Atoms of one height."""

    z: float
    n_metal: int
    n_oxygen: int


def planes_between(oriented: OrientedCrystal, low: float, high: float) -> list[Plane]:
    """Atomic planes with ``low < z < high``, from below."""
    numbers, positions = oriented.atoms_between(low, high)
    groups = np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(positions[:, 2]) > PLANE_TOLERANCE) + 1)
    return [
        Plane(
            z=float(positions[g, 2].mean()),
            n_metal=int(np.count_nonzero(numbers[g] != OXYGEN)),
            n_oxygen=int(np.count_nonzero(numbers[g] == OXYGEN)),
        )
        for g in groups
        if len(g)
    ]


def repeat_distance(oriented: OrientedCrystal) -> float:
    """Smallest distance in Å along the normal after which the planes repeat, lateral shifts aside."""
    planes = planes_between(oriented, -PLANE_TOLERANCE, 3 * oriented.period)
    for candidate in planes[1:]:
        shifted = planes_between(
            oriented, candidate.z - PLANE_TOLERANCE, candidate.z + oriented.period - PLANE_TOLERANCE
        )
        if all(
            abs(above.z - candidate.z - below.z) < PLANE_TOLERANCE
            and (above.n_metal, above.n_oxygen) == (below.n_metal, below.n_oxygen)
            for below, above in zip(planes, shifted, strict=False)
        ):
            return candidate.z
    return oriented.period


def excess_oxygen(oriented: OrientedCrystal, height: float) -> float:
    """Γ per face of the slab between two inverted cuts at ±`height` around a metal atom."""
    planes = planes_between(oriented, -height, height)
    return sum(p.n_oxygen - 2 * p.n_metal for p in planes) / 2


def enumerate_terminations(oriented: OrientedCrystal) -> list[Termination]:
    """All distinct terminations of a facet, by rising excess oxygen.

    A cut lies between two planes. A plane with metal and oxygen adds the cut that keeps only its oxygen, where that
    oxygen binds to metal below, and, on a facet without any other O-poor cut, the one that keeps only its metal.
    Labels follow the excess: 0 is stoichiometric, the lowest cut O-poor, the highest O-rich; with more than three
    values the extremes are super-O-poor and super-O-rich, and equal values carry a suffix.
    """
    repeat = repeat_distance(oriented)
    planes = planes_between(oriented, repeat - PLANE_TOLERANCE, 2 * repeat + PLANE_TOLERANCE)
    found = []
    for plane, above in pairwise(planes):
        height = (plane.z + above.z) / 2
        excess = excess_oxygen(oriented, height)
        found.append((excess, height, ""))
        if plane.n_metal and plane.n_oxygen and _oxygen_binds_below(oriented, plane.z):
            found.append((excess + 2 * plane.n_metal, height, "only_oxygen"))
    if not any(excess < 0 for excess, _, _ in found):
        found.append((-planes[0].n_oxygen, (planes[0].z + planes[1].z) / 2, "without_oxygen"))
    names = _names([gamma for gamma, _, _ in found])
    terminations = [
        Termination(
            facet=oriented.facet,
            name=name,
            excess_oxygen=gamma,
            height=z,
            without_top_oxygen=kind == "without_oxygen",
            only_top_oxygen=kind == "only_oxygen",
        )
        for (gamma, z, kind), name in zip(found, names, strict=True)
    ]
    return sorted(terminations, key=lambda t: (t.excess_oxygen, t.name))


def _oxygen_binds_below(oriented: OrientedCrystal, z: float) -> bool:
    """Whether every oxygen of the plane at `z` has a metal neighbour below that plane."""
    numbers, positions = oriented.atoms_between(z - BOND, z + PLANE_TOLERANCE)
    in_plane = positions[:, 2] > z - PLANE_TOLERANCE
    oxygen = positions[in_plane & (numbers == OXYGEN)]  # (n_oxygen, 3)
    metal = positions[~in_plane & (numbers != OXYGEN)]  # (n_metal, 3)
    if not len(metal):
        return False
    difference = oxygen[:, None] - metal[None]
    difference[..., :2] -= oriented.lengths * np.round(difference[..., :2] / oriented.lengths)
    return bool(np.all(np.linalg.norm(difference, axis=-1).min(axis=1) < BOND))


def _names(excesses: list[float]) -> list[str]:
    levels = sorted(set(excesses))
    poorer = [g for g in levels if g < 0]
    richer = [g for g in levels if g > 0]
    by_level = {0.0: "stoichiometric"}
    for side, name in ((list(reversed(poorer)), "O-poor"), (richer, "O-rich")):
        for rank, level in enumerate(side):
            by_level[level] = ("super-" * rank) + name
    names, seen = [], dict.fromkeys(levels, 0)
    for gamma in excesses:
        seen[gamma] += 1
        suffix = f"-{seen[gamma]}" if seen[gamma] > 1 else ""
        names.append(by_level[gamma] + suffix)
    return names


def termination_atoms(
    oriented: OrientedCrystal, termination: Termination, low: float, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bulk positions of a termination's atoms with ``low < z``, cut at `height`.

    Parameters
    ----------
    low : float
        Lower end in Å.
    height : float
        z of the cut in Å: the termination's height plus a whole number of repeats.

    Returns
    -------
    numbers : numpy.ndarray, shape (n,)
    positions : numpy.ndarray, shape (n, 3)
        In Å, in the frame of `oriented`.
    """
    numbers, positions = oriented.atoms_between(low, height)
    top = positions[:, 2] > positions[:, 2].max() - PLANE_TOLERANCE
    if termination.without_top_oxygen:
        keep = ~(top & (numbers == OXYGEN))
    elif termination.only_top_oxygen:
        keep = ~(top & (numbers == atomic_numbers[oriented.crystal.metal]))
    else:
        keep = np.ones(len(numbers), dtype=bool)
    return numbers[keep], positions[keep]
