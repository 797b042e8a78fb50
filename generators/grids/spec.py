"""The grid that carries atoms into a network and out of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from generators.fields import with_tuples
from generators.template import Template

WINDOW_MARGIN = 3.0
"""Distance in units of σ between the range of the free atoms and the ends of the window."""


class GridError(ValueError):
    """A grid, or something put on it, that cannot work."""


@dataclass(frozen=True)
class GridSpec:
    """Where the voxels are, and how an atom looks on them.

    Voxel ``i`` along an axis has its centre at ``origin + (i + 1/2) * spacing``.

    Attributes
    ----------
    shape : tuple of int, shape (3,)
        Voxels per axis.
    species : tuple of str
        Chemical symbols, one channel each, in this order.
    sigma : float
        Width of the isotropic Gaussian of an atom in Å; its height is 1.
    origin, lengths : tuple of float, shape (3,)
        Corner and edges of the box in Å.
    periodic : tuple of bool, shape (3,)
    clip : bool
        Whether sums of Gaussians are cut at 1.

    Raises
    ------
    GridError
        If a length, σ or a count of voxels is not positive and finite, or a species is unknown or named twice.
    """

    shape: tuple[int, int, int]
    species: tuple[str, ...]
    sigma: float
    origin: tuple[float, float, float]
    lengths: tuple[float, float, float]
    periodic: tuple[bool, bool, bool] = (True, True, False)
    clip: bool = True

    def __post_init__(self) -> None:
        for name in ("shape", "origin", "lengths", "periodic"):
            if len(getattr(self, name)) != 3:
                raise GridError(f"`{name}` is {getattr(self, name)} but must have three entries")
        if not all(isinstance(count, int) and count >= 1 for count in self.shape):
            raise GridError(f"`shape` is {self.shape} but must hold three whole numbers of voxels, 1 or more")
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise GridError(f"`sigma` is {self.sigma} Å but must be positive")
        if not all(math.isfinite(length) and length > 0 for length in self.lengths):
            raise GridError(f"`lengths` is {self.lengths} Å but must be positive: does the structure have a cell?")
        if not all(math.isfinite(value) for value in self.origin):
            raise GridError(f"`origin` is {self.origin} Å but must be finite")
        unknown = [symbol for symbol in self.species if symbol not in atomic_numbers or symbol == "X"]
        if not self.species or unknown:
            raise GridError(f"`species` is {self.species} but must name chemical elements, {unknown} are none")
        if len(set(self.species)) != len(self.species):
            raise GridError(f"`species` is {self.species} but must name each element once")

    @classmethod
    def for_window(
        cls,
        template: Template,
        shape: tuple[int, int, int],
        species: tuple[str, ...],
        sigma: float,
        clip: bool = True,
    ) -> "GridSpec":
        """Grid over the free atoms of a template: the whole cell in x and y, their range and 3σ more in z.

        Parameters
        ----------
        template : Template
        shape : tuple of int, shape (3,)
        species : tuple of str
        sigma : float
            Å
        clip : bool

        Returns
        -------
        GridSpec
            In the template's frame.
        """
        margin = WINDOW_MARGIN * sigma
        floor = float(template.free_floor) - margin
        height = float(template.free_ceiling) + margin - floor
        return cls(
            shape=(int(shape[0]), int(shape[1]), int(shape[2])),
            species=tuple(species),
            sigma=float(sigma),
            origin=(0.0, 0.0, floor),
            lengths=(float(template.cell[0]), float(template.cell[1]), height),
            periodic=(True, True, False),
            clip=clip,
        )

    @classmethod
    def for_cell(
        cls,
        lengths: Sequence[float] | np.ndarray,
        shape: tuple[int, int, int],
        species: tuple[str, ...],
        sigma: float,
        *,
        periodic: tuple[bool, bool, bool] = (True, True, True),
        clip: bool = True,
    ) -> "GridSpec":
        """Grid over a whole orthorhombic cell, which begins at the origin.

        Parameters
        ----------
        lengths : array, shape (3,)
            Å
        shape : tuple of int, shape (3,)
        species : tuple of str
        sigma : float
            Å
        periodic : tuple of bool, shape (3,)
            Along z too by default, so that a slab may lie anywhere, also across the cell's end.
        clip : bool
        """
        edges = [float(length) for length in lengths]
        if len(edges) != 3:
            raise GridError(f"`lengths` is {edges} Å but must have three entries: is the cell orthorhombic?")
        return cls(
            shape=(int(shape[0]), int(shape[1]), int(shape[2])),
            species=tuple(species),
            sigma=float(sigma),
            origin=(0.0, 0.0, 0.0),
            lengths=(edges[0], edges[1], edges[2]),
            periodic=periodic,
            clip=clip,
        )

    @cached_property
    def spacing(self) -> np.ndarray:
        """Voxel edges in Å, shape (3,)."""
        return np.asarray(self.lengths, dtype=float) / np.asarray(self.shape, dtype=float)

    @property
    def voxel_volume(self) -> float:
        """Å³."""
        return float(np.prod(self.spacing))

    @property
    def atom_volume(self) -> float:
        """Integral of one atom's Gaussian over all space in Å³."""
        return (2.0 * math.pi * self.sigma**2) ** 1.5

    @cached_property
    def numbers(self) -> np.ndarray:
        """Atomic numbers of the channels, shape (n_species,)."""
        return np.array([atomic_numbers[symbol] for symbol in self.species])

    def centres(self, axis: int) -> np.ndarray:
        """Coordinates of the voxels' centres along an axis in Å, shape (shape[axis],)."""
        return self.origin[axis] + (np.arange(self.shape[axis]) + 0.5) * self.spacing[axis]

    def channel_of(self, number: int) -> int:
        """Channel of an atomic number.

        Raises
        ------
        GridError
            If the grid has no channel for it.
        """
        found = np.flatnonzero(self.numbers == number)
        if len(found) == 0:
            raise GridError(f"`number` is {number} but the grid's species are {', '.join(self.species)}")
        return int(found[0])

    def as_dict(self) -> dict[str, Any]:
        """Fields as what JSON can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "GridSpec":
        """Inverse of `as_dict`."""
        return cls(**with_tuples(fields))
