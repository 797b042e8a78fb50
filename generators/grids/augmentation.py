"""Structures turned and shifted by exact symmetries.

In a window by the operations of the template, which leave its frozen part as it is; in a full cell by the cell's own.
"""

import numpy as np
import torch

from generators.grids.density import PADDING
from generators.grids.spec import GridSpec

SQUARE_TOLERANCE = 1e-6
"""Å by which the sides of a square cell may differ; a quarter turn moves no atom by more."""


def apply_operation(
    positions: np.ndarray, rotation: np.ndarray, translation: np.ndarray, cell: np.ndarray
) -> np.ndarray:
    """Turn and shift positions, and wrap them laterally.

    Parameters
    ----------
    positions : array, shape (n_atoms, 3)
        Å
    rotation : array, shape (3, 3)
        Cartesian.
    translation : array, shape (3,)
        Å, applied after the rotation.
    cell : array, shape (3,)
        Orthorhombic lengths in Å.

    Returns
    -------
    numpy.ndarray, shape (n_atoms, 3)
        x and y in [0, cell).
    """
    turned = np.asarray(positions, dtype=float) @ np.asarray(rotation).T + np.asarray(translation)
    turned[:, :2] %= np.asarray(cell)[:2]
    return turned


def random_operations(
    positions: torch.Tensor,
    channels: torch.Tensor,
    rotations: torch.Tensor,
    translations: torch.Tensor,
    cell: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Turn each structure of a batch by one operation of a group, drawn uniformly.

    Parameters
    ----------
    positions : torch.Tensor, shape (batch, n_atoms_max, 3)
        Å
    channels : torch.Tensor of int, shape (batch, n_atoms_max)
        -1 where there is no atom; such entries stay as they are.
    rotations : torch.Tensor, shape (n_operations, 3, 3)
    translations : torch.Tensor, shape (n_operations, 3)
        Å, applied after the rotation.
    cell : torch.Tensor, shape (3,)
        Orthorhombic lengths in Å.
    generator : torch.Generator
        On the device of `positions` or on the CPU.

    Returns
    -------
    torch.Tensor, shape (batch, n_atoms_max, 3)
        x and y in [0, cell).
    """
    drawn = torch.randint(len(rotations), (len(positions),), generator=generator, device=generator.device)
    drawn = drawn.to(positions.device)
    rotation = rotations.to(positions)[drawn]  # (batch, 3, 3)
    translation = translations.to(positions)[drawn]  # (batch, 3)
    turned = torch.bmm(positions, rotation.transpose(1, 2)) + translation[:, None]
    lateral = torch.remainder(turned[..., :2], cell.to(positions)[:2])
    turned = torch.cat([lateral, turned[..., 2:]], dim=-1)
    return torch.where((channels == PADDING)[..., None], positions, turned)


def cell_rotations(spec: GridSpec) -> np.ndarray:
    """Rotations about z and mirrors that turn an orthorhombic cell and its voxels into themselves.

    Mirrors in x and y and their product; where the cell and its grid are square also the quarter turns and the
    diagonal mirrors. Never z to −z: a slab has an upper and a lower side.

    Parameters
    ----------
    spec : GridSpec

    Returns
    -------
    numpy.ndarray, shape (4 or 8, 3, 3)
        Cartesian; the first is the identity.
    """
    rotations = [np.diag([x, y, 1.0]) for x in (1.0, -1.0) for y in (1.0, -1.0)]
    if abs(spec.lengths[0] - spec.lengths[1]) <= SQUARE_TOLERANCE and spec.shape[0] == spec.shape[1]:
        swap = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        rotations += [rotation @ swap for rotation in rotations]
    return np.array(rotations)


def random_placements(
    positions: torch.Tensor, channels: torch.Tensor, spec: GridSpec, generator: torch.Generator
) -> torch.Tensor:
    """Turn each structure of a batch by one of `cell_rotations` and shift it by any vector along the periodic axes.

    For full cells, where nothing is frozen in place. A rotation acts about the middle of the box.

    Parameters
    ----------
    positions : torch.Tensor, shape (batch, n_atoms_max, 3)
        Å
    channels : torch.Tensor of int, shape (batch, n_atoms_max)
        -1 where there is no atom; such entries stay as they are.
    spec : GridSpec
    generator : torch.Generator
        On the device of `positions` or on the CPU.

    Returns
    -------
    torch.Tensor, shape (batch, n_atoms_max, 3)
        Inside the box along periodic axes.
    """
    rotations = torch.as_tensor(cell_rotations(spec)).to(positions)
    origin, lengths = (positions.new_tensor(values) for values in (spec.origin, spec.lengths))
    periodic = torch.tensor(spec.periodic, device=positions.device)
    drawn = torch.randint(len(rotations), (len(positions),), generator=generator, device=generator.device)
    shift = torch.rand(len(positions), 1, 3, generator=generator, device=generator.device).to(positions)
    middle = origin + 0.5 * lengths
    turned = torch.bmm(positions - middle, rotations[drawn.to(positions.device)].transpose(1, 2)) + middle
    moved = origin + torch.remainder(turned + shift * lengths - origin, lengths)
    moved = torch.where(periodic, moved, turned)
    return torch.where((channels == PADDING)[..., None], positions, moved)
