"""A trained generator's noise and conditions searched for what a cheap predictor promises low.

Each proposal has a population of its own, which begins at noise of its own and is led by CMA-ES (Hansen and Ostermeier,
Evolutionary Computation 9, 159, 2001) with a diagonal covariance (Ros and Hansen, PPSN X, 2008): many short searches,
each near where it began, instead of one that ends in one place.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from generators.proposal import Condition, Proposal, TrainingRecord

GUMBEL_SPREAD = math.pi / math.sqrt(6.0)


@dataclass(frozen=True)
class Promise:
    """What is expected of proposals, in any unit; less is better.

    Attributes
    ----------
    mean, deviation : numpy.ndarray, shape (n,)
        `mean` is NaN for a proposal that is of no use.
    """

    mean: np.ndarray
    deviation: np.ndarray


Predictor = Callable[[Sequence[Proposal]], Promise]


class LatentGenerator(Protocol):
    """What is searched: a generator that makes proposals of given noise."""

    @property
    def latent(self) -> int:
        """How many numbers of noise, each of spread 1, a proposal is made from."""

    def fit(self, records: Sequence[TrainingRecord], rng: np.random.Generator) -> None:
        """Learn from an iteration's training set."""

    def condition_choices(self, condition: Condition) -> tuple[np.ndarray, np.ndarray]:
        """Rows of conditions (n_rows, n_conditions) that agree with given values, and the probability of each."""

    def propose(self, noise: np.ndarray, rows: np.ndarray) -> list[Proposal]:
        """One proposal for each row of noise (n, latent) and of conditions (n, n_conditions)."""


@dataclass(frozen=True)
class LatentSearchSettings:
    """How long and how far is searched.

    Attributes
    ----------
    starts : int
        Random noise rows of each population, of which the best begins.
    population : int
        Proposals of each generation.
    generations : int
        0 keeps the best start.
    step : float
        First standard deviation of a population, in units of the noise's own.
    deviations : float
        How many standard deviations below the mean a proposal may be hoped to lie: lower confidence bound.
    """

    starts: int = 32
    population: int = 11
    generations: int = 4
    step: float = 0.4
    deviations: float = 1.0

    def __post_init__(self) -> None:
        rules = {
            "starts": (self.starts >= 1, "at least 1"),
            "population": (self.population >= 2, "at least 2"),
            "generations": (self.generations >= 0, "at least 0"),
            "step": (self.step > 0.0, "positive"),
            "deviations": (self.deviations >= 0.0, "at least 0"),
        }
        for name, (fine, rule) in rules.items():
            if not fine:
                raise ValueError(f"`{name}` is {getattr(self, name)} but must be {rule}")


class LatentSearch:
    r"""A generator whose proposals are searched for instead of drawn.

    Noise is used at the length √`latent`, near which nearly all of a Gaussian's rows lie, so that a population cannot
    leave what the generator was trained on. Conditions without a value are searched as well: each of their rows has a
    coordinate x, and the row with the largest x + log share is asked for. Coordinates begin as Gumbel numbers, which
    makes a start's row one drawn by the shares, and a population's first spread in them is that of such numbers.

    Parameters
    ----------
    generator : LatentGenerator
    predictor : callable
        What is promised of decoded proposals.
    settings : LatentSearchSettings, optional
    """

    def __init__(
        self, generator: LatentGenerator, predictor: Predictor, settings: LatentSearchSettings | None = None
    ) -> None:
        self.generator, self.predictor = generator, predictor
        self.settings = settings or LatentSearchSettings()

    def fit(self, records: Sequence[TrainingRecord], rng: np.random.Generator) -> None:
        """Train the generator."""
        self.generator.fit(records, rng)

    def sample(self, n: int, condition: Condition, rng: np.random.Generator) -> list[Proposal]:
        """Propose `n` structures, the best that each of `n` populations has met.

        Parameters
        ----------
        n : int
        condition : mapping of str to number
        rng : numpy.random.Generator
            Each population draws from a child of its own.

        Raises
        ------
        ValueError
            If a condition is unknown or outside its range, or the predictor's answer does not fit.
        """
        if n == 0:
            return []
        rows, shares = self.generator.condition_choices(condition)
        rows, shares = rows[shares > 0.0], shares[shares > 0.0]
        populations = [_Population(random, self.settings, self.generator.latent, len(rows)) for random in rng.spawn(n)]
        for _ in range(1 + self.settings.generations):
            asked = [population.ask() for population in populations]
            proposals, bounds = self._tried(np.concatenate(asked), rows, shares)
            begin = 0
            for population, points in zip(populations, asked, strict=True):
                part = slice(begin, begin + len(points))
                population.tell(points, bounds[part], proposals[part])
                begin += len(points)
        return [population.best for population in populations]

    def _tried(self, points: np.ndarray, rows: np.ndarray, shares: np.ndarray) -> tuple[list[Proposal], np.ndarray]:
        """Proposals of points (n, latent [+ n_rows]) and their lower confidence bounds (n,), NaN without one."""
        noise, scores = np.split(points, [self.generator.latent], axis=1)
        chosen = np.argmax(scores + np.log(shares), axis=1) if len(rows) > 1 else np.zeros(len(points), dtype=int)
        length = np.linalg.norm(noise, axis=1, keepdims=True)
        proposals = self.generator.propose(math.sqrt(noise.shape[1]) * noise / length, rows[chosen])
        bounds = np.full(len(points), np.nan)
        readable = [index for index, proposal in enumerate(proposals) if proposal.reason is None]
        if readable:
            promise = self.predictor([proposals[index] for index in readable])
            if promise.mean.shape != (len(readable),) or promise.deviation.shape != (len(readable),):
                raise ValueError(
                    f"`predictor` answered with {promise.mean.shape} means and {promise.deviation.shape} deviations "
                    f"for {len(readable)} proposals"
                )
            bounds[readable] = promise.mean - self.settings.deviations * promise.deviation
        return proposals, bounds


class _Population:
    """One search, from random points to the best proposal it has met."""

    best: Proposal

    def __init__(self, random: np.random.Generator, settings: LatentSearchSettings, latent: int, n_rows: int) -> None:
        self._random, self._settings = random, settings
        self._latent, self._n_scores = latent, n_rows if n_rows > 1 else 0
        self._strategy: Any = None
        self._lowest = math.inf

    def ask(self) -> np.ndarray:
        """Points (n, latent + n_rows) to try next."""
        if self._strategy is not None:
            return np.array(self._strategy.ask())
        noise = self._random.standard_normal((self._settings.starts, self._latent))
        return np.hstack([noise, self._random.gumbel(size=(self._settings.starts, self._n_scores))])

    def tell(self, points: np.ndarray, bounds: np.ndarray, proposals: Sequence[Proposal]) -> None:
        """Learn what the points were worth; one without a bound is worth less than every one that has one."""
        finite = np.isfinite(bounds)
        worth = np.where(finite, bounds, 1.0 + (bounds[finite].max() if finite.any() else 0.0))
        first = int(np.argmin(worth))
        if self._strategy is None:
            self.best = proposals[first]
            if self._settings.generations:
                self._strategy = self._begun(points[first])
        else:
            self._strategy.tell(list(points), worth.tolist())
        if finite.any() and bounds[first] < self._lowest:
            self.best, self._lowest = proposals[first], float(bounds[first])

    def _begun(self, point: np.ndarray) -> Any:
        import cma  # takes seconds, and most generators are not searched

        options = {
            "popsize": self._settings.population,
            "CMA_diagonal": True,
            "CMA_stds": [1.0] * self._latent + [GUMBEL_SPREAD / self._settings.step] * self._n_scores,
            "randn": lambda *shape: self._random.standard_normal(shape),
            "seed": math.nan,  # numpy's global state stays as it is
            "verbose": -9,
            "verb_log": 0,
        }
        return cma.CMAEvolutionStrategy(point, self._settings.step, options)
