"""Structures turned by the symmetry operations of their template, which leave its frozen part as it is."""

import numpy as np
import torch

from generators.grids.density import PADDING


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
