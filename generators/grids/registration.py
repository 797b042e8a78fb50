"""Slabs read from full cells, laid on their template: lattice snapped, slab moved into place, frozen part replaced."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch

from generators.grids.augmentation import cell_rotations
from generators.grids.backmapping import BackmappingSettings, Decoded, backmap
from generators.grids.spec import GridError, GridSpec
from generators.template import Template

LATTICE_MISMATCH = "lattice_mismatch"
NOT_REGISTERED = "not_registered"
STRAY_ATOMS = "stray_atoms"
REFINEMENTS = 4
ANCHORS = 4
"""Frozen atoms that are tried as the partner of each atom; one that a network lost must not spoil the registration."""


@dataclass(frozen=True)
class RegistrationSettings:
    """What a slab from a full cell must keep to.

    Attributes
    ----------
    lattice_tolerance : float
        Largest relative difference between a lateral length and the template's.
    match_distance : float
        Å; a frozen atom farther than this from every atom of its species was not found.
    min_matched : float
        Smallest share of frozen atoms found.
    """

    lattice_tolerance: float = 0.05
    match_distance: float = 0.7
    min_matched: float = 0.8


@dataclass(frozen=True)
class Registered:
    """Free atoms on a template, and how well the slab fitted it.

    Attributes
    ----------
    numbers : numpy.ndarray, shape (n_free,)
    positions : numpy.ndarray, shape (n_free, 3)
        Å, in the template's frame.
    strain : numpy.ndarray, shape (2,)
        Relative difference of the lateral lengths from the template's.
    matched : float
        Share of the template's frozen atoms that were found.
    rmsd : float
        Å, of those that were found; NaN without any.
    n_stray : int
        Atoms that are neither frozen ones nor within the free range; they are dropped.
    reason : str or None
        ``"lattice_mismatch"``, ``"not_registered"`` or ``"stray_atoms"``.
    """

    numbers: np.ndarray
    positions: np.ndarray
    strain: np.ndarray
    matched: float
    rmsd: float
    n_stray: int
    reason: str | None


def snap_to_repeat(lengths: np.ndarray, unit: np.ndarray, tolerance: float) -> tuple[tuple[int, int], bool]:
    """Nearest whole repetition of a lateral cell.

    Parameters
    ----------
    lengths : array, shape (2,)
        Lateral lengths in Å, as a network gives them.
    unit : array, shape (2,)
        Of the (1×1) cell in Å.
    tolerance : float
        Largest relative difference that counts as the same.

    Returns
    -------
    repeat : tuple of int, shape (2,)
        At least 1.
    within : bool
        Whether both lengths are within `tolerance` of it.
    """
    nx, ny = (max(1, round(float(ratio))) for ratio in np.asarray(lengths) / np.asarray(unit))
    strain = np.asarray(lengths) / (np.array([nx, ny]) * np.asarray(unit)) - 1.0
    return (nx, ny), bool(np.all(np.abs(strain) <= tolerance))


def read_cells(
    grids: torch.Tensor | np.ndarray,
    spec: GridSpec,
    lengths: np.ndarray,
    template: Template,
    backmapping: BackmappingSettings | None = None,
    settings: RegistrationSettings | None = None,
) -> list[tuple[Decoded, Registered]]:
    """Read grids of full cells whose lengths a network gives, and lay each slab on its template.

    Parameters
    ----------
    grids : torch.Tensor or array, shape (batch, n_species, nx, ny, nz)
    spec : GridSpec
        Of the training set; its lengths are replaced by each grid's own, σ stays in Å.
    lengths : array, shape (batch, 3)
        Å
    template : Template
    backmapping : BackmappingSettings, optional
    settings : RegistrationSettings, optional

    Returns
    -------
    list of (Decoded, Registered)
        A grid that cannot be read, or a slab that does not fit, has a reason.

    Raises
    ------
    GridError
        If shapes do not fit, or a length is not positive and finite.
    """
    grids, lengths = torch.as_tensor(grids), np.asarray(lengths, dtype=float)
    if lengths.shape != (len(grids), 3):
        raise GridError(f"`lengths` has shape {lengths.shape} but must have ({len(grids)}, 3)")
    found = []
    for grid, (x, y, z) in zip(grids, lengths.tolist(), strict=True):
        own = replace(spec, origin=(0.0, 0.0, 0.0), lengths=(x, y, z), periodic=(True, True, True))
        decoded = backmap(grid[None], own, backmapping)[0]
        found.append((decoded, register(decoded.numbers, decoded.positions, np.array([x, y, z]), template, settings)))
    return found


def register(
    numbers: np.ndarray,
    positions: np.ndarray,
    lengths: np.ndarray,
    template: Template,
    settings: RegistrationSettings | None = None,
) -> Registered:
    """Lay a slab that was read from a full cell on its template.

    The slab may lie anywhere in its cell, turned or mirrored as augmentation does. Each frozen atom of the rarest
    species is tried as the partner of each atom found; the placement that explains most atoms is refined by least
    squares. Atoms on frozen sites become the template's, those in the free range are free.

    Parameters
    ----------
    numbers : array, shape (n_atoms,)
    positions : array, shape (n_atoms, 3)
        Å, in a cell that begins at the origin and is periodic along all axes.
    lengths : array, shape (3,)
        The cell's in Å, as the lattice heads give them.
    template : Template
    settings : RegistrationSettings, optional

    Returns
    -------
    Registered
        A slab that does not fit has a reason, and what was found.
    """
    settings = settings or RegistrationSettings()
    strain = np.asarray(lengths)[:2] / template.cell[:2] - 1.0
    if np.abs(strain).max() > settings.lattice_tolerance or len(numbers) == 0:
        refusal = NOT_REGISTERED if len(numbers) == 0 else LATTICE_MISMATCH
        return Registered(np.empty(0, dtype=int), np.empty((0, 3)), strain, 0.0, float("nan"), 0, refusal)
    snapped = np.asarray(positions, dtype=float).copy()
    snapped[:, :2] *= template.cell[:2] / np.asarray(lengths)[:2]
    period = np.array([*template.cell[:2], float(lengths[2])])
    placed = _best_placement(np.asarray(numbers), snapped, period, template, settings.match_distance)
    partner, distance = _frozen_partners(np.asarray(numbers), placed, period, template, settings.match_distance)
    found = np.isfinite(distance)
    free, stray = _free_and_stray(placed, partner[found], template, settings.match_distance)
    matched = float(found.mean())
    reason = None
    if matched < settings.min_matched:
        reason = NOT_REGISTERED
    elif stray.any():
        reason = STRAY_ATOMS
    return Registered(
        numbers=np.asarray(numbers)[free],
        positions=placed[free],
        strain=strain,
        matched=matched,
        rmsd=float(np.sqrt(np.mean(distance[found] ** 2))) if found.any() else float("nan"),
        n_stray=int(stray.sum()),
        reason=reason,
    )


def _wrapped(positions: np.ndarray, period: np.ndarray, template: Template, slack: float) -> np.ndarray:
    """Positions (..., 3) in the template's cell; z from a little below the lowest frozen atom on."""
    low = np.array([0.0, 0.0, template.frozen_positions[:, 2].min() - slack])
    return low + (positions - low) % period


def _offsets(positions: np.ndarray, period: np.ndarray, template: Template) -> np.ndarray:
    """Shortest vectors (n_frozen, n_atoms, 3) from frozen atoms to positions."""
    offsets = positions[None] - template.frozen_positions[:, None]
    return offsets - period * np.round(offsets / period)


def _frozen_partners(
    numbers: np.ndarray, positions: np.ndarray, period: np.ndarray, template: Template, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each frozen atom the nearest atom of its species and its distance in Å, infinite beyond `reach`."""
    distances = np.linalg.norm(_offsets(positions, period, template), axis=-1)
    distances[template.frozen_numbers[:, None] != numbers[None]] = np.inf
    partner = distances.argmin(axis=1)
    nearest = distances[np.arange(len(partner)), partner]
    return partner, np.where(nearest <= reach, nearest, np.inf)


def _free_and_stray(
    positions: np.ndarray, partners: np.ndarray, template: Template, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    others = np.ones(len(positions), dtype=bool)
    others[partners] = False
    z = positions[:, 2]
    within = (z >= template.free_floor - reach) & (z <= template.free_ceiling + reach)
    return others & within, others & ~within


def _best_placement(
    numbers: np.ndarray, positions: np.ndarray, period: np.ndarray, template: Template, reach: float
) -> np.ndarray:
    """Positions turned and shifted so that as many atoms as possible are frozen or free ones."""
    best: tuple[float, np.ndarray] | None = None
    for rotation in cell_rotations(GridSpec.for_cell(template.cell, (1, 1, 1), ("H",), 1.0)):
        turned = positions @ rotation.T
        for anchor, atom in product(_anchors(numbers, template), range(len(numbers))):
            if numbers[atom] != template.frozen_numbers[anchor]:
                continue
            shift = template.frozen_positions[anchor] - turned[atom]
            placed = _wrapped(turned + shift, period, template, reach)
            partner, distance = _frozen_partners(numbers, placed, period, template, reach)
            found = np.isfinite(distance)
            _, stray = _free_and_stray(placed, partner[found], template, reach)
            misfit = np.where(found, distance, reach).sum() / reach / len(found)
            score = float(found.sum() - stray.sum() - misfit)
            if best is None or score > best[0] + 1e-9:
                best = (score, placed)
    if best is None:
        return positions
    return _refined(numbers, best[1], period, template, reach)


def _anchors(numbers: np.ndarray, template: Template) -> np.ndarray:
    """A few frozen atoms of the species that the slab has least of."""
    present = [number for number in np.unique(template.frozen_numbers) if np.any(numbers == number)]
    if not present:
        return np.empty(0, dtype=int)
    rarest = min(present, key=lambda number: np.count_nonzero(numbers == number))
    candidates = np.flatnonzero(template.frozen_numbers == rarest)
    return candidates[np.unique(np.linspace(0, len(candidates) - 1, ANCHORS).astype(int))]


def _refined(
    numbers: np.ndarray, placed: np.ndarray, period: np.ndarray, template: Template, reach: float
) -> np.ndarray:
    """Shift by the mean displacement of the frozen atoms until it no longer changes who is whose partner."""
    for _ in range(REFINEMENTS):
        partner, distance = _frozen_partners(numbers, placed, period, template, reach)
        found = np.isfinite(distance)
        if not found.any():
            break
        offsets = _offsets(placed, period, template)[np.flatnonzero(found), partner[found]]
        placed = _wrapped(placed - offsets.mean(axis=0), period, template, reach)
    return placed
