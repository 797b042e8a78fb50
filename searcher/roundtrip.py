"""Is a grid fine enough? Structures to densities and back, and what was lost on the way."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixAtoms
from ase.neighborlist import neighbor_list
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from generators.grids.backmapping import Decoded, backmap, reconstruction
from generators.grids.density import densities, pack
from generators.grids.matching import Agreement, agreement
from generators.grids.resolution import CoarseGridError, GridWarning, check_resolution
from generators.grids.spec import WINDOW_MARGIN, GridError, GridSpec
from searcher.errors import InputError
from searcher.numeric_maps import mapped
from searcher.structures.orthogonal import is_orthorhombic, orthogonal_supercell, repeat_towards_square, with_vacuum

ROWS_SHOWN = 20
LARGEST_SHAPE = 256
FARTHEST_PAIR = 6.0
"""Å; atoms of one species farther apart than this need no finer grid."""


@dataclass(frozen=True)
class RoundtripSettings:
    """How structures are put on grids.

    Attributes
    ----------
    shape : tuple of int, shape (3,)
    sigma : float
        Å
    noise : float
        Standard deviation of white noise, as a share of an atom's peak.
    window : bool
        Grid the atoms that are not fixed, x and y periodic, instead of the whole cell, periodic along all axes.
    allow_coarse : bool
        Measure also where neighbouring atoms cannot be told apart.
    seed : int
        Of the noise.
    square : bool
        Repeat each cell along its shorter lateral side towards a square first.
    vacuum : float, optional
        Å of vacuum that each slab is given first.
    """

    shape: tuple[int, int, int]
    sigma: float
    noise: float = 0.0
    window: bool = False
    allow_coarse: bool = False
    seed: int = 0
    square: bool = False
    vacuum: float | None = None

    def __post_init__(self) -> None:
        if not all(1 <= count <= LARGEST_SHAPE for count in self.shape):
            raise InputError(f"`--shape` is {self.shape} but must hold three counts of voxels, 1 to {LARGEST_SHAPE}")
        if not 0.0 <= self.noise <= 1.0:
            raise InputError(f"`--noise` is {self.noise} but is a share of a peak, 0 to 1: 5 % is 0.05")


@dataclass(frozen=True)
class Trip:
    """One structure's way to a grid and back; `refusal` says why it did not go."""

    name: str
    n_atoms: int
    spec: GridSpec | None = None
    true: tuple[np.ndarray, np.ndarray] | None = None
    grid: torch.Tensor | None = None
    decoded: Decoded | None = None
    agreement: Agreement | None = None
    refusal: str | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def pictured(self) -> tuple[np.ndarray, np.ndarray, GridSpec, np.ndarray, np.ndarray]:
        """Density and residual (n_species, nx, ny, nz), their grid, atomic numbers and positions found."""
        assert self.grid is not None and self.decoded is not None and self.spec is not None
        left = self.grid - reconstruction(self.decoded, self.spec)
        return self.grid.numpy(), left.numpy(), self.spec, self.decoded.numbers, self.decoded.positions


@dataclass(frozen=True)
class Roundtrip:
    """All structures of one call.

    Attributes
    ----------
    settings : RoundtripSettings
    trips : list of Trip
    """

    settings: RoundtripSettings
    trips: list[Trip] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """For gridding and backmapping, without what the first call on a machine compiles."""
        return sum(trip.seconds for trip in self.trips)

    @property
    def refused(self) -> list[Trip]:
        return [trip for trip in self.trips if trip.refusal is not None]

    @property
    def measured(self) -> list[Trip]:
        return [trip for trip in self.trips if trip.agreement is not None]

    @property
    def notes(self) -> list[str]:
        """What is to be said about the structures, each once."""
        return list(dict.fromkeys(note for trip in self.trips for note in trip.notes))

    def as_dict(self) -> dict[str, Any]:
        """Figures for a script; lengths in Å, null where nothing was measured."""
        overall = Agreement.over([trip.agreement for trip in self.trips if trip.agreement is not None])
        known = bool(len(overall.distances))
        return {
            "structures": len(self.trips),
            "atoms": overall.n_true,
            "recall": overall.recall if self.measured else None,
            "precision": overall.precision if self.measured else None,
            "rmsd": overall.rmsd if known else None,
            "max_error": overall.max_error if known else None,
            "refused": len(self.refused),
            "seconds": round(self.seconds, 4),
            "shape": list(self.settings.shape),
            "sigma": self.settings.sigma,
            "noise": self.settings.noise,
            "window": self.settings.window,
            "allow_coarse": self.settings.allow_coarse,
        }

    def worst(self) -> Trip | None:
        """The measured structure that lost most, else the one with the largest error."""
        return max(self.measured, key=_badness, default=None)


def roundtrip(
    structures: Sequence[tuple[str, Atoms]], settings: RoundtripSettings, workers: int = 1, scheduler: str = ""
) -> Roundtrip:
    """Put structures on grids, read them back and compare.

    Parameters
    ----------
    structures : sequence of (name, ase.Atoms)
    settings : RoundtripSettings
    workers, scheduler : int, str
        As for `mapped`.

    Returns
    -------
    Roundtrip

    Raises
    ------
    InputError
        If a structure cannot be gridded at all: no cell, a cell without an orthogonal supercell, in a window one that
        is not orthorhombic or has no free atom, or settings that make no grid. A grid that is too coarse for a
        structure does not raise; it is among `refused`.
    """
    seeds = [int(seed) for seed in np.random.SeedSequence(settings.seed).generate_state(len(structures), np.uint64)]
    jobs = [(name, atoms, settings, seed % 2**63) for (name, atoms), seed in zip(structures, seeds, strict=True)]
    return Roundtrip(settings, mapped(_one, jobs, workers, scheduler))


def _one(job: tuple[str, Atoms, RoundtripSettings, int]) -> Trip:
    name, atoms, settings, seed = job
    try:
        return _trip(name, atoms, settings, torch.Generator().manual_seed(seed))
    except GridError as error:
        raise InputError(f"`{name}`: {error}") from error


@cache
def _compile() -> None:
    """Grid and read one atom, so that no time is counted in which loops are compiled."""
    spec = GridSpec.for_cell((3.0, 3.0, 3.0), (8, 8, 8), ("O",), 0.4)
    backmap(densities(*pack([(np.array([8]), np.ones((1, 3)))], spec), spec), spec)


def _trip(name: str, atoms: Atoms, settings: RoundtripSettings, generator: torch.Generator) -> Trip:
    notes: list[str] = []
    spec, numbers, positions = _gridded(name, atoms, settings, notes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GridWarning)
        try:
            check_resolution(spec, closest_pair(numbers, positions, spec), settings.allow_coarse)
        except CoarseGridError as error:
            return Trip(name, len(numbers), spec, refusal=str(error), notes=tuple(notes))
    notes += [str(warning.message) for warning in caught]
    packed = pack([(numbers, positions)], spec)
    _compile()
    started = time.perf_counter()
    grid = densities(*packed, spec)
    if settings.noise:
        grid = grid + settings.noise * torch.randn(grid.shape, generator=generator, dtype=grid.dtype)
    decoded = backmap(grid, spec)[0]
    seconds = time.perf_counter() - started
    found = agreement((numbers, positions), (decoded.numbers, decoded.positions), spec)
    return Trip(
        name,
        len(numbers),
        spec,
        (numbers, positions),
        grid[0],
        decoded,
        found,
        seconds=seconds,
        notes=tuple(notes),
    )


def _gridded(
    name: str, atoms: Atoms, settings: RoundtripSettings, notes: list[str]
) -> tuple[GridSpec, np.ndarray, np.ndarray]:
    """Grid of a structure and the atoms on it."""
    species = tuple(dict.fromkeys(atoms.get_chemical_symbols()))
    if not is_orthorhombic(atoms):
        if settings.window:
            raise InputError(
                f"`{name}` has the cell {atoms.cell.cellpar().round(3).tolist()} (Å, °) but a window needs an "
                f"orthorhombic one; without `--window` an orthogonal supercell is taken"
            )
        atoms = orthogonal_supercell(atoms)
        notes.append(f"`{name}` is not orthorhombic: an orthogonal supercell of {len(atoms)} atoms is measured")
    if settings.square:
        atoms = repeat_towards_square(atoms)
    if settings.vacuum is not None:
        atoms = with_vacuum(atoms, settings.vacuum)
    lengths = atoms.cell.lengths()
    if not settings.window:
        return GridSpec.for_cell(lengths, settings.shape, species, settings.sigma), atoms.numbers, atoms.positions
    fixed = [
        index for constraint in atoms.constraints if isinstance(constraint, FixAtoms) for index in constraint.index
    ]
    free = np.setdiff1d(np.arange(len(atoms)), fixed)
    if not fixed:
        notes.append(f"`{name}` has no fixed atoms: the window holds all of them")
    if len(free) == 0:
        raise InputError(f"`{name}` has no free atom for a window: every atom is fixed")
    margin = WINDOW_MARGIN * settings.sigma
    z = atoms.positions[free, 2]
    spec = GridSpec(
        shape=settings.shape,
        species=tuple(dict.fromkeys(atoms[free].get_chemical_symbols())),
        sigma=settings.sigma,
        origin=(0.0, 0.0, float(z.min()) - margin),
        lengths=(float(lengths[0]), float(lengths[1]), float(np.ptp(z)) + 2 * margin),
    )
    return spec, atoms.numbers[free], atoms.positions[free]


def closest_pair(numbers: np.ndarray, positions: np.ndarray, spec: GridSpec) -> float:
    """Smallest distance in Å between two atoms of one species, images included; 6 Å where none is nearer."""
    atoms = Atoms(numbers=numbers, positions=positions, cell=np.diag(spec.lengths), pbc=spec.periodic)
    first, second, distances = neighbor_list("ijd", atoms, FARTHEST_PAIR)
    same = distances[numbers[first] == numbers[second]]
    return float(same.min(initial=FARTHEST_PAIR))


def _badness(trip: Trip) -> tuple[float, float]:
    assert trip.agreement is not None
    lost = 2.0 - trip.agreement.recall - trip.agreement.precision
    return lost, trip.agreement.max_error if len(trip.agreement.distances) else 0.0


def print_roundtrip(result: Roundtrip, console: Console) -> None:
    """A table: the structures that came off worst, and all together."""
    table = Table(box=None)
    table.add_column("structure", overflow="fold", min_width=16)
    for heading in ("atoms", "voxel", "recall", "precision", "rmsd", "max error", "R²"):
        table.add_column(heading, justify="right", no_wrap=True)
    ordered = sorted(result.measured, key=_badness, reverse=True)
    for trip in ordered[:ROWS_SHOWN]:
        assert trip.agreement is not None and trip.spec is not None and trip.decoded is not None
        voxel = f"{trip.spec.spacing.max():.2f}"
        table.add_row(escape(trip.name), str(trip.n_atoms), voxel, *_shares(trip.agreement), f"{trip.decoded.r2:.3f}")
    if len(ordered) > ROWS_SHOWN:
        table.add_row(f"… and {len(ordered) - ROWS_SHOWN} that came off no worse")
    if ordered:
        overall = Agreement.over([trip.agreement for trip in ordered if trip.agreement is not None])
        table.add_row("all", str(overall.n_true), "", *_shares(overall), "", style="bold")
        console.print(table)
    console.print(
        f"{len(result.trips)} structures, {len(result.refused)} refused, {result.seconds:.2f} s; lengths in Å, "
        f"voxel is the longest edge"
    )


def _shares(found: Agreement) -> tuple[str, str, str, str]:
    lengths = [f"{value:.1e}" if np.isfinite(value) else "–" for value in (found.rmsd, found.max_error)]
    return f"{found.recall:.4f}", f"{found.precision:.4f}", lengths[0], lengths[1]
