"""Grids to atoms: inversion of the known forward model.

Maxima of the matched filter → joint least squares of positions and amplitudes → atoms added and pruned until the
residual and ∫ρ ask for no more → one site, one species.
"""

from dataclasses import dataclass

import numpy as np
import torch

from generators.grids.density import axis_profiles, integral_counts
from generators.grids.inversion import BackmappingSettings, ChannelAtoms, decode_channel
from generators.grids.matching import separations
from generators.grids.spec import GridError, GridSpec

EMPTY_GRID = "empty_grid"
NON_FINITE = "non_finite"
LOW_CONFIDENCE = "low_confidence"
OVERCROWDED = "overcrowded"
VOXELS_AT_ONCE = 2**18
"""Voxels of one channel that are worked on together, so that they stay near the processor."""


@dataclass(frozen=True)
class Decoded:
    """Atoms read from one grid.

    Attributes
    ----------
    numbers : numpy.ndarray, shape (n,)
        Atomic numbers, in the order of the grid's channels.
    positions : numpy.ndarray, shape (n, 3)
        Å, wrapped into the box along periodic axes.
    amplitudes : numpy.ndarray, shape (n,)
        1 for an atom of a training grid.
    confidence : numpy.ndarray, shape (n,)
        Share of the density around the atom, weighted by its Gaussian, that the fit explains; 0 to 1.
    r2 : float
        1 − Σ residual² / Σ (density − channel's mean)² over all channels, and 0 where that is negative.
    integral_counts : dict of str to float
        Atoms per species that ∫ρ stands for.
    reason : str or None
        ``"empty_grid"``, ``"non_finite"``, ``"overcrowded"`` or ``"low_confidence"``; None if the grid could be read.
    """

    numbers: np.ndarray
    positions: np.ndarray
    amplitudes: np.ndarray
    confidence: np.ndarray
    r2: float
    integral_counts: dict[str, float]
    reason: str | None


def backmap(
    grids: torch.Tensor | np.ndarray, spec: GridSpec, settings: BackmappingSettings | None = None
) -> list[Decoded]:
    """Read the atoms of a batch of grids.

    Parameters
    ----------
    grids : torch.Tensor or array, shape (batch, n_species, nx, ny, nz)
        Generated channels only, without the frozen part. Worked on in double precision, on their device.
    spec : GridSpec
    settings : BackmappingSettings, optional

    Returns
    -------
    list of Decoded
        One per grid; a grid that cannot be read has a reason, and what was found in it.

    Raises
    ------
    GridError
        If the grids' shape is not that of `spec`.
    """
    settings = settings or BackmappingSettings()
    grids = torch.as_tensor(grids)
    expected = (len(spec.species), *spec.shape)
    if grids.ndim != 5 or tuple(grids.shape[1:]) != expected:
        raise GridError(
            f"`grids` has shape {tuple(grids.shape)} but must have (batch, {', '.join(map(str, expected))})"
        )
    if len(grids) == 0:
        return []
    chunk = max(1, VOXELS_AT_ONCE // int(np.prod(spec.shape)))
    decoded: list[Decoded] = []
    with torch.no_grad():
        for part in grids.split(chunk):
            decoded += _backmap_chunk(part.to(torch.float64), spec, settings)
    return decoded


def reconstruction(decoded: Decoded, spec: GridSpec) -> torch.Tensor:
    """Density of the atoms that were read, with their amplitudes; what it leaves of the grid is the residual.

    Parameters
    ----------
    decoded : Decoded
    spec : GridSpec

    Returns
    -------
    torch.Tensor of float64, shape (n_species, nx, ny, nz)
    """
    positions = torch.as_tensor(decoded.positions, dtype=torch.float64)
    x, y, z = (axis_profiles(positions[:, axis], spec, axis) for axis in range(3))
    belongs = torch.as_tensor(spec.numbers[:, None] == decoded.numbers[None], dtype=torch.float64)
    weights = belongs * torch.as_tensor(decoded.amplitudes, dtype=torch.float64)  # (n_species, n_atoms)
    density = torch.einsum("sa,ax,ay,az->sxyz", weights, x, y, z)
    return density.clamp(max=1.0) if spec.clip else density


def _backmap_chunk(grids: torch.Tensor, spec: GridSpec, settings: BackmappingSettings) -> list[Decoded]:
    finite = torch.isfinite(grids).flatten(1).all(dim=1)
    grids = torch.where(finite[:, None, None, None, None], grids, torch.zeros_like(grids))
    counts = integral_counts(grids, spec)  # (batch, n_species)
    channels = [decode_channel(grids[:, c], counts[:, c], spec, settings) for c in range(len(spec.species))]
    per_structure = counts.cpu().numpy()
    return [
        _assemble(index, channels, per_structure[index], bool(finite[index]), spec, settings)
        for index in range(len(grids))
    ]


def _assemble(
    index: int,
    channels: list[ChannelAtoms],
    counts: np.ndarray,
    finite: bool,
    spec: GridSpec,
    settings: BackmappingSettings,
) -> Decoded:
    """One structure from its channels."""
    chosen = [channel.present[index] for channel in channels]
    numbers = np.repeat(spec.numbers, [int(present.sum()) for present in chosen])
    positions = np.concatenate([c.positions[index][p] for c, p in zip(channels, chosen, strict=True)])
    amplitudes = np.concatenate([c.amplitudes[index][p] for c, p in zip(channels, chosen, strict=True)])
    confidence = np.concatenate([c.explained[index][p] for c, p in zip(channels, chosen, strict=True)])
    stays = ~_loses_its_site(numbers, positions, amplitudes, spec, settings.conflict_distance)
    for axis in range(3):
        if spec.periodic[axis]:
            positions[:, axis] = spec.origin[axis] + (positions[:, axis] - spec.origin[axis]) % spec.lengths[axis]
    squares = sum(float(channel.squares[index]) for channel in channels)
    left = sum(float(channel.squares_left[index]) for channel in channels)
    r2 = max(0.0, 1.0 - left / squares) if squares > 0.0 else 0.0
    reason = None
    if not finite:
        reason = NON_FINITE
    elif any(channel.overcrowded[index] for channel in channels):
        reason = OVERCROWDED
    elif not stays.any():
        reason = EMPTY_GRID
    elif r2 < settings.r2_min:
        reason = LOW_CONFIDENCE
    return Decoded(
        numbers=numbers[stays],
        positions=positions[stays],
        amplitudes=amplitudes[stays],
        confidence=confidence[stays].clip(0.0, 1.0),
        r2=r2,
        integral_counts=dict(zip(spec.species, counts.tolist(), strict=True)),
        reason=reason,
    )


def _loses_its_site(
    numbers: np.ndarray, positions: np.ndarray, amplitudes: np.ndarray, spec: GridSpec, distance: float
) -> np.ndarray:
    """Atoms (n,) within `distance` in Å of a stronger atom of another species; of equal ones the later loses."""
    loses = np.zeros(len(numbers), dtype=bool)
    place = np.argsort(np.argsort(-amplitudes, kind="stable"))
    for number in np.unique(numbers):
        own, others = np.flatnonzero(numbers == number), np.flatnonzero(numbers != number)
        near = separations(positions[own], positions[others], spec) < distance
        loses[own] = np.any(near & (place[own][:, None] > place[others][None]), axis=1)
    return loses
