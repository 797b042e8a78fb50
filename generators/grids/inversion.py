"""Atoms of one species in a batch of grids: found as maxima, fitted together, added and pruned until they fit."""

from dataclasses import dataclass

import numpy as np
import torch

from generators.grids.density import axis_profiles
from generators.grids.least_squares import WHOLE_REACH, Gaussians, fit, residuals_and_weights
from generators.grids.peaks import Peaks, find_peaks
from generators.grids.spec import GridSpec

CLIPPED_AT = 1.0 - 1e-6


@dataclass(frozen=True)
class BackmappingSettings:
    """How grids are read.

    Attributes
    ----------
    threshold : float
        Smallest first maximum relative to the channel's highest.
    min_amplitude : float
        Smallest amplitude of an atom where a training grid has 1.
    doubtful, certain : float
        Shares of a channel's median amplitude. Below the first there is no atom, above the second there is one; in
        between ∫ρ decides.
    integral_decides : bool
        Of atoms beyond those that ∫ρ counts the weakest are none, however strong. For grids of a generator, whose
        integral is learned and whose atoms may be smeared over several peaks; else ∫ρ is compared with the typical
        amplitude, so that grids may be scaled.
    merge_distance : float
        Atoms of one species nearer than this many σ are one atom.
    conflict_distance : float
        Å; of atoms of two species nearer than this, the one with the larger amplitude stays.
    r2_min : float
        Smallest R² of a structure to be believed. Grids of pure noise reach 0.1; white noise of 5 % of a peak leaves
        0.2 to 0.6, depending on how empty the box is.
    max_density : float
        Atoms of one species per Å³ of the box above which a grid is noise and is not fitted. Ruthenium metal has 0.074,
        oxygen in RuO2 0.064.
    max_rounds : int
        Times that atoms are added or pruned.
    max_iterations : int
        Of the last least-squares fit.
    tolerance : float
        Last step of that fit in Å.
    """

    threshold: float = 0.3
    min_amplitude: float = 0.25
    doubtful: float = 0.35
    certain: float = 0.6
    integral_decides: bool = False
    merge_distance: float = 2.0
    conflict_distance: float = 1.0
    r2_min: float = 0.3
    max_density: float = 0.12
    max_rounds: int = 5
    max_iterations: int = 40
    tolerance: float = 1e-7


@dataclass(frozen=True)
class _Precision:
    """When a fit may end."""

    max_iterations: int
    tolerance: float
    reach: float = WHOLE_REACH


ROUGH = _Precision(max_iterations=8, tolerance=1e-3, reach=4.5)
"""Enough to see which atoms are weak and what is left over, to 4e-5 of a peak."""


@dataclass(frozen=True)
class ChannelAtoms:
    """Atoms of one species in a batch of structures, padded.

    Attributes
    ----------
    positions : numpy.ndarray, shape (batch, n_max, 3)
        Å, not wrapped.
    amplitudes : numpy.ndarray, shape (batch, n_max)
    present : numpy.ndarray of bool, shape (batch, n_max)
    explained : numpy.ndarray, shape (batch, n_max)
        Share of the density around each atom that the fit explains, weighted by its Gaussian.
    squares_left, squares : numpy.ndarray, shape (batch,)
        Sum of squares of the residual, and of the density about its mean.
    overcrowded : numpy.ndarray of bool, shape (batch,)
        Grids with more maxima than atoms have room; nothing is present in them.
    """

    positions: np.ndarray
    amplitudes: np.ndarray
    present: np.ndarray
    explained: np.ndarray
    squares_left: np.ndarray
    squares: np.ndarray
    overcrowded: np.ndarray


def decode_channel(
    density: torch.Tensor, counts: torch.Tensor, spec: GridSpec, settings: BackmappingSettings
) -> ChannelAtoms:
    """Invert the grids of one species.

    Parameters
    ----------
    density : torch.Tensor of float64, shape (batch, nx, ny, nz)
        Finite.
    counts : torch.Tensor, shape (batch,)
        Atoms that each grid's integral stands for.
    spec : GridSpec
    settings : BackmappingSettings

    Returns
    -------
    ChannelAtoms
    """
    data = density.flatten(2)  # (batch, nx, ny nz)
    clipped = _clipped_voxels(data) if spec.clip else None
    atoms, overcrowded = _settled_atoms(data, clipped, density, counts, spec, settings)
    squares = (data - data.mean(dim=(1, 2), keepdim=True)).square().sum(dim=(1, 2))
    residuals, _ = residuals_and_weights(data, clipped, atoms, spec, ROUGH.reach, weigh=False)
    # in what is mostly noise the rounds have reached the noise's own precision
    clear = torch.nonzero(residuals.square().sum(dim=(1, 2)) < (1.0 - settings.r2_min) * squares)[:, 0]
    precise = _Precision(settings.max_iterations, settings.tolerance)
    atoms.replace(clear, _fit_by_size(data[clear], _rows(clipped, clear), atoms.select(clear), spec, precise))
    residuals, explained = residuals_and_weights(data, clipped, atoms, spec)
    left = residuals.square().sum(dim=(1, 2))
    arrays = (atoms.positions, atoms.amplitudes, atoms.present, explained, left, squares, overcrowded)
    return ChannelAtoms(*(array.cpu().numpy() for array in arrays))


def _settled_atoms(
    data: torch.Tensor,
    clipped: torch.Tensor | None,
    density: torch.Tensor,
    counts: torch.Tensor,
    spec: GridSpec,
    settings: BackmappingSettings,
) -> tuple[Gaussians, torch.Tensor]:
    """Atoms to which nothing is to be added and from which nothing is to be taken, and the grids with too many."""
    none = data.new_zeros(len(data), 1)
    atoms = _append(Gaussians(none[..., None].repeat(1, 1, 3), none, none > 0.0), _first_peaks(density, spec, settings))
    most = max(1.0, settings.max_density * spec.voxel_volume * data[0].numel())
    overcrowded = atoms.present.sum(dim=1) > most
    pending = torch.nonzero(~overcrowded)[:, 0]
    for round_left in reversed(range(settings.max_rounds)):
        if len(pending) == 0:
            break
        part, part_clipped = data[pending], _rows(clipped, pending)
        fitted = _fit_by_size(part, part_clipped, atoms.select(pending), spec, ROUGH)
        kept, changed = _prune(fitted, counts[pending], spec, settings)
        atoms.replace(pending, kept)
        if round_left > 0:
            residuals, _ = residuals_and_weights(part, part_clipped, kept, spec, ROUGH.reach, weigh=False)
            missing = _missing_peaks(residuals.unflatten(2, spec.shape[1:]), kept, counts[pending], spec, settings)
            changed[missing.grid] = True
            atoms = _append(atoms, Peaks(pending[missing.grid], missing.positions, missing.heights))
        overcrowded |= atoms.present.sum(dim=1) > most
        pending = pending[changed & ~overcrowded[pending]]
    atoms.present &= ~overcrowded[:, None]
    if settings.integral_decides:
        strength = torch.where(atoms.present, atoms.amplitudes, -torch.inf)
        place = torch.argsort(torch.argsort(strength, dim=1, descending=True, stable=True), dim=1)
        atoms.present &= place < counts.round()[:, None]
    return atoms.squeezed(max(1, int(atoms.present.sum(dim=1).max()))), overcrowded


def _rows(clipped: torch.Tensor | None, index: torch.Tensor) -> torch.Tensor | None:
    return None if clipped is None else clipped[index]


def _clipped_voxels(data: torch.Tensor) -> torch.Tensor | None:
    """Voxels (batch, nx, ny nz) whose value is a lower bound; values above 1 tell that nothing was clipped."""
    was_clipped = data.amax(dim=(1, 2)) <= 2.0 - CLIPPED_AT
    clipped = (data >= CLIPPED_AT) & was_clipped[:, None, None]
    return clipped if bool(clipped.any()) else None


def _matched(density: torch.Tensor, spec: GridSpec) -> torch.Tensor:
    """Amplitude of the Gaussian that fits best around each voxel's centre: the filter of least variance in noise."""
    for axis in range(3):
        centres = torch.as_tensor(spec.centres(axis), dtype=density.dtype, device=density.device)
        kernel = axis_profiles(centres, spec, axis)
        kernel = kernel / kernel.square().sum(dim=1).amax()
        density = torch.tensordot(density, kernel, dims=([1], [0]))  # the axis moves to the end, so three turns restore
    return density


def _first_peaks(density: torch.Tensor, spec: GridSpec, settings: BackmappingSettings) -> Peaks:
    filtered = _matched(density, spec)
    highest = filtered.flatten(1).amax(dim=1)
    return find_peaks(filtered, spec, (settings.threshold * highest).clamp(min=settings.min_amplitude))


def _median_amplitude(atoms: Gaussians, settings: BackmappingSettings) -> torch.Tensor:
    """Typical amplitude (batch,) of the atoms that are not noise, at most 1."""
    counted = atoms.present & (atoms.amplitudes >= settings.min_amplitude)
    amplitudes = torch.where(counted, atoms.amplitudes, torch.nan)
    return torch.nanmedian(amplitudes, dim=1).values.nan_to_num(nan=1.0).clamp(max=1.0)


def _separations(positions: torch.Tensor, others: torch.Tensor, spec: GridSpec) -> torch.Tensor:
    """Distances (..., n, m) in Å between nearest images of positions (..., n, 3) and others (..., m, 3)."""
    offsets = positions[..., :, None, :] - others[..., None, :, :]
    lengths = offsets.new_tensor(spec.lengths)
    wraps = offsets.new_tensor(spec.periodic)
    return (offsets - wraps * lengths * torch.round(offsets / lengths)).norm(dim=-1)


def _prune(
    atoms: Gaussians, counts: torch.Tensor, spec: GridSpec, settings: BackmappingSettings
) -> tuple[Gaussians, torch.Tensor]:
    """Atoms less those that are too weak, outside the box or beside a stronger one; and which rows (batch,) changed."""
    typical = _median_amplitude(atoms, settings)[:, None]
    amplitudes, present = atoms.amplitudes, atoms.present.clone()
    floor = (settings.doubtful * typical).clamp(min=settings.min_amplitude)
    present &= amplitudes >= floor
    for axis in range(3):
        if not spec.periodic[axis]:
            height = atoms.positions[..., axis] - spec.origin[axis]
            present &= (height >= 0.0) & (height <= spec.lengths[axis])
    order = torch.argsort(torch.argsort(amplitudes, dim=1, descending=True, stable=True), dim=1)
    near = _separations(atoms.positions, atoms.positions, spec) < settings.merge_distance * spec.sigma
    beaten = near & (order[:, :, None] > order[:, None, :]) & present[:, None, :]
    present &= ~beaten.any(dim=2)
    surplus = (present.sum(dim=1, keepdim=True) - counts[:, None] / typical).round()
    weakest = torch.argsort(
        torch.argsort(torch.where(present, amplitudes, torch.inf), dim=1, stable=True), dim=1
    )  # rank, 0 for the weakest
    present &= ~((amplitudes < settings.certain * typical) & (weakest < surplus))
    changed = (present != atoms.present).any(dim=1)
    return Gaussians(atoms.positions, torch.where(present, amplitudes, 0.0), present), changed


def _missing_peaks(
    residuals: torch.Tensor, atoms: Gaussians, counts: torch.Tensor, spec: GridSpec, settings: BackmappingSettings
) -> Peaks:
    """Maxima of what is left over that are atoms: certain ones, and doubtful ones as far as ∫ρ asks for more."""
    typical = _median_amplitude(atoms, settings)
    floor = (settings.doubtful * typical).clamp(min=settings.min_amplitude)
    peaks = find_peaks(_matched(residuals, spec), spec, floor)
    if len(peaks.grid) == 0:
        return peaks
    distances = _separations(peaks.positions[:, None], atoms.positions[peaks.grid], spec)[:, 0]
    occupied = (distances < settings.merge_distance * spec.sigma) & atoms.present[peaks.grid]
    peaks = peaks.select(~occupied.any(dim=1))
    deficit = (counts / typical - atoms.present.sum(dim=1)).round()
    certain = peaks.heights >= settings.certain * typical[peaks.grid]
    return peaks.select(certain | (peaks.ranks() < deficit[peaks.grid]))


def _fit_by_size(
    data: torch.Tensor, clipped: torch.Tensor | None, atoms: Gaussians, spec: GridSpec, precision: _Precision
) -> Gaussians:
    """Fit in groups of similar size, so that a grid of noise with its hundred maxima does not burden the others."""
    atoms = atoms.squeezed(atoms.present.shape[1])
    sizes = atoms.present.sum(dim=1)
    group = torch.ceil(torch.log2(sizes.clamp(min=4).double()))
    for value in group.unique():
        rows = torch.nonzero(group == value)[:, 0]
        width = max(1, int(sizes[rows].max()))
        part = atoms.select(rows).squeezed(width)
        stop = (precision.max_iterations, precision.tolerance, precision.reach)
        fitted = fit(data[rows], _rows(clipped, rows), part, spec, *stop)
        atoms.replace(rows, fitted.squeezed(atoms.present.shape[1]))
    return atoms


def _append(atoms: Gaussians, peaks: Peaks) -> Gaussians:
    """Atoms with peaks added as further ones, absent entries squeezed out."""
    if len(peaks.grid) == 0:
        return atoms
    n_present = atoms.present.sum(dim=1)
    packed = atoms.squeezed(int((n_present + torch.bincount(peaks.grid, minlength=len(atoms))).max()))
    column = n_present[peaks.grid] + peaks.ranks()
    packed.positions[peaks.grid, column] = peaks.positions
    packed.amplitudes[peaks.grid, column] = peaks.heights
    packed.present[peaks.grid, column] = True
    return packed
