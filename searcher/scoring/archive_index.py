"""Novelty against large archives: bounds from few coordinates discard almost everything, the exact κ decides the rest.

A normalised SOAP vector p is split into its part in a subspace, q = Vᵀp, and the rest, of length r = √(1 − q·q). For
two vectors the amount of p·p' is at most that of q·q' plus r·r', so that the kernel has an upper and κ a lower bound. A
known structure whose bound already exceeds the exact κ of another one cannot be the nearest: no known structure passes
as novel.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from searcher.scoring.descriptors import LocalVectors

DIMENSIONS = 48
SAMPLE = 20_000  # rows from which a subspace is made
ROUND_OFF = 4e-6  # of a scalar product in single precision: 680 terms of rows of unit length
SCOUTS = 2  # atoms of a query that are compared with everything first
FIRST_EXACT = 16  # structures whose κ is computed to begin with
BLOCK = 65_536  # rows of the archive in one product


@dataclass(frozen=True)
class Nearest:
    """The most similar known structure.

    Attributes
    ----------
    kappa : float
    id : str or None
    n_exact : int
        For how many structures κ was computed.
    """

    kappa: float
    id: str | None
    n_exact: int


class _SpeciesArchive:
    """Rows of one species, of all structures one after another, with their coordinates in the subspace."""

    def __init__(self, rows: np.ndarray, basis: np.ndarray, starts: np.ndarray, owners: np.ndarray) -> None:
        self.rows = rows  # (n_rows, n_features), perhaps on disk
        self.basis = basis  # (n_features, n_dimensions)
        self.starts = starts  # (n_segments + 1,)
        self.owners = owners  # (n_segments,)
        self.projected = np.empty((len(rows), basis.shape[1]), dtype=np.float32)
        self.rest = np.empty(len(rows), dtype=np.float32)
        for first in range(0, len(rows), BLOCK):
            block = slice(first, first + BLOCK)
            self.projected[block], self.rest[block] = self.split(np.asarray(rows[block]))
        self.segment_of = np.full(int(owners.max()) + 1 if len(owners) else 0, -1)
        self.segment_of[owners] = np.arange(len(owners))

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (n, n_dimensions) in the subspace, and the length (n,) of the rest."""
        projected = rows @ self.basis
        squared = np.einsum("ij,ij->i", projected, projected, dtype=np.float64)
        # never too short: a bound must hold in spite of round-off
        return projected, np.sqrt(np.maximum(1.0 - squared, 0.0) + 1e-6).astype(np.float32)

    def bounds_of_all(self, projected: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """Upper bound of the best kernel in each segment for some query rows, shape (n_segments, n_query_rows)."""
        best = np.empty((len(self.owners), len(projected)), dtype=np.float32)
        for chunk in _chunks(self.starts, BLOCK):
            first, last = self.starts[chunk.start], self.starts[chunk.stop]
            best[chunk] = self._bounds(slice(first, last), self.starts[chunk] - first, projected, rest)
        return best

    def bounds_of(self, segments: np.ndarray, projected: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """As `bounds_of_all` for chosen segments."""
        found = [
            self._bounds(*self._gathered(segments[i : i + 2048]), projected, rest)
            for i in range(0, len(segments), 2048)
        ]
        return np.concatenate(found) if found else np.empty((0, len(projected)), dtype=np.float32)

    def exact(self, segments: np.ndarray, query: np.ndarray) -> np.ndarray:
        """Smallest over the query rows of the best kernel in each segment, shape (n_segments,)."""
        rows, starts = self._gathered(segments)
        # in double precision: near κ = 0 single precision would decide by round-off which of two is the nearer
        products = np.asarray(self.rows[rows], dtype=np.float64) @ query.T.astype(np.float64)
        np.square(products, out=products)
        return np.maximum.reduceat(products, starts, axis=0).min(axis=1)

    def _bounds(
        self, rows: slice | np.ndarray, starts: np.ndarray, projected: np.ndarray, rest: np.ndarray
    ) -> np.ndarray:
        products = self.projected[rows] @ projected.T
        np.abs(products, out=products)
        products += np.outer(self.rest[rows], rest)
        products += ROUND_OFF
        best = np.maximum.reduceat(products, starts, axis=0)
        return np.square(best, out=best)

    def _gathered(self, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lengths = self.starts[segments + 1] - self.starts[segments]
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int)
        offsets = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
        return np.repeat(self.starts[segments], lengths) + offsets, starts


KernelOf = Callable[[_SpeciesArchive, np.ndarray, np.ndarray], np.ndarray]
"""kernels or their bounds of segments for query rows"""


class ArchiveIndex:
    """Known structures, arranged so that the nearest one is found without looking at all of them exactly.

    Parameters
    ----------
    structures : iterable of (id, LocalVectors)
        All atoms of each known structure; read once, in order.
    folder : pathlib.Path, optional
        Keep the vectors in files there, mapped into memory: only the coordinates in the subspace, about a tenth, stay.
    dimensions : int
        Of the subspace.

    Raises
    ------
    ValueError
        If nothing is known, an identifier occurs twice, or a structure has no described atom.
    """

    def __init__(
        self,
        structures: Iterable[tuple[str, LocalVectors]],
        folder: Path | None = None,
        dimensions: int = DIMENSIONS,
    ) -> None:
        ids, rows, lengths, owners = _collected(structures, folder)
        if not ids:
            raise ValueError("`structures` is empty: against nothing everything is novel")
        if len(set(ids)) < len(ids):
            raise ValueError("`structures` has an identifier twice")
        self.ids = ids
        self._species = {
            symbol: _SpeciesArchive(
                rows[symbol],
                _basis(rows[symbol], dimensions),
                np.concatenate([[0], np.cumsum(lengths[symbol])]).astype(int),
                np.array(owners[symbol]),
            )
            for symbol in rows
        }

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def resident_bytes(self) -> int:
        """What stays in memory beside the vectors themselves."""
        return sum(one.projected.nbytes + one.rest.nbytes for one in self._species.values())

    def nearest(self, queries: Sequence[LocalVectors]) -> list[Nearest]:
        """The exact smallest κ of each query's free atoms, and whose it is; of equal ones the earlier.

        A query without atoms holds nothing new: its κ is 0. A species that is missing in a structure makes κ √2.
        """
        scouted = self._scouted(queries)
        return [self._nearest(query, bounds) for query, bounds in zip(queries, scouted, strict=True)]

    def _scouted(self, queries: Sequence[LocalVectors]) -> list[np.ndarray]:
        """Upper bounds (n_known,) of the kernel from each query's few least usual atoms of every species."""
        bounds = [np.ones(len(self), dtype=np.float32) for _ in queries]
        for symbol in sorted({symbol for query in queries for symbol in query.vectors}):
            if symbol not in self._species:
                for query, bound in zip(queries, bounds, strict=True):
                    if symbol in query.vectors:
                        bound[:] = 0.0
                continue
            archive = self._species[symbol]
            owners = [n for n, query in enumerate(queries) if symbol in query.vectors]
            chosen = [_least_usual(archive, queries[n].vectors[symbol]) for n in owners]
            projected, rest = archive.split(np.concatenate(chosen))
            found = archive.bounds_of_all(projected, rest)  # (n_segments, n_scouts)
            starts = np.concatenate([[0], np.cumsum([len(rows) for rows in chosen])[:-1]]).astype(int)
            worst = np.minimum.reduceat(found, starts, axis=1)  # (n_segments, n_owners)
            for column, owner in enumerate(owners):
                whole = np.zeros(len(self), dtype=np.float32)  # structures without the species have nothing in common
                whole[archive.owners] = worst[:, column]
                bounds[owner] = np.minimum(bounds[owner], whole)
        return bounds

    def _nearest(self, query: LocalVectors, bounds: np.ndarray) -> Nearest:
        best, who, n_exact = -1.0, 0, 0
        order = np.argsort(-bounds, kind="stable")
        first = order[:FIRST_EXACT]
        refined = False
        while len(first):
            kernels = self._exact(query, first)
            n_exact += len(first)
            top = int(np.lexsort((first, -kernels))[0])
            if kernels[top] > best or (kernels[top] == best and first[top] < who):
                best, who = float(kernels[top]), int(first[top])
            order = order[len(first) :]
            order = order[bounds[order] >= best]
            if not refined and len(order):
                refined = True
                bounds[order] = np.minimum(bounds[order], self._bound(query, order))
                order = order[bounds[order] >= best]
                order = order[np.argsort(-bounds[order], kind="stable")]
            first = order[: 4 * FIRST_EXACT]
        return Nearest(float(np.sqrt(2.0 * (1.0 - min(best, 1.0)))), self.ids[who], n_exact)

    def _exact(self, query: LocalVectors, structures: np.ndarray) -> np.ndarray:
        return self._over_species(query, structures, lambda archive, segments, rows: archive.exact(segments, rows))

    def _bound(self, query: LocalVectors, structures: np.ndarray) -> np.ndarray:
        return self._over_species(
            query, structures, lambda archive, segments, rows: archive.bounds_of(segments, *archive.split(rows)).min(1)
        )

    def _over_species(self, query: LocalVectors, structures: np.ndarray, kernel_of: KernelOf) -> np.ndarray:
        worst = np.ones(len(structures))
        for symbol, rows in query.vectors.items():
            kernels = np.zeros(len(structures))
            archive = self._species.get(symbol)
            if archive is not None:
                inside = structures < len(archive.segment_of)
                segments = np.full(len(structures), -1)
                segments[inside] = archive.segment_of[structures[inside]]
                present = np.flatnonzero(segments >= 0)
                if len(present):
                    kernels[present] = kernel_of(archive, segments[present], rows)
            worst = np.minimum(worst, kernels)
        return worst


def _least_usual(archive: _SpeciesArchive, rows: np.ndarray) -> np.ndarray:
    """The few rows that look least like the archive's average: they discard most."""
    mean = np.asarray(archive.projected[:: 1 + len(archive.projected) // SAMPLE]).mean(axis=0)
    likeness = archive.split(rows)[0] @ mean
    return rows[np.argsort(likeness, kind="stable")[:SCOUTS]]


def _basis(rows: np.ndarray, dimensions: int) -> np.ndarray:
    """Orthonormal directions (n_features, n) that hold most of the rows' length."""
    sample = np.asarray(rows[:: 1 + len(rows) // SAMPLE], dtype=np.float64)
    values, vectors = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(vectors[:, np.argsort(-values)[:dimensions]], dtype=np.float32)


def _collected(
    structures: Iterable[tuple[str, LocalVectors]], folder: Path | None
) -> tuple[list[str], dict[str, np.ndarray], dict[str, list[int]], dict[str, list[int]]]:
    ids: list[str] = []
    blocks: dict[str, list[np.ndarray]] = {}
    lengths: dict[str, list[int]] = {}
    owners: dict[str, list[int]] = {}
    files: dict[str, tuple[BinaryIO, int]] = {}
    for owner, (identifier, vectors) in enumerate(structures):
        if not vectors.n_centers:
            raise ValueError(f"`{identifier}` describes no atom: an empty structure cannot be known")
        ids.append(identifier)
        for symbol, rows in vectors.vectors.items():
            lengths.setdefault(symbol, []).append(len(rows))
            owners.setdefault(symbol, []).append(owner)
            if folder is None:
                blocks.setdefault(symbol, []).append(rows)
                continue
            if symbol not in files:
                files[symbol] = ((folder / f"{symbol}.float32").open("wb"), rows.shape[1])
            files[symbol][0].write(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
    for stream, _ in files.values():
        stream.close()
    stored = {symbol: np.concatenate(parts) for symbol, parts in blocks.items()}
    for symbol, (_, n_features) in files.items():
        shape = (sum(lengths[symbol]), n_features)
        path = (folder or Path()) / f"{symbol}.float32"
        stored[symbol] = np.memmap(path, dtype=np.float32, mode="r", shape=shape)
    return ids, stored, lengths, owners


def _chunks(starts: np.ndarray, limit: int) -> list[slice]:
    """Consecutive slices of segments of at most `limit` rows together, or one longer segment alone."""
    slices = []
    first = 0
    while first < len(starts) - 1:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + limit, side="right")) - 1)
        slices.append(slice(first, last))
        first = last
    return slices
