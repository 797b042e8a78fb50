"""How new a structure is: the worst atom's SOAP distance κ to what is known.

The kernel between two atoms of one species is k = (p·p')²; an atom's distance to a structure is d = √(2(1 − k)) with
its best match there, and κ is the largest d over the query's atoms (distance as in Timmermann et al., J. Chem. Phys.
155, 244107 (2021)). κ is directional: everything in the query occurs in the known structure, not the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from searcher.scoring.descriptors import LocalVectors

EXCESS_TOLERANCE = 1e-3  # O/Å²: a third of one atom in 300 Å²; lattices of two sources differ by less than that
QUERY_ROWS = 1024
KNOWN_ROWS = 8192  # with QUERY_ROWS a block of 32 MiB of single precision


@dataclass(frozen=True)
class Fingerprint:
    """What decides whether two structures are the same termination.

    Attributes
    ----------
    free : LocalVectors
        Of the atoms above the frozen layers.
    whole : LocalVectors
        Of all atoms.
    excess_o_per_area : float
        (N_O − 2 N_metal) per Å².
    """

    free: LocalVectors
    whole: LocalVectors
    excess_o_per_area: float


class _SpeciesRows:
    """Vectors of one species of all known structures, stacked in a buffer that grows by doubling."""

    def __init__(self, n_features: int) -> None:
        self._buffer = np.empty((256, n_features), dtype=np.float32)
        self.n_rows = 0
        self.starts: list[int] = []
        self.owners: list[int] = []

    def append(self, rows: np.ndarray, owner: int) -> None:
        needed = self.n_rows + len(rows)
        if needed > len(self._buffer):
            grown = np.empty((max(needed, 2 * len(self._buffer)), self._buffer.shape[1]), dtype=np.float32)
            grown[: self.n_rows] = self._buffer[: self.n_rows]
            self._buffer = grown
        self._buffer[self.n_rows : needed] = rows
        self.starts.append(self.n_rows)
        self.owners.append(owner)
        self.n_rows = needed

    @property
    def rows(self) -> np.ndarray:
        return self._buffer[: self.n_rows]


class KnownSet:
    """Structures against which novelty is judged, in the order in which they were added."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._positions: dict[str, int] = {}
        self._excess: list[float] = []
        self._rows: dict[str, _SpeciesRows] = {}
        self._n_features: int | None = None

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
                self._rows[symbol] = _SpeciesRows(rows.shape[1])
            self._rows[symbol].append(rows, owner)
        self._positions[structure_id] = owner
        self._ids.append(structure_id)
        self._excess.append(float(excess_o_per_area))

    def kappa_matrix(self, queries: Sequence[LocalVectors]) -> np.ndarray:
        """κ of each query against each known structure.

        Parameters
        ----------
        queries : sequence of LocalVectors
            Of the free atoms of each query. One without atoms holds nothing new: its κ is 0.

        Returns
        -------
        numpy.ndarray, shape (n_queries, n_known)
            float32, from 0 (each atom has its like) to √2 (nothing in common, or a species is missing there).
        """
        for query in queries:
            self._check_features(query)
        smallest_kernel = np.ones((len(queries), len(self)), dtype=np.float32)
        for symbol in sorted({symbol for query in queries for symbol in query.vectors}):
            owners = [number for number, query in enumerate(queries) if symbol in query.vectors]
            for chunk in _chunks([len(queries[number].vectors[symbol]) for number in owners], QUERY_ROWS):
                members = owners[chunk]
                blocks = [queries[number].vectors[symbol] for number in members]
                smallest_kernel[members] = np.minimum(smallest_kernel[members], self._kernel(symbol, blocks))
        return np.sqrt(2.0 * (1.0 - np.minimum(smallest_kernel, 1.0)))

    def kappa_all(self, query_vectors: LocalVectors) -> np.ndarray:
        """κ of one query against each known structure, shape (n_known,)."""
        return self.kappa_matrix([query_vectors])[0]

    def nearest(self, queries: Sequence[LocalVectors]) -> list[tuple[float, str | None]]:
        """Smallest κ and the structure it belongs to, for each query; (inf, None) while nothing is known."""
        if not len(self):
            return [(float("inf"), None) for _ in queries]
        matrix = self.kappa_matrix(queries)
        return [(float(row[best]), self._ids[best]) for row, best in zip(matrix, matrix.argmin(axis=1), strict=True)]

    def kappa(self, query_vectors: LocalVectors) -> tuple[float, str | None]:
        """Novelty of one query: its smallest κ, and the known structure it belongs to."""
        return self.nearest([query_vectors])[0]

    def _kernel(self, symbol: str, blocks: list[np.ndarray]) -> np.ndarray:
        """Smallest over a query's atoms of the best kernel in each known structure, shape (n_blocks, n_known)."""
        kernel = np.zeros((len(blocks), len(self)), dtype=np.float32)
        if symbol not in self._rows:
            return kernel
        known = self._rows[symbol]
        atoms_of_queries = np.concatenate(blocks).T  # (n_features, n_query_rows)
        query_starts = _starts([len(block) for block in blocks])
        bounds = [*known.starts, known.n_rows]
        for chunk in _chunks(np.diff(bounds).tolist(), KNOWN_ROWS):
            first, last = bounds[chunk.start], bounds[chunk.stop]
            # Known rows first: reducing over leading rows runs over contiguous memory.
            products = known.rows[first:last] @ atoms_of_queries  # (n_known_rows, n_query_rows)
            np.square(products, out=products)
            best = np.maximum.reduceat(products, np.array(bounds[chunk]) - first, axis=0)
            worst = np.minimum.reduceat(best, query_starts, axis=1)  # (n_structures, n_blocks)
            kernel[:, known.owners[chunk]] = worst.T
        return kernel

    def _check_features(self, vectors: LocalVectors) -> None:
        for symbol, rows in vectors.vectors.items():
            if self._n_features is not None and rows.shape[1] != self._n_features:
                raise ValueError(
                    f"`vectors` of {symbol} have {rows.shape[1]} features, the known ones {self._n_features}: "
                    "they were made with other SOAP settings"
                )


def pair_kappa(query: LocalVectors, known: LocalVectors) -> float:
    """κ of the query's free atoms against all atoms of one known structure; not symmetric."""
    smallest = 1.0
    for symbol, rows in query.vectors.items():
        if symbol not in known.vectors:
            return float(np.sqrt(2.0))
        smallest = min(smallest, float(np.square(rows @ known.vectors[symbol].T).max(axis=1).min()))
    return float(np.sqrt(2.0 * (1.0 - smallest)))


def same_termination(a: Fingerprint, b: Fingerprint, kappa_min: float = 0.075) -> bool:
    """Whether two structures are one termination: equal excess O per area, and nothing new in either direction."""
    if abs(a.excess_o_per_area - b.excess_o_per_area) > EXCESS_TOLERANCE:
        return False
    return max(pair_kappa(a.free, b.whole), pair_kappa(b.free, a.whole)) <= kappa_min


def same_termination_matrix(fingerprints: Sequence[Fingerprint], kappa_min: float = 0.075) -> np.ndarray:
    """`same_termination` of every pair, shape (n, n), boolean."""
    pool = KnownSet()
    for number, fingerprint in enumerate(fingerprints):
        pool.add(str(number), fingerprint.whole, fingerprint.excess_o_per_area)
    forward = pool.kappa_matrix([fingerprint.free for fingerprint in fingerprints])  # (n, n)
    excess = pool.excess_o_per_area
    equal_excess = np.abs(excess[:, None] - excess[None, :]) <= EXCESS_TOLERANCE
    return (np.maximum(forward, forward.T) <= kappa_min) & equal_excess


def greedy_unique(
    vectors: Sequence[LocalVectors], kappa_min: float = 0.075, excess_o_per_area: Sequence[float] | None = None
) -> list[int]:
    """Which structures of a batch to keep so that no two are the same, the earlier of two going first.

    Parameters
    ----------
    vectors : sequence of LocalVectors
        Of the free atoms of each structure; one without free atoms is never kept.
    kappa_min : float
        Two are the same if κ is not above this in either direction.
    excess_o_per_area : sequence of float, optional
        If given, structures that differ in it are never the same.

    Returns
    -------
    list of int
        Indices of those kept, rising.
    """
    excess = [0.0] * len(vectors) if excess_o_per_area is None else excess_o_per_area
    described = [number for number, local in enumerate(vectors) if local.n_centers]
    fingerprints = [Fingerprint(vectors[n], vectors[n], float(excess[n])) for n in described]
    same = same_termination_matrix(fingerprints, kappa_min)
    kept: list[int] = []
    for row in range(len(described)):
        if not same[row, kept].any():
            kept.append(row)
    return [described[row] for row in kept]


def _starts(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int)


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
