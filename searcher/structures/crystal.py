"""Rutile crystals and their atoms seen along a facet's normal."""

from dataclasses import dataclass, replace
from itertools import product
from math import gcd

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, reference_states
from ase.spacegroup import crystal as spacegroup_crystal

from searcher.errors import InputError

PLANE_TOLERANCE = 0.05  # Å: atoms nearer than this along the normal lie in one plane
RUTILE_SPACE_GROUP = 136
LARGEST_INDEX = 4


@dataclass(frozen=True)
class Crystal:
    """A rutile oxide MO2, space group P4_2/mnm.

    Attributes
    ----------
    metal : str
        Element symbol.
    a, c : float
        Lattice lengths in Å.
    u : float
        Internal coordinate of oxygen.
    """

    metal: str = "Ru"
    a: float = 4.4968
    c: float = 3.1049
    u: float = 0.3053

    def __post_init__(self) -> None:
        if self.metal not in atomic_numbers or self.metal in ("X", "O"):
            raise InputError(f"`material.metal` is {self.metal!r} but must be the symbol of a metal, for example Ru")
        for name, value, low, high in (("a", self.a, 3, 7), ("c", self.c, 2, 5), ("u", self.u, 0.2, 0.4)):
            if not low < value < high:
                raise InputError(f"`material.{name}` is {value} but a rutile crystal has {low} < {name} < {high}")

    @property
    def species(self) -> tuple[str, str]:
        return ("O", self.metal)

    def bulk(self) -> Atoms:
        """The conventional cell with two formula units, metal first."""
        atoms = spacegroup_crystal(
            [self.metal, "O"],
            basis=[(0, 0, 0), (self.u, self.u, 0)],
            spacegroup=RUTILE_SPACE_GROUP,
            cellpar=[self.a, self.a, self.c, 90, 90, 90],
        )
        return Atoms(numbers=atoms.numbers, scaled_positions=atoms.get_scaled_positions(), cell=atoms.cell, pbc=True)

    def with_lattice(self, a: float, c: float, u: float) -> "Crystal":
        return replace(self, a=a, c=c, u=u)


@dataclass(frozen=True)
class OrientedCrystal:
    """A crystal turned so that a facet's normal is z and an orthogonal lateral cell lies along x and y.

    Attributes
    ----------
    facet : str
    directions : tuple of two integer triples
        Crystal directions along x (the longer) and y.
    lengths : numpy.ndarray, shape (2,)
        Lateral cell lengths in Å.
    period : float
        Distance in Å after which the lattice planes repeat up to a lateral shift.
    """

    crystal: Crystal
    facet: str
    directions: tuple[tuple[int, int, int], tuple[int, int, int]]
    lengths: np.ndarray
    period: float
    rotation: np.ndarray
    """(3, 3) rows are x, y and z of the oriented frame in the crystal's Cartesian frame"""

    @property
    def area(self) -> float:
        """Area of the lateral cell in Å²."""
        return float(self.lengths[0] * self.lengths[1])

    def atoms_between(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """All atoms of the infinite crystal over one lateral cell with ``low < z < high``.

        A metal atom sits at the origin, which is a centre of inversion of the rutile structure.

        Returns
        -------
        numbers : numpy.ndarray, shape (n,)
        positions : numpy.ndarray, shape (n, 3)
            In Å, sorted by z; x and y inside the lateral cell.
        """
        bulk = self.crystal.bulk()
        corners = np.array(list(product((0.0, self.lengths[0]), (0.0, self.lengths[1]), (low, high)))) @ self.rotation
        fractional = corners @ np.linalg.inv(bulk.cell.array)
        ranges = [
            range(int(np.floor(f_min)) - 1, int(np.ceil(f_max)) + 2)
            for f_min, f_max in zip(fractional.min(axis=0), fractional.max(axis=0), strict=True)
        ]
        shifts = np.array(list(product(*ranges)), dtype=float) @ bulk.cell.array
        positions = (bulk.positions[None] + shifts[:, None]).reshape(-1, 3) @ self.rotation.T
        numbers = np.tile(bulk.numbers, len(shifts))
        lateral = positions[:, :2] / self.lengths
        edge = 1e-6
        inside = np.all((lateral > -edge) & (lateral < 1 - edge), axis=1)
        inside &= (positions[:, 2] > low) & (positions[:, 2] < high)
        numbers, positions = numbers[inside], positions[inside]
        positions[:, :2] = np.clip(positions[:, :2], 0, None)
        order = np.lexsort((positions[:, 1].round(6), positions[:, 0].round(6), -numbers, positions[:, 2].round(4)))
        return numbers[order], positions[order]


def metal_structure(metal: str) -> str:
    """Crystal of the pure metal by ASE's table: ``"fcc"`` or ``"bcc"``, else ``"hcp"``, the nearest of the three."""
    state = reference_states[atomic_numbers[metal]] or {}
    found = str(state.get("symmetry"))
    return found if found in ("fcc", "bcc") else "hcp"


def parse_facet(facet: str) -> tuple[int, int, int]:
    """Miller indices of a facet written as three digits.

    Raises
    ------
    InputError
        If the text is not three digits or all are zero.
    """
    if len(facet) != 3 or not facet.isdigit() or facet == "000":
        raise InputError(f"`facet` is {facet!r} but must be three digits, for example '110' (quote it in YAML)")
    return (int(facet[0]), int(facet[1]), int(facet[2]))


def orient(crystal: Crystal, facet: str) -> OrientedCrystal:
    """Turn a crystal so that the facet's normal is z, with the smallest orthogonal lateral cell.

    Where the primitive lateral cell is not orthogonal, as on (111), the smallest orthogonal supercell is taken.
    """
    miller = np.array(parse_facet(facet))
    cell = crystal.bulk().cell.array
    reciprocal = np.linalg.inv(cell).T
    normal_vector = miller @ reciprocal
    span = range(-LARGEST_INDEX, LARGEST_INDEX + 1)
    in_plane = [
        np.array(d)
        for d in product(span, span, span)
        if d @ miller == 0 and gcd(*d) == 1 and next(i for i in d if i) > 0
    ]
    best = None
    for i, first in enumerate(in_plane):
        for second in in_plane[i + 1 :]:
            one, two = first @ cell, second @ cell
            size = np.linalg.norm(one) * np.linalg.norm(two)
            if abs(one @ two) < 1e-8 * size and (best is None or size < best[0] - 1e-9):
                best = (size, first, second)
    if best is None:
        raise InputError(f"`facet` {facet!r} has no orthogonal lateral cell within indices of ±{LARGEST_INDEX}")
    pair = sorted(best[1:], key=lambda d: (-round(float(np.linalg.norm(d @ cell)), 6), *(-abs(d)), *(-d)))
    x, y = (d @ cell / np.linalg.norm(d @ cell) for d in pair)
    z = normal_vector / np.linalg.norm(normal_vector)
    if np.cross(x, y) @ z < 0:
        pair[1], y = -pair[1], -y
    return OrientedCrystal(
        crystal=crystal,
        facet=facet,
        directions=tuple(tuple(int(i) for i in d) for d in pair),  # type: ignore[arg-type]
        lengths=np.array([np.linalg.norm(d @ cell) for d in pair]),
        period=float(1 / np.linalg.norm(normal_vector) * gcd(*miller.tolist())),
        rotation=np.array([x, y, z]),
    )
