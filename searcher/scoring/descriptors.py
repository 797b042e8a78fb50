"""SOAP vectors of single atoms: the only module that knows dscribe.

dscribe ends the process on positions that are not finite and hangs on far-away atoms, so every structure is checked
first, and long runs call `describe_task` in worker processes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

OUTSIDE_SLACK = 1.0  # Å: how far a relaxed atom may stick out of the cell where it is not periodic
LARGEST_FRACTION = 1000.0  # periodic images away from the cell beyond which wrapping loses digits that matter
REMATCH_ALPHA = 0.1  # towards 0 the best match alone counts, towards infinity the average
SMALLEST_CELL_HEIGHT = 1.0  # Å: below this dscribe builds so many images that it does not return


class UndescribableStructure(ValueError):
    """A structure that must not be handed to dscribe."""


@dataclass(frozen=True)
class SoapSettings:
    """Settings of the local SOAP descriptor (Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013)).

    Attributes
    ----------
    r_cut : float
        Cutoff radius in Å.
    n_max, l_max : int
        Number of radial functions, largest angular momentum.
    sigma : float
        Width of the atoms' Gaussians in Å.
    species : tuple of str
        Elements that may occur; kept in the order of their atomic numbers.
    """

    r_cut: float = 5.0
    n_max: int = 8
    l_max: int = 4
    sigma: float = 1.0
    species: tuple[str, ...] = ("O", "Ru")

    def __post_init__(self) -> None:
        if not self.r_cut > 1.0:
            raise ValueError(f"`r_cut` is {self.r_cut} Å but must exceed 1 Å, the reach of the radial functions")
        if not 1 <= self.n_max <= 20 or not 0 <= self.l_max <= 20:
            raise ValueError(
                f"`n_max` is {self.n_max}, `l_max` is {self.l_max}: allowed are n from 1 to 20, l from 0 to 20"
            )
        if not self.sigma > 0.0:
            raise ValueError(f"`sigma` is {self.sigma} Å but must be positive")
        unknown = [symbol for symbol in self.species if symbol not in atomic_numbers]
        if unknown or not self.species or len(set(self.species)) != len(self.species):
            raise ValueError(f"`species` is {tuple(self.species)}: a list of different element symbols is needed")
        object.__setattr__(self, "species", tuple(sorted(self.species, key=atomic_numbers.__getitem__)))

    @property
    def n_features(self) -> int:
        """Length of one atom's vector."""
        n_channels = len(self.species) * self.n_max
        return n_channels * (n_channels + 1) // 2 * (self.l_max + 1)


@dataclass(frozen=True)
class LocalVectors:
    """Normalised SOAP vectors of a structure's atoms, by species.

    Attributes
    ----------
    vectors : mapping of str to numpy.ndarray, each of shape (n_centers_of_species, n_features)
        float32, rows of unit length; only species that occur among the centres.
    indices : mapping of str to numpy.ndarray, each of shape (n_centers_of_species,)
        Which atom of the structure a row belongs to.
    """

    vectors: Mapping[str, np.ndarray]
    indices: Mapping[str, np.ndarray]

    @property
    def n_centers(self) -> int:
        return sum(len(rows) for rows in self.vectors.values())

    def subset(self, centers: Iterable[int]) -> "LocalVectors":
        """The same vectors for fewer atoms, for example the free ones.

        Parameters
        ----------
        centers : iterable of int
            Indices of atoms, all of which are described here.

        Raises
        ------
        ValueError
            If one of `centers` is not described here.
        """
        wanted = np.unique(np.fromiter(centers, dtype=int))
        masks = {symbol: np.isin(rows, wanted) for symbol, rows in self.indices.items()}
        n_found = sum(int(mask.sum()) for mask in masks.values())
        if n_found != len(wanted):
            raise ValueError(f"`centers` names {len(wanted)} atoms, of which only {n_found} were described")
        kept = [symbol for symbol, mask in masks.items() if mask.any()]
        return LocalVectors(
            vectors={symbol: self.vectors[symbol][masks[symbol]] for symbol in kept},
            indices={symbol: self.indices[symbol][masks[symbol]] for symbol in kept},
        )


def local_vectors(atoms: Atoms, settings: SoapSettings, centers: Sequence[int] | None = None) -> LocalVectors:
    """Describe the surroundings of each atom.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic along the axes of its `pbc`.
    settings : SoapSettings
    centers : sequence of int, optional
        Atoms to describe; all of them by default.

    Returns
    -------
    LocalVectors

    Raises
    ------
    UndescribableStructure
        A ValueError: something is not finite, outside the box, or of an element that `settings` does not name.
    """
    wrapped = _checked(atoms, settings)
    indices = np.arange(len(atoms)) if centers is None else np.asarray(centers, dtype=int).reshape(-1)  # (n_centers,)
    if len(indices) and (indices.min() < 0 or indices.max() >= len(atoms)):
        raise ValueError(f"`centers` must lie in 0 to {len(atoms) - 1}, got {indices.min()} to {indices.max()}")
    if not len(indices):
        return LocalVectors(vectors={}, indices={})
    features = _descriptor(settings).create(wrapped, centers=indices.tolist())  # (n_centers, n_features)
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    numbers = atoms.numbers[indices]
    rows = {symbol: np.flatnonzero(numbers == atomic_numbers[symbol]) for symbol in settings.species}
    present = [symbol for symbol in settings.species if len(rows[symbol])]
    return LocalVectors(
        vectors={symbol: np.ascontiguousarray(features[rows[symbol]]) for symbol in present},
        indices={symbol: indices[rows[symbol]] for symbol in present},
    )


def mean_vector(vectors: LocalVectors, settings: SoapSettings) -> np.ndarray:
    """Average vector of each species, one after the other: good to shortlist and to draw maps, never to decide.

    Returns
    -------
    numpy.ndarray, shape (n_species * n_features,)
        float32; zeros where a species does not occur.
    """
    averages = np.zeros((len(settings.species), settings.n_features), dtype=np.float32)
    for row, symbol in enumerate(settings.species):
        if symbol in vectors.vectors:
            averages[row] = vectors.vectors[symbol].mean(axis=0)
    return averages.reshape(-1)


def describe_payload(
    structures: Iterable[Atoms], settings: SoapSettings, centers: Sequence[Sequence[int] | None] | None = None
) -> dict[str, Any]:
    """Plain input of `describe_task` for some structures, all atoms being centres unless `centers` says which."""
    structures = list(structures)
    chosen: Sequence[Sequence[int] | None] = [None] * len(structures) if centers is None else centers
    return {
        "settings": asdict(settings),
        "structures": [
            (atoms.numbers, atoms.positions, atoms.cell.array, tuple(bool(axis) for axis in atoms.pbc), indices)
            for atoms, indices in zip(structures, chosen, strict=True)
        ],
    }


def describe_task(payload: dict[str, Any]) -> dict[str, Any]:
    """Describe a list of structures in a worker process.

    Parameters
    ----------
    payload : dict
        ``settings``: fields of `SoapSettings`; ``structures``: tuples (numbers, positions in Å, cell in Å, pbc,
        indices of the centres or None).

    Returns
    -------
    dict
        ``described``: for each structure ``{"vectors", "indices"}``, arrays by species as in `LocalVectors`, or
        ``{"reason": "undescribable", "message"}``: a bad structure costs its neighbours in the list nothing.
    """
    settings = SoapSettings(**payload["settings"])
    described: list[dict[str, Any]] = []
    for numbers, positions, cell, pbc, centers in payload["structures"]:
        atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=pbc)
        try:
            local = local_vectors(atoms, settings, centers)
        except UndescribableStructure as error:
            described.append({"reason": "undescribable", "message": str(error)})
            continue
        described.append({"vectors": dict(local.vectors), "indices": dict(local.indices)})
    return {"described": described}


def mean_task(payload: dict[str, Any]) -> dict[str, Any]:
    """Averaged vectors of a list of structures in a worker process; little travels back.

    Parameters
    ----------
    payload : dict
        As for `describe_task`; averages are over the centres.

    Returns
    -------
    dict
        ``means``: `mean_vector` of each structure, None where it cannot be described.
    """
    settings = SoapSettings(**payload["settings"])
    collected = collect_described(describe_task(payload))
    return {"means": [None if vectors is None else mean_vector(vectors, settings) for vectors in collected]}


def rematch_task(payload: dict[str, Any]) -> dict[str, Any]:
    """Similarity of whole structures by the regularised entropy match of their atoms, in a worker process.

    REMatch (De, Bartók, Csányi and Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016)), α = 0.1, on the kernel
    (p·p′)² between atoms of one species and 0 between those of different species.

    Parameters
    ----------
    payload : dict
        As for `describe_task`; the centres are what is matched.

    Returns
    -------
    dict
        ``kernel``: (n, n), 1 for the same surroundings; NaN where a structure cannot be described.
    """
    from dscribe.kernels import REMatchKernel

    settings = SoapSettings(**payload["settings"])
    collected = collect_described(describe_task(payload))
    usable = [n for n, vectors in enumerate(collected) if vectors is not None and vectors.n_centers]
    kernel = np.full((len(collected), len(collected)), np.nan)
    if usable:
        matcher = REMatchKernel(metric="polynomial", degree=2, gamma=1.0, coef0=0.0, alpha=REMATCH_ALPHA)
        features = [_by_species(vectors, settings) for n in usable if (vectors := collected[n]) is not None]
        kernel[np.ix_(usable, usable)] = matcher.create(features)
    return {"kernel": kernel}


def _by_species(vectors: LocalVectors, settings: SoapSettings) -> np.ndarray:
    """Rows (n_centers, n_species * n_features), zero but in their species' columns."""
    rows = np.zeros((vectors.n_centers, len(settings.species), settings.n_features))
    start = 0
    for column, symbol in enumerate(settings.species):
        of_species = vectors.vectors.get(symbol, np.empty((0, settings.n_features)))
        rows[start : start + len(of_species), column] = of_species
        start += len(of_species)
    return rows.reshape(len(rows), -1)


def collect_described(result: dict[str, Any]) -> list[LocalVectors | None]:
    """Records from what `describe_task` returned; None where a structure could not be described."""
    return [
        None if "reason" in entry else LocalVectors(vectors=entry["vectors"], indices=entry["indices"])
        for entry in result["described"]
    ]


@lru_cache(maxsize=4)
def _descriptor(settings: SoapSettings) -> Any:
    """The dscribe object, built once per process and settings."""
    from dscribe.descriptors import SOAP

    return SOAP(
        species=list(settings.species),
        r_cut=settings.r_cut,
        n_max=settings.n_max,
        l_max=settings.l_max,
        sigma=settings.sigma,
        periodic=True,
        average="off",
    )


def _checked(atoms: Atoms, settings: SoapSettings) -> Atoms:
    """A bare copy, wrapped along its periodic axes, of a structure that is safe to describe."""
    if not len(atoms):
        raise UndescribableStructure("the structure has no atoms")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise UndescribableStructure(
            "`positions` or `cell` hold values that are not finite: a decoding or relaxation failed"
        )
    foreign = sorted(set(atoms.symbols) - set(settings.species))
    if foreign:
        raise UndescribableStructure(
            f"`species` allows {', '.join(settings.species)}, the structure holds {', '.join(foreign)}"
        )
    volume = abs(atoms.cell.volume)
    faces = np.linalg.norm(np.cross(atoms.cell.array[[1, 2, 0]], atoms.cell.array[[2, 0, 1]]), axis=1)  # (3,) Å²
    if volume < 1.0 or (volume / faces < SMALLEST_CELL_HEIGHT).any():
        raise UndescribableStructure(
            f"`cell` with lengths {atoms.cell.lengths().round(3).tolist()} Å is flat; "
            f"opposite faces must be at least {SMALLEST_CELL_HEIGHT} Å apart"
        )
    _check_inside(atoms, volume / faces)
    return Atoms(
        numbers=atoms.numbers,
        positions=atoms.get_positions(wrap=True),
        cell=atoms.cell,
        pbc=atoms.pbc,
    )


def _check_inside(atoms: Atoms, heights: np.ndarray) -> None:
    """Raise unless every atom lies in the box; along periodic axes any nearby image will do."""
    fractions = atoms.cell.scaled_positions(atoms.positions)  # (n_atoms, 3)
    slack = np.where(atoms.pbc, LARGEST_FRACTION, OUTSIDE_SLACK / heights)  # (3,)
    outside = ((fractions < -slack) | (fractions > 1.0 + slack)).any(axis=1)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise UndescribableStructure(
            f"atom {first} at {atoms.positions[first].round(2).tolist()} Å lies outside the box of lengths "
            f"{atoms.cell.lengths().round(2).tolist()} Å: it flew away in a relaxation, or the cell is wrong"
        )
