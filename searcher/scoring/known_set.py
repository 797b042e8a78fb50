"""Structures against which novelty is judged: bounds from few coordinates discard, the exact κ decides.

What a bound discards cannot be the nearest, so that no known structure passes as novel; see `species_rows` for the
bounds and `novelty` for κ. They hold for vectors whose products are not negative, as those of SOAP power spectra are.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from searcher.scoring.compiled_kernel import worst_of_best
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.species_rows import DIMENSIONS, SpeciesRows

ROUND_OFF = 4e-6  # of a product in single precision: 680 terms of rows of unit length
QUERY_ROWS = 256
KNOWN_ROWS = 2048  # with QUERY_ROWS a block of 2 MiB of single precision
QUERIES = 256  # whose bounds against everything known are held at once


class KnownSet:
    """Structures in the order in which they were added.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Keep the vectors in files there, mapped into memory: only a fourteenth of them, the coordinates, stays in it.
    dimensions : int
        Of the subspace in which bounds are computed; changes the time, never the result.
    """

    def __init__(self, folder: Path | None = None, dimensions: int = DIMENSIONS) -> None:
        self._folder, self._dimensions = folder, dimensions
        self._ids: list[str] = []
        self._positions: dict[str, int] = {}
        self._excess: list[float] = []
        self._rows: dict[str, SpeciesRows] = {}
        self._segments: dict[str, dict[int, int]] = {}
        self._n_features: int | None = None
        self.n_exact = 0
        """How many pairs were compared exactly so far."""

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, structure_id: object) -> bool:
        return structure_id in self._positions

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._ids)

    @property
    def excess_o_per_area(self) -> np.ndarray:
        """Excess oxygen of each known structure per Å², shape (n_known,)."""
        return np.array(self._excess, dtype=float)

    @property
    def resident_bytes(self) -> int:
        """Memory that vectors and coordinates take."""
        return sum(rows.resident_bytes for rows in self._rows.values())

    def add(self, structure_id: str, vectors: LocalVectors, excess_o_per_area: float) -> None:
        """Make a structure known.

        Parameters
        ----------
        structure_id : str
        vectors : LocalVectors
            Of all atoms of the structure, frozen ones included.
        excess_o_per_area : float
            (N_O − 2 N_metal) per Å².

        Raises
        ------
        ValueError
            If the identifier is taken, no atom is described, or the vectors come from other SOAP settings.
        """
        if structure_id in self._positions:
            raise ValueError(f"`structure_id` {structure_id!r} is already known")
        if not vectors.n_centers:
            raise ValueError(f"`vectors` of {structure_id!r} describe no atom: an empty structure cannot be known")
        if self._n_features is None:
            self._n_features = next(iter(vectors.vectors.values())).shape[1]
        self._check_features(vectors)
        owner = len(self._ids)
        for symbol, rows in vectors.vectors.items():
            if symbol not in self._rows:
                path = self._folder / f"{symbol}.float32" if self._folder else None
                self._rows[symbol] = SpeciesRows(rows.shape[1], path, self._dimensions)
                self._segments[symbol] = {}
            self._segments[symbol][owner] = len(self._rows[symbol].owners)
            self._rows[symbol].append(rows, owner)
        self._positions[structure_id] = owner
        self._ids.append(structure_id)
        self._excess.append(float(excess_o_per_area))

    def nearest(self, queries: Sequence[LocalVectors]) -> list[tuple[float, str | None]]:
        """The smallest κ, in double precision, and whose it is, for each query; of equal ones the earlier.

        Parameters
        ----------
        queries : sequence of LocalVectors
            Of the free atoms of each query. One without atoms holds nothing new: its κ is 0.

        Returns
        -------
        list of (float, str or None)
            κ from 0 (each atom has its like) to √2 (nothing in common, or a species is missing there); (inf, None)
            while nothing is known.
        """
        if not len(self):
            return [(float("inf"), None) for _ in queries]
        found: list[tuple[float, str | None]] = []
        for chunk, bounds in self._bounded(queries):
            for query, upper in zip(queries[chunk], bounds, strict=True):
                product, who = self._best(query, upper)
                found.append((kappa_of(product), self._ids[who]))
        return found

    def kappa(self, query_vectors: LocalVectors) -> tuple[float, str | None]:
        """Novelty of one query: its smallest κ, and the known structure it belongs to."""
        return self.nearest([query_vectors])[0]

    def alike(self, queries: Sequence[LocalVectors], kappa_max: float) -> np.ndarray:
        """Whether κ of each query against each known structure is at most a threshold, shape (n_queries, n_known)."""
        needed = float(np.sqrt(1.0 - kappa_max**2 / 2.0))
        alike = np.zeros((len(queries), len(self)), dtype=bool)
        for chunk, upper in self._bounded(queries):
            alike[chunk] = upper - self._slack(queries[chunk]) >= needed
            for row, owner in np.argwhere((upper >= needed) & ~alike[chunk]).tolist():
                query = chunk.start + row
                alike[query, owner] = kappa_of(self._product(queries[query], owner)) <= kappa_max
        return alike

    def kappa_matrix(self, queries: Sequence[LocalVectors]) -> np.ndarray:
        """κ of each query against each known structure, all of them in single precision.

        Returns
        -------
        numpy.ndarray, shape (n_queries, n_known)
            float32; near 0 round-off makes it some 10⁻³.
        """
        for query in queries:
            self._check_features(query)
        worst = np.concatenate([np.ones((0, len(self)), np.float32), *self._worst(queries, whole=True)])
        return np.sqrt(2.0 * (1.0 - np.minimum(np.square(worst), 1.0)))

    def kappa_all(self, query_vectors: LocalVectors) -> np.ndarray:
        """κ of one query against each known structure, shape (n_known,)."""
        return self.kappa_matrix([query_vectors])[0]

    def _bounded(self, queries: Sequence[LocalVectors]) -> Iterator[tuple[slice, np.ndarray]]:
        """Some queries at a time, with upper bounds of their products, shape (n, n_known)."""
        for query in queries:
            self._check_features(query)
        for rows in self._rows.values():
            rows.prepare()
        for first in range(0, len(queries), QUERIES):
            chunk = slice(first, min(first + QUERIES, len(queries)))
            (upper,) = self._worst(queries[chunk], whole=False)
            yield chunk, upper + ROUND_OFF

    def _slack(self, queries: Sequence[LocalVectors]) -> np.ndarray:
        """How far below its bound a product may be: twice the longest rests' product, shape (n_queries, n_known)."""
        slack = np.zeros((len(queries), len(self)))
        for symbol, rows in self._rows.items():
            own = [rows.split(q.vectors[symbol])[:, -1].max() if symbol in q.vectors else 0.0 for q in queries]
            slack[:, rows.owners] = np.maximum(slack[:, rows.owners], 2.0 * np.outer(own, rows.rest_of_segments))
        return slack + 2.0 * ROUND_OFF

    def _worst(self, queries: Sequence[LocalVectors], whole: bool) -> Iterator[np.ndarray]:
        """Smallest over atoms of the best product, of whole vectors or as bounds, shape (n, n_known), in chunks."""
        for first in range(0, len(queries), QUERIES):
            part = queries[first : first + QUERIES]
            worst = np.ones((len(part), len(self)), dtype=np.float32)
            for symbol in sorted({symbol for query in part for symbol in query.vectors}):
                owners = [number for number, query in enumerate(part) if symbol in query.vectors]
                worst[owners] = np.minimum(
                    worst[owners], self._of_species(symbol, [part[n].vectors[symbol] for n in owners], whole)
                )
            yield worst

    def _of_species(self, symbol: str, blocks: Sequence[np.ndarray], whole: bool) -> np.ndarray:
        """`_worst` for one species that each query has, shape (n_blocks, n_known)."""
        worst = np.zeros((len(blocks), len(self)), dtype=np.float32)  # without the species nothing is in common
        if symbol not in self._rows:
            return worst
        known = self._rows[symbol]
        bounds = known.bounds
        for chunk in _chunks([len(block) for block in blocks], QUERY_ROWS):
            rows = np.concatenate(blocks[chunk])
            columns = np.ascontiguousarray((rows if whole else known.split(rows)).T)
            query_bounds = np.concatenate([[0], np.cumsum([len(block) for block in blocks[chunk]])])
            for segments in _chunks(np.diff(bounds).tolist(), KNOWN_ROWS):
                first, last = bounds[segments.start], bounds[segments.stop]
                products = (known.whole if whole else known.coordinates)(first, last) @ columns
                lowest = np.ones((segments.stop - segments.start, len(query_bounds) - 1), dtype=np.float32)
                worst_of_best(products, bounds[segments.start : segments.stop + 1] - first, query_bounds, lowest)
                worst[chunk, known.owners[segments]] = lowest.T
        return worst

    def _best(self, query: LocalVectors, upper: np.ndarray) -> tuple[float, int]:
        """Of all known structures the largest product, exactly, and the structure's position."""
        who = int(upper.argmax())
        best = self._product(query, who)
        rivals = np.flatnonzero(upper >= best)
        for rival in rivals[np.argsort(-upper[rivals], kind="stable")].tolist():
            if upper[rival] < best:
                break
            product = self._product(query, rival) if rival != who else best
            if product > best or (product == best and rival < who):
                best, who = product, rival
        return best, who

    def _product(self, query: LocalVectors, owner: int) -> float:
        """Smallest over the query's atoms of the best product with one structure, in double precision."""
        self.n_exact += 1
        known = {
            symbol: self._rows[symbol].segment(self._segments[symbol][owner])
            for symbol in query.vectors
            if owner in self._segments.get(symbol, {})
        }
        return worst_product(query.vectors, known)

    def _check_features(self, vectors: LocalVectors) -> None:
        for symbol, rows in vectors.vectors.items():
            if self._n_features is not None and rows.shape[1] != self._n_features:
                raise ValueError(
                    f"`vectors` of {symbol} have {rows.shape[1]} features, the known ones {self._n_features}: "
                    "they were made with other SOAP settings"
                )


def worst_product(query: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]) -> float:
    """Smallest over the query's atoms of the best product, in double precision; 0 if a species is missing there."""
    worst = 1.0
    for symbol, rows in query.items():
        if symbol not in known:
            return 0.0
        one, other = known[symbol].astype(np.float64), rows.astype(np.float64)
        # exactly of unit length, or a structure would differ from itself by the 10⁻³ of single precision
        products = (one @ other.T) / np.sqrt(np.outer(_squares(one), _squares(other)))
        worst = min(worst, float(products.max(axis=0).min()))
    return worst


def kappa_of(product: float) -> float:
    """κ = √(2(1 − k)) of the worst atom's best product, k being its square."""
    return float(np.sqrt(2.0 * (1.0 - min(product**2, 1.0))))


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def _chunks(lengths: Sequence[int], limit: int) -> list[slice]:
    """Consecutive slices of segments that hold at most `limit` rows together, or one longer segment alone."""
    slices: list[slice] = []
    start = total = 0
    for number, length in enumerate(lengths):
        if number > start and total + length > limit:
            slices.append(slice(start, number))
            start, total = number, 0
        total += length
    if lengths:
        slices.append(slice(start, len(lengths)))
    return slices
