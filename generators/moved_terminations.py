"""Moves of basin hopping as a source of proposals: each begins at a termination that is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from generators.crossover import cut_and_splice
from generators.moves import cartesian_move, delocalized_move, insert_oxygen, remove_oxygen
from generators.overlaps import DistanceTable, push_apart
from generators.proposal import Condition, Proposal, TrainingRecord
from generators.template import Template

OXYGEN = 8
NO_SITE = "no_site"
MOVES = ("delocalized", "cartesian")


@dataclass(frozen=True)
class MoveSettings:
    """How a known termination is changed.

    Attributes
    ----------
    moves : "delocalized" or "cartesian"
        Kind of displacement.
    step_length : float
        Largest Cartesian component of a displacement in Å.
    mode_fraction : float
        Share of the delocalized coordinates in one displacement.
    oxygen_probability : float
        How often an oxygen atom is inserted or removed instead.
    relocation_probability : float
        How often an oxygen atom is taken away and put elsewhere instead.
    crossover_probability : float
        How often half of the cell is taken from another known termination instead.
    """

    moves: str = "delocalized"
    step_length: float = 1.2
    mode_fraction: float = 0.25
    oxygen_probability: float = 0.25
    relocation_probability: float = 0.25
    crossover_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.moves not in MOVES:
            raise ValueError(f"`moves` is {self.moves!r} but must be one of {list(MOVES)}")
        if not self.step_length > 0.0 or not 0.0 < self.mode_fraction <= 1.0:
            raise ValueError(
                f"`step_length` is {self.step_length} Å (must be positive), `mode_fraction` {self.mode_fraction} "
                "(above 0, at most 1)"
            )
        shares = (self.oxygen_probability, self.relocation_probability, self.crossover_probability)
        if min(shares) < 0.0 or sum(shares) > 1.0 + 1e-9:
            raise ValueError(
                f"`oxygen_probability` is {shares[0]}, `relocation_probability` {shares[1]} and "
                f"`crossover_probability` {shares[2]}; none may be negative nor may they exceed 1 together"
            )


class MovedTerminations:
    """Random moves of known terminations.

    Parameters
    ----------
    template : Template
    counts : mapping of str to (int, int)
        Smallest and largest number of free atoms per element.
    min_distances : mapping of str to float
        Å per pair of elements; moved atoms a little nearer than this are pushed apart.
    settings : MoveSettings, optional
    """

    def __init__(
        self,
        template: Template,
        counts: Mapping[str, tuple[int, int]],
        min_distances: Mapping[str, float],
        settings: MoveSettings | None = None,
    ) -> None:
        self.template, self.settings = template, settings or MoveSettings()
        self._oxygen_range = counts["O"]
        self._min_distances = dict(min_distances)
        self._least = DistanceTable(min_distances)
        self._parents: list[TrainingRecord] = []
        self._shares = np.empty(0)

    def fit(self, records: Sequence[TrainingRecord], rng: np.random.Generator) -> None:
        """Take over the terminations that moves begin at, each drawn in proportion to its weight.

        Parameters
        ----------
        records : sequence of TrainingRecord
        rng : numpy.random.Generator
            Not drawn from.

        Raises
        ------
        ValueError
            If there is none, or no weight is positive.
        """
        weights = np.array([record.weight for record in records], dtype=float)
        if not len(weights) or not np.isfinite(weights).all() or weights.sum() <= 0.0:
            raise ValueError(f"`records` holds {len(records)} terminations to move, none with a positive weight")
        self._parents, self._shares = list(records), weights / weights.sum()

    def sample(self, n: int, condition: Condition, rng: np.random.Generator) -> list[Proposal]:
        """Move `n` terminations, each once; where an oxygen finds no site, with the reason ``"no_site"``.

        Parameters
        ----------
        condition : mapping
            Handed on; moves know no conditions.
        """
        parents = rng.choice(len(self._parents), size=n, p=self._shares)
        return [self._moved(self._parents[parent], condition, rng) for parent in parents]

    def _moved(self, parent: TrainingRecord, condition: Condition, rng: np.random.Generator) -> Proposal:
        template, drawn = self.template, rng.random()
        if drawn < self.settings.crossover_probability:
            other = self._parents[rng.choice(len(self._parents), p=self._shares)]
            parents = (parent.numbers, parent.positions), (other.numbers, other.positions)
            numbers, positions = cut_and_splice(*parents, template, rng)
            return Proposal(numbers, push_apart(numbers, positions, template, self._least), condition)
        numbers = np.concatenate([template.frozen_numbers, parent.numbers])
        positions = np.concatenate([template.frozen_positions, parent.positions])
        found = self._changed(numbers, positions, drawn - self.settings.crossover_probability, rng)
        if found is None:
            return Proposal(np.empty(0, dtype=int), np.empty((0, 3)), condition, 1.0, NO_SITE)
        free_numbers, free_positions = (part[template.n_frozen :] for part in found)
        return Proposal(free_numbers, push_apart(free_numbers, free_positions, template, self._least), condition)

    def _changed(
        self, numbers: np.ndarray, positions: np.ndarray, drawn: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray] | None:
        settings, template = self.settings, self.template
        moving = np.arange(template.n_frozen, len(numbers))
        kind = self._kind(int(np.count_nonzero(numbers[moving] == OXYGEN)), drawn, rng)
        if kind == "insertion":
            return self._inserted(numbers, positions, rng)
        if kind in ("removal", "relocation"):
            without = remove_oxygen(numbers, positions, moving, rng)
            return without if without is None or kind == "removal" else self._inserted(*without, rng)
        if settings.moves == "cartesian":
            return numbers, cartesian_move(positions, moving, rng, settings.step_length)
        length, fraction = settings.step_length, settings.mode_fraction
        return numbers, delocalized_move(numbers, positions, template.cell, moving, rng, length, fraction)

    def _kind(self, n_oxygen: int, drawn: float, rng: np.random.Generator) -> str:
        settings = self.settings
        fewest, most = self._oxygen_range
        if drawn < settings.oxygen_probability:
            allowed = [*(["insertion"] if n_oxygen < most else []), *(["removal"] if n_oxygen > fewest else [])]
            return str(rng.choice(allowed)) if allowed else "displacement"
        if n_oxygen and drawn < settings.oxygen_probability + settings.relocation_probability:
            return "relocation"
        return "displacement"

    def _inserted(
        self, numbers: np.ndarray, positions: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray] | None:
        heights = (self.template.free_floor, self.template.free_ceiling)
        return insert_oxygen(numbers, positions, self.template.cell, heights, rng, self._min_distances["O-O"])
