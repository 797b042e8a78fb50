"""The part of a slab that a search does not change, and the room above it that it fills."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

FROZEN_TAG = 0
FREE_TAG = 1


@dataclass(frozen=True)
class Template:
    """Lattice, frozen atoms and symmetry of a one-sided slab in a fixed frame.

    Attributes
    ----------
    facet : str
        Miller indices without separators, for example ``"110"``.
    repeat : tuple of int, shape (2,)
        Lateral repetition of the (1×1) cell.
    cell : numpy.ndarray, shape (3,)
        Orthorhombic cell lengths in Å, vacuum included.
    frozen_numbers : numpy.ndarray, shape (n_frozen,)
    frozen_positions : numpy.ndarray, shape (n_frozen, 3)
        In Å; every frozen atom lies below `free_floor`.
    free_floor, free_ceiling : float
        Lowest and highest z in Å that a free atom may take before relaxation.
    rotations : numpy.ndarray, shape (n_operations, 3, 3)
        Cartesian rotations or reflections that leave the frozen atoms as they are; the first is the identity.
    translations : numpy.ndarray, shape (n_operations, 3)
        Lateral translations in Å applied after the rotation.
    gamma_bottom : float
        Surface energy of the bottom face in eV/Å².
    """

    facet: str
    repeat: tuple[int, int]
    cell: np.ndarray
    frozen_numbers: np.ndarray
    frozen_positions: np.ndarray
    free_floor: float
    free_ceiling: float
    rotations: np.ndarray
    translations: np.ndarray
    gamma_bottom: float
    reference_counts: dict[str, int] = field(default_factory=dict)
    """Free atoms per element of the stoichiometric termination that the template was cut from."""

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that change with lattice, frozen atoms or free range."""
        digest = hashlib.sha256()
        digest.update(f"{self.facet}|{self.repeat}|{self.free_floor:.6f}|{self.free_ceiling:.6f}".encode())
        for array in (self.cell, self.frozen_positions, self.frozen_numbers.astype(float)):
            digest.update(np.round(np.asarray(array, dtype="<f8"), 6).tobytes())
        return digest.hexdigest()[:12]

    @property
    def area(self) -> float:
        """Lateral area in Å²."""
        return float(self.cell[0] * self.cell[1])

    @property
    def n_frozen(self) -> int:
        return len(self.frozen_numbers)

    def as_dict(self) -> dict[str, Any]:
        """Fields as what JSON can hold."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Template":
        """Inverse of `as_dict`."""
        arrays = ("cell", "frozen_numbers", "frozen_positions", "rotations", "translations")
        x, y = fields["repeat"]
        return cls(**{**fields, **{name: np.array(fields[name]) for name in arrays}, "repeat": (int(x), int(y))})

    def assemble(self, numbers: np.ndarray, positions: np.ndarray) -> Atoms:
        """Put free atoms on the template.

        Parameters
        ----------
        numbers : array, shape (n_free,)
            Atomic numbers.
        positions : array, shape (n_free, 3)
            In Å, in the template's frame; x and y are wrapped into the cell.

        Returns
        -------
        ase.Atoms
            Frozen atoms first (tag 0, fixed), then free atoms (tag 1) by falling atomic number.
        """
        numbers = np.asarray(numbers, dtype=int).reshape(-1)
        positions = np.array(positions, dtype=float).reshape(-1, 3)
        order = np.argsort(-numbers, kind="stable")
        positions = positions[order]
        positions[:, :2] %= self.cell[:2]
        atoms = Atoms(
            numbers=np.concatenate([self.frozen_numbers, numbers[order]]),
            positions=np.concatenate([self.frozen_positions, positions]),
            cell=np.diag(self.cell),
            pbc=(True, True, False),
            tags=[FROZEN_TAG] * self.n_frozen + [FREE_TAG] * len(numbers),
        )
        atoms.set_constraint(FixAtoms(indices=range(self.n_frozen)))
        return atoms

    def free_part(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        """Atomic numbers (n_free,) and positions (n_free, 3) in Å of the atoms above the frozen ones."""
        return atoms.numbers[self.n_frozen :], atoms.positions[self.n_frozen :]
