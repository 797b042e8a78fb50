"""The vectors of all known atoms of one species, whole and as a few coordinates that bound their products.

A vector p of unit length is split into its part in a subspace, q = Vᵀp, and the rest, of length r = √(1 − q·q). A
product p·p' differs from q·q' by no more than r·r'. SOAP vectors fill few dimensions: with 48 of 680 the rests are some
10⁻³ long.
"""

from pathlib import Path

import numpy as np

DIMENSIONS = 48
FEWEST_ROWS = 512
"""from which on a subspace is looked for"""
SAMPLE = 20_000
"""rows from which it is made"""
SHORTEST_REST = 1e-3
"""so that a bound holds in spite of single precision"""
BLOCK = 65_536
FIRST_ROOM = 256


class SpeciesRows:
    """Vectors of one species of all known structures, one structure after another.

    Parameters
    ----------
    n_features : int
    path : pathlib.Path, optional
        Keep the whole vectors in this file, mapped into memory, instead of in memory.
    dimensions : int
        Of the subspace.
    """

    def __init__(self, n_features: int, path: Path | None = None, dimensions: int = DIMENSIONS) -> None:
        self._n_features, self._dimensions = n_features, min(dimensions, n_features)
        self._whole: _Buffer | _File = _File(path, n_features) if path else _Buffer(n_features)
        self._basis: np.ndarray | None = None  # (n_features, n_dimensions)
        self._n_when_made = 0
        self._split: _Buffer | None = None  # rows of `split`
        self._rest_of: list[float] = []
        self._starts = [0]
        self._bounds = np.array([0])
        self.owners: list[int] = []
        """Of each segment, the position of its structure; rising."""

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def bounds(self) -> np.ndarray:
        """Where segments begin, and where the last one ends, shape (n_segments + 1,)."""
        if len(self._bounds) < len(self._starts):
            self._bounds = np.array(self._starts)
        return self._bounds

    @property
    def resident_bytes(self) -> int:
        return self._whole.nbytes + (self._split.nbytes if self._split is not None else 0)

    def append(self, rows: np.ndarray, owner: int) -> None:
        """Add a structure's vectors, shape (n, n_features)."""
        self._whole.append(rows)
        self._starts.append(self._starts[-1] + len(rows))
        self.owners.append(owner)

    def whole(self, first: int, last: int) -> np.ndarray:
        """Vectors of some rows, shape (n, n_features)."""
        return self._whole.rows[first:last]

    def segment(self, number: int) -> np.ndarray:
        """Vectors of one structure, shape (n, n_features)."""
        return self.whole(self._starts[number], self._starts[number + 1])

    def prepare(self) -> None:
        """Bring subspace and coordinates up to date with what was added."""
        if len(self) >= FEWEST_ROWS and len(self) >= 2 * self._n_when_made:
            self._basis, self._n_when_made = self._new_basis(), len(self)
            self._split = None
        if self._split is None:
            width = (self._n_features if self._basis is None else self._basis.shape[1]) + 1
            self._split = _Buffer(width)
        for first in range(len(self._split), len(self), BLOCK):
            self._split.append(self.split(self.whole(first, min(first + BLOCK, len(self)))))
        new = self._starts[len(self._rest_of) :]
        if len(new) > 1:
            rests = self._split.rows[new[0] :, -1]
            self._rest_of += np.maximum.reduceat(rests, np.array(new[:-1]) - new[0]).tolist()

    def split(self, rows: np.ndarray) -> np.ndarray:
        """Coordinates in the subspace and, last, the length of the rest, shape (n, n_dimensions + 1).

        The product of two such rows is the upper bound of the vectors' product.
        """
        inside = rows if self._basis is None else rows @ self._basis
        squared = np.einsum("ij,ij->i", inside, inside, dtype=np.float64)
        rest = np.sqrt(np.maximum(1.0 - squared, 0.0) + SHORTEST_REST**2)
        return np.column_stack([inside, rest]).astype(np.float32)

    def coordinates(self, first: int, last: int) -> np.ndarray:
        """`split` of some rows, after `prepare`."""
        assert self._split is not None
        return self._split.rows[first:last]

    @property
    def rest_of_segments(self) -> np.ndarray:
        """The longest rest in each segment, shape (n_segments,), after `prepare`."""
        return np.array(self._rest_of)

    def _new_basis(self) -> np.ndarray:
        """Orthonormal directions that hold most of the rows' length."""
        self._rest_of = []
        sample = np.asarray(self._whole.rows[:: 1 + len(self) // SAMPLE], dtype=np.float64)
        values, vectors = np.linalg.eigh(sample.T @ sample)
        return np.ascontiguousarray(vectors[:, np.argsort(-values)[: self._dimensions]], dtype=np.float32)


class _Buffer:
    """Rows in memory, in room that grows by doubling."""

    def __init__(self, width: int) -> None:
        self._room = np.empty((FIRST_ROOM, width), dtype=np.float32)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> np.ndarray:
        return self._room[: self._n]

    @property
    def nbytes(self) -> int:
        return self._room.nbytes

    def append(self, rows: np.ndarray) -> None:
        needed = self._n + len(rows)
        if needed > len(self._room):
            grown = np.empty((max(needed, 2 * len(self._room)), self._room.shape[1]), dtype=np.float32)
            grown[: self._n] = self._room[: self._n]
            self._room = grown
        self._room[self._n : needed] = rows
        self._n = needed


class _File:
    """Rows in a file of their own, read through a map."""

    nbytes = 0

    def __init__(self, path: Path, width: int) -> None:
        self._path, self._width = path, width
        self._n = 0
        path.write_bytes(b"")
        self._map: np.ndarray | None = None

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> np.ndarray:
        if self._map is None or len(self._map) < self._n:
            self._map = np.memmap(self._path, dtype=np.float32, mode="r", shape=(self._n, self._width))
        return self._map

    def append(self, rows: np.ndarray) -> None:
        with self._path.open("ab") as stream:
            stream.write(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
        self._n += len(rows)
