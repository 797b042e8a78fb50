"""Grids to atoms: inversion of the known forward model.

Maxima of the matched filter → joint least squares of positions and amplitudes → atoms added and pruned until the
residual and ∫ρ ask for no more → one site, one species.
"""

from dataclasses import dataclass

import numpy as np
import torch

from generators.grids.density import axis_profiles, integral_counts
from generators.grids.least_squares import Gaussians, fit, residuals_and_weights
from generators.grids.peaks import Peaks, find_peaks
from generators.grids.spec import GridError, GridSpec

EMPTY_GRID = "empty_grid"
NON_FINITE = "non_finite"
LOW_CONFIDENCE = "low_confidence"
OVERCROWDED = "overcrowded"
CLIPPED_AT = 1.0 - 1e-6
VOXELS_AT_ONCE = 2**18
"""Voxels of one channel that are worked on together, so that they stay near the processor."""


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
    merge_distance: float = 2.0
    conflict_distance: float = 1.0
    r2_min: float = 0.3
    max_density: float = 0.12
    max_rounds: int = 5
    max_iterations: int = 40
    tolerance: float = 1e-7


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
        1 − Σ residual² / Σ (density − channel's mean)² over all channels.
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


@dataclass(frozen=True)
class _Precision:
    """When a fit may end."""

    max_iterations: int
    tolerance: float


ROUGH = _Precision(max_iterations=8, tolerance=1e-3)
"""Enough to see which atoms are weak and what is left over."""


@dataclass(frozen=True)
class _Channel:
    """One species of a chunk of structures, as arrays."""

    positions: np.ndarray
    amplitudes: np.ndarray
    present: np.ndarray
    confidence: np.ndarray
    squares_left: np.ndarray
    squares: np.ndarray
    overcrowded: np.ndarray


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


def _backmap_chunk(grids: torch.Tensor, spec: GridSpec, settings: BackmappingSettings) -> list[Decoded]:
    finite = torch.isfinite(grids).flatten(1).all(dim=1)
    grids = torch.where(finite[:, None, None, None, None], grids, torch.zeros_like(grids))
    counts = integral_counts(grids, spec)  # (batch, n_species)
    channels = [_decode_channel(grids[:, c], counts[:, c], spec, settings) for c in range(len(spec.species))]
    per_structure = counts.cpu().numpy()
    return [
        _assemble(index, channels, per_structure[index], bool(finite[index]), spec, settings)
        for index in range(len(grids))
    ]


def _decode_channel(
    density: torch.Tensor, counts: torch.Tensor, spec: GridSpec, settings: BackmappingSettings
) -> _Channel:
    """Atoms of one species in grids (batch, nx, ny, nz) whose integrals are `counts` (batch,)."""
    data = density.flatten(2)  # (batch, nx, ny nz)
    clipped = _clipped_voxels(data) if spec.clip else None
    atoms, overcrowded = _settled_atoms(data, clipped, density, counts, spec, settings)
    squares = (data - data.mean(dim=(1, 2), keepdim=True)).square().sum(dim=(1, 2))
    residuals, _ = residuals_and_weights(data, clipped, atoms, spec)
    # in what is mostly noise the rounds have reached the noise's own precision
    clear = torch.nonzero(residuals.square().sum(dim=(1, 2)) < (1.0 - settings.r2_min) * squares)[:, 0]
    precise = _Precision(settings.max_iterations, settings.tolerance)
    atoms.replace(clear, _fit_by_size(data[clear], _rows(clipped, clear), atoms.select(clear), spec, precise))
    residuals, explained = residuals_and_weights(data, clipped, atoms, spec)
    left = residuals.square().sum(dim=(1, 2))
    arrays = (atoms.positions, atoms.amplitudes, atoms.present, explained, left, squares, overcrowded)
    return _Channel(*(array.cpu().numpy() for array in arrays))


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
        part, part_clipped = data[pending], _rows(clipped, pending)
        fitted = _fit_by_size(part, part_clipped, atoms.select(pending), spec, ROUGH)
        kept, changed = _prune(fitted, counts[pending], spec, settings)
        atoms.replace(pending, kept)
        if round_left > 0:
            residuals, _ = residuals_and_weights(part, part_clipped, kept, spec)
            missing = _missing_peaks(residuals.unflatten(2, spec.shape[1:]), kept, counts[pending], spec, settings)
            changed[missing.grid] = True
            atoms = _append(atoms, Peaks(pending[missing.grid], missing.positions, missing.heights))
        overcrowded |= atoms.present.sum(dim=1) > most
        pending = pending[changed & ~overcrowded[pending]]
        if len(pending) == 0:
            break
    atoms.present &= ~overcrowded[:, None]
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
        fitted = fit(data[rows], _rows(clipped, rows), part, spec, precision.max_iterations, precision.tolerance)
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


def _assemble(
    index: int,
    channels: list[_Channel],
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
    confidence = np.concatenate([c.confidence[index][p] for c, p in zip(channels, chosen, strict=True)])
    stays = ~_loses_its_site(numbers, positions, amplitudes, spec, settings.conflict_distance)
    for axis in range(3):
        if spec.periodic[axis]:
            positions[:, axis] = spec.origin[axis] + (positions[:, axis] - spec.origin[axis]) % spec.lengths[axis]
    squares = sum(float(channel.squares[index]) for channel in channels)
    left = sum(float(channel.squares_left[index]) for channel in channels)
    r2 = 1.0 - left / squares if squares > 0.0 else 0.0
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
    offsets = positions[:, None] - positions[None]
    lengths = np.asarray(spec.lengths)
    offsets -= np.asarray(spec.periodic) * lengths * np.round(offsets / lengths)
    near = np.sum(offsets**2, axis=-1) < distance**2
    place = np.argsort(np.argsort(-amplitudes, kind="stable"))
    return np.any(near & (numbers[:, None] != numbers[None]) & (place[:, None] > place[None]), axis=1)
