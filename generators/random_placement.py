"""Random insertion: the control that every generator is compared with."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from generators.proposal import Condition, Proposal, TrainingRecord
from generators.template import Template

NO_ROOM = "no_room"
OXYGEN = "O"
CANDIDATES = 48
"""Positions drawn at once for one atom."""
DRAWS_PER_ATOM = 4
RESTARTS = 20
"""Times a structure is begun anew when one of its atoms finds no room."""

AT_ONCE = 512
"""Structures that are filled together; bounds the memory for distances."""


class PlacementError(ValueError):
    """Settings of random placement that cannot work."""


class RandomPlacement:
    """Uniform positions above minimum distances, with the compositions of the training set.

    Parameters
    ----------
    template : Template
        Free atoms are placed between its `free_floor` and `free_ceiling`.
    counts : mapping of str to (int, int)
        Smallest and largest number of free atoms per element, both allowed.
    min_distances : mapping of str to float
        Å per pair, such as ``{"O-O": 2.2, "Ru-O": 1.6, "Ru-Ru": 2.3}``, in either order; frozen atoms count too.

    Raises
    ------
    PlacementError
        If a range is empty, a pair lacks its distance, or the cell is shorter than a distance.
    """

    def __init__(
        self, template: Template, counts: Mapping[str, tuple[int, int]], min_distances: Mapping[str, float]
    ) -> None:
        for symbol, (fewest, most) in counts.items():
            if symbol not in atomic_numbers or not 0 <= fewest <= most:
                raise PlacementError(
                    f"`counts` has {symbol}: ({fewest}, {most}) but must map an element to two whole numbers, "
                    "the smaller first"
                )
        if sum(most for _, most in counts.values()) == 0:
            raise PlacementError(f"`counts` is {dict(counts)} but must allow at least one atom")
        if template.free_ceiling <= template.free_floor:
            raise PlacementError(
                f"`template` has free_ceiling {template.free_ceiling:.3f} Å but free_floor {template.free_floor:.3f} Å"
            )
        self.template = template
        self._frameworks: dict[tuple[int, ...], list[np.ndarray]] = {}
        # heavy elements first: they are fewer and need more room
        self.elements = sorted(counts, key=lambda symbol: -atomic_numbers[symbol])
        self._allowed = [range(counts[symbol][0], counts[symbol][1] + 1) for symbol in self.elements]
        self._distances = self._distance_table(min_distances)
        self._near_frozen = self._frozen_within_reach()
        self._compositions = np.stack(np.meshgrid(*self._allowed, indexing="ij"), axis=-1).reshape(-1, len(counts))
        self._compositions = self._compositions[self._compositions.sum(axis=1) > 0]
        self._probabilities = np.full(len(self._compositions), 1.0 / len(self._compositions))

    def keep_metal(self, records: Sequence[TrainingRecord]) -> None:
        """From now on place oxygen only, over the metal atoms of one of `records`, drawn uniformly.

        Parameters
        ----------
        records : sequence of TrainingRecord
            Compositions with metal counts that none of them has are no longer drawn.

        Raises
        ------
        PlacementError
            If no record has an allowed number of metal atoms.
        """
        metals = [atomic_numbers[symbol] for symbol in self.elements if symbol != OXYGEN]
        for record in records:
            key = tuple(int(np.sum(record.numbers == number)) for number in metals)
            order = [index for number in metals for index in np.flatnonzero(record.numbers == number)]
            self._frameworks.setdefault(key, []).append(record.positions[order])
        available = np.array([key in self._frameworks for key in self._metal_counts(self._compositions)])
        if not available.any():
            raise PlacementError(f"none of {len(records)} `records` has an allowed number of metal atoms")
        self._compositions = self._compositions[available]
        self._probabilities = self._probabilities[available] / self._probabilities[available].sum()

    def _metal_counts(self, compositions: np.ndarray) -> list[tuple[int, ...]]:
        columns = [column for column, symbol in enumerate(self.elements) if symbol != OXYGEN]
        return [tuple(row) for row in compositions[:, columns].tolist()]

    def fit(self, records: Sequence[TrainingRecord], rng: np.random.Generator) -> None:
        """Take over the weighted histogram of compositions, as far as it lies in the allowed ranges.

        Parameters
        ----------
        records : sequence of TrainingRecord
        rng : numpy.random.Generator
            Not drawn from: a histogram is no matter of chance.

        Raises
        ------
        PlacementError
            If no record lies within the ranges.
        """
        histogram: dict[tuple[int, ...], float] = {}
        numbers = [atomic_numbers[symbol] for symbol in self.elements]
        for record in records:
            composition = tuple(int(np.sum(record.numbers == number)) for number in numbers)
            known = sum(composition) == len(record.numbers) > 0
            if known and all(n in allowed for n, allowed in zip(composition, self._allowed, strict=True)):
                histogram[composition] = histogram.get(composition, 0.0) + record.weight
        total = sum(histogram.values())
        if total <= 0.0:
            ranges = {s: (a.start, a.stop - 1) for s, a in zip(self.elements, self._allowed, strict=True)}
            raise PlacementError(
                f"`records` holds {len(records)} structures but none whose free atoms lie within `counts` {ranges}"
            )
        chosen = sorted(histogram)
        self._compositions = np.array(chosen)
        self._probabilities = np.array([histogram[composition] / total for composition in chosen])

    def sample(self, n: int, condition: Condition, rng: np.random.Generator) -> list[Proposal]:
        """Place atoms at random, `n` times.

        Parameters
        ----------
        n : int
        condition : mapping
            Handed on; random placement knows no conditions.
        rng : numpy.random.Generator

        Returns
        -------
        list of Proposal
            `n` of them; where a composition found no room within the allowed tries, without atoms and with the
            reason ``"no_room"``.
        """
        drawn = self._compositions[rng.choice(len(self._compositions), size=n, p=self._probabilities)]
        largest = int(drawn.sum(axis=1).max(initial=0))
        kinds = np.full((n, largest), -1)
        for row, composition in enumerate(drawn):
            kinds[row, : composition.sum()] = np.repeat(np.arange(len(self.elements)), composition)
        positions = np.zeros((n, largest, 3))
        n_kept = self._put_frameworks(drawn, positions, rng)
        pending = np.arange(n)
        for _ in range(RESTARTS):
            if len(pending) == 0:
                break
            complete = np.zeros(len(pending), dtype=bool)
            for start in range(0, len(pending), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                rows = pending[part]
                positions[rows], complete[part] = self._place(kinds[rows], positions[rows], n_kept[rows], rng)
            pending = pending[~complete]
        numbers = np.array([atomic_numbers[symbol] for symbol in self.elements])
        without_room = set(pending.tolist())
        return [
            Proposal(np.empty(0, dtype=int), np.empty((0, 3)), condition, 0.0, NO_ROOM)
            if row in without_room
            else Proposal(numbers[kinds[row][kinds[row] >= 0]], positions[row][kinds[row] >= 0], condition)
            for row in range(n)
        ]

    def _put_frameworks(self, compositions: np.ndarray, positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Write kept metal atoms into the first columns of positions (n, n_atoms, 3); returns their numbers (n,)."""
        n_kept = np.zeros(len(compositions), dtype=int)
        if self._frameworks:
            for row, key in enumerate(self._metal_counts(compositions)):
                choices = self._frameworks[key]
                metal = choices[rng.integers(len(choices))]
                positions[row, : len(metal)] = metal
                n_kept[row] = len(metal)
        return n_kept

    def _place(
        self, kinds: np.ndarray, positions: np.ndarray, n_kept: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """One try for structures whose atoms have `kinds` (m, n_atoms), the first `n_kept` (m,) of them in place.

        Returns positions (m, n_atoms, 3), and which structures found room (m,).
        """
        m, n_atoms = kinds.shape
        positions = positions.copy()
        complete = np.ones(m, dtype=bool)
        for atom in range(n_atoms):
            waiting = np.flatnonzero(complete & (kinds[:, atom] >= 0) & (n_kept <= atom))
            for _ in range(DRAWS_PER_ATOM):
                if len(waiting) == 0:
                    break
                candidates = self._uniform(len(waiting), rng)
                free = self._has_room(
                    candidates, kinds[waiting, atom], kinds[waiting, :atom], positions[waiting, :atom]
                )
                found = free.any(axis=1)
                first = free.argmax(axis=1)
                positions[waiting[found], atom] = candidates[found, first[found]]
                waiting = waiting[~found]
            complete[waiting] = False
        return positions, complete

    def _uniform(self, m: int, rng: np.random.Generator) -> np.ndarray:
        """Candidates (m, CANDIDATES, 3) in Å."""
        low = np.array([0.0, 0.0, self.template.free_floor])
        high = np.array([self.template.cell[0], self.template.cell[1], self.template.free_ceiling])
        return rng.uniform(low, high, size=(m, CANDIDATES, 3))

    def _has_room(
        self, candidates: np.ndarray, kinds: np.ndarray, placed_kinds: np.ndarray, placed: np.ndarray
    ) -> np.ndarray:
        """Whether candidates (m, k, 3) of `kinds` (m,) keep their distance to placed (m, j, 3) and frozen atoms."""
        frozen_kinds, frozen = self._near_frozen
        others = np.concatenate([placed, np.broadcast_to(frozen, (len(placed), *frozen.shape))], axis=1)
        other_kinds = np.concatenate(
            [placed_kinds, np.broadcast_to(frozen_kinds, (len(placed), len(frozen_kinds)))], axis=1
        )
        least = self._distances[kinds[:, None], other_kinds]  # (m, j + n_frozen)
        offsets = candidates[:, :, None, :] - others[:, None, :, :]
        lateral = np.asarray(self.template.cell[:2])
        offsets[..., :2] -= lateral * np.round(offsets[..., :2] / lateral)
        squares = np.einsum("mkji,mkji->mkj", offsets, offsets)
        return np.all(squares >= least[:, None, :] ** 2, axis=-1)

    def _distance_table(self, min_distances: Mapping[str, float]) -> np.ndarray:
        """Least distances in Å by kind; rows are free elements, further columns elements only frozen."""
        given = {frozenset(pair.split("-")): float(value) for pair, value in min_distances.items()}
        frozen = {chemical_symbols[number] for number in self.template.frozen_numbers} - set(self.elements)
        self._kinds = [*self.elements, *sorted(frozen)]
        table = np.zeros((len(self.elements), len(self._kinds)))
        for row, symbol in enumerate(self.elements):
            for column, other in enumerate(self._kinds):
                distance = given.get(frozenset((symbol, other)))
                if distance is None or not (math.isfinite(distance) and distance > 0):
                    raise PlacementError(
                        f"`min_distances` has {distance} for {symbol}-{other} but must be positive (Å)"
                    )
                table[row, column] = distance
            shortest = float(min(self.template.cell[:2]))
            if table[row, row] > shortest:
                raise PlacementError(
                    f"`min_distances` has {table[row, row]} Å for {symbol}-{symbol} but must be at most the shortest "
                    f"lateral period, {shortest:.3f} Å: an atom would be too near to its own image"
                )
        return table

    def _frozen_within_reach(self) -> tuple[np.ndarray, np.ndarray]:
        """Kinds and positions of the frozen atoms that a free one could come too near."""
        lowest = self.template.free_floor - self._distances.max()
        near = self.template.frozen_positions[:, 2] > lowest
        kinds = [self._kinds.index(chemical_symbols[number]) for number in self.template.frozen_numbers[near]]
        return np.array(kinds, dtype=int), self.template.frozen_positions[near]
