"""What the networks see of a structure: the window of its free atoms, its full cell, or planes through it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from generators.fields import with_tuples
from generators.grids.density import frozen_density, spread_matrices
from generators.grids.slices import plane_spec
from generators.grids.spec import GridSpec
from generators.template import Template

KINDS = ("window", "cell", "slice")
AUGMENTATIONS = ("fresh", "stored", "none")


@dataclass(frozen=True)
class View:
    """How structures become grids.

    Attributes
    ----------
    kind : {"window", "cell", "slice"}
        `window`: the free atoms of a template, beside the frozen atoms' density. `cell`: all atoms of a full cell,
        periodic along all axes. `slice`: two-dimensional planes through full cells.
    axis : int
        Normal of the slices: 0 for yz, 1 for xz, 2 for xy.
    planes : tuple of float
        Where the slices are, in units of the cell's length along `axis`.
    augmentation : {"fresh", "stored", "none"}
        Symmetry operations of the template, or translations, turns and mirrors of the cell: drawn anew for every batch,
        drawn once for each structure, or none.
    """

    kind: str = "window"
    axis: int = 1
    planes: tuple[float, ...] = (0.125, 0.375, 0.625, 0.875)
    augmentation: str = "fresh"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"`kind` is {self.kind!r} but must be one of {list(KINDS)}")
        if self.augmentation not in AUGMENTATIONS:
            raise ValueError(f"`augmentation` is {self.augmentation!r} but must be one of {list(AUGMENTATIONS)}")
        if self.axis not in (0, 1, 2):
            raise ValueError(f"`axis` is {self.axis} but must be 0, 1 or 2")
        if not self.planes or not all(0.0 <= plane < 1.0 for plane in self.planes):
            raise ValueError(f"`planes` is {self.planes} but must hold one place or more in [0, 1)")

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of the structure that the grid has."""
        return tuple(axis for axis in range(3) if self.kind != "slice" or axis != self.axis)

    def shape(self, spec: GridSpec) -> tuple[int, ...]:
        """Voxels per axis of the grid that the networks see."""
        return tuple(spec.shape[axis] for axis in self.axes)

    def periodic(self, spec: GridSpec) -> tuple[bool, ...]:
        """Which of these axes wrap."""
        return tuple(spec.periodic[axis] for axis in self.axes)

    def frozen(self, template: Template | None, spec: GridSpec) -> Tensor:
        r"""Density beside the generated one, (n_species, \*shape); zero where nothing is frozen.

        Raises
        ------
        ValueError
            If a window has no template.
        """
        if self.kind == "window":
            if template is None:
                raise ValueError("`template` is missing, but a window is a part of a template")
            return frozen_density(template, spec, dtype=torch.float32)
        return torch.zeros(len(spec.species), *self.shape(spec))

    def spread(self, spec: GridSpec, width: float) -> Sequence[Tensor]:
        """How occupancies spread along each axis; see `generators.grids.density.spread_matrices`."""
        matrices = spread_matrices(spec, width, dtype=torch.float32)
        return [matrices[axis] for axis in self.axes]

    def plane_specs(self, spec: GridSpec) -> list[GridSpec]:
        """One grid of a single voxel along `axis` per plane."""
        low, length = spec.origin[self.axis], spec.lengths[self.axis]
        return [plane_spec(spec, self.axis, low + plane * length) for plane in self.planes]

    def as_dict(self) -> dict[str, Any]:
        """Fields as what JSON can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "View":
        """Inverse of `as_dict`."""
        return cls(**with_tuples(fields))


WINDOW = View()
