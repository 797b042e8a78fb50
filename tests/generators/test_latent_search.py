"""Searching a generator's noise: never worse than drawing, apart, on the noise's own shell, repeatable."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from generators.latent_search import LatentSearch, LatentSearchSettings, Promise
from generators.proposal import Condition, Proposal, Proposer, TrainingRecord

LATENT = 8
SETTINGS = LatentSearchSettings(starts=2, population=8, generations=12, step=0.5)


class Pointing:
    """A generator whose one atom stands where the first three numbers of the noise say; cells of its conditions."""

    latent = LATENT

    def __init__(self, shares: Sequence[float] = (1.0,), unreadable: bool = False) -> None:
        self.shares, self.unreadable = np.array(shares), unreadable
        self.norms: list[float] = []

    def fit(self, records: Sequence[TrainingRecord], rng: np.random.Generator) -> None:
        raise AssertionError("not trained here")

    def condition_choices(self, condition: Condition) -> tuple[np.ndarray, np.ndarray]:
        if "kind" in condition:
            return np.array([[condition["kind"]]]), np.ones(1)
        return np.arange(len(self.shares))[:, None], self.shares

    def propose(self, noise: np.ndarray, rows: np.ndarray) -> list[Proposal]:
        self.norms += np.linalg.norm(noise, axis=1).tolist()
        return [
            Proposal(np.array([8]), row[None, :3], {"kind": int(kind)}, 1.0, self._reason(row))
            for row, (kind,) in zip(noise, rows, strict=True)
        ]

    def _reason(self, row: np.ndarray) -> str | None:
        return "blurred" if self.unreadable or row[3] > 1.0 else None


def places(proposals: Sequence[Proposal]) -> np.ndarray:
    return np.array([proposal.positions[0] for proposal in proposals])


def height(proposals: Sequence[Proposal]) -> Promise:
    """Low towards +x, unsure towards +y, more so for kind 2; of no use below z = −1."""
    at = places(proposals)
    kinds = np.array([proposal.condition["kind"] for proposal in proposals])
    mean = -at[:, 0] - 10.0 * (kinds == 2)
    return Promise(np.where(at[:, 2] < -1.0, np.nan, mean), np.abs(at[:, 1]))


def searched(
    generator: Pointing, settings: LatentSearchSettings = SETTINGS, n: int = 6, seed: int = 0
) -> list[Proposal]:
    source: Proposer = LatentSearch(generator, height, settings)
    return source.sample(n, {}, np.random.default_rng(seed))


def bound(proposals: Sequence[Proposal], deviations: float = 1.0) -> np.ndarray:
    promise = height(proposals)
    return promise.mean - deviations * promise.deviation


def test_searching_longer_promises_more_and_never_less() -> None:
    """Populations draw the same numbers, so each has met what the shorter search met."""
    found = [bound(searched(Pointing(), LatentSearchSettings(2, 8, g, 0.5))) for g in (0, 1, 4, 16)]
    found = [np.nan_to_num(bounds, nan=10.0) for bounds in found]
    for shorter, longer in pairwise(found):
        assert (longer <= shorter).all()
    assert found[-1].mean() < found[0].mean() - 1.0


def test_each_population_stays_near_where_it_began() -> None:
    """What is promised low twice over, at +y and −y, is found at both: one population would end at one."""
    assert len({np.sign(place[1]) for place in places(searched(Pointing(), n=12))}) == 2


def test_noise_has_the_length_of_noise() -> None:
    generator = Pointing()
    searched(generator)
    np.testing.assert_allclose(generator.norms, np.sqrt(LATENT), rtol=1e-12)  # rounding
    assert len(generator.norms) == 6 * (SETTINGS.starts + SETTINGS.population * SETTINGS.generations)


def test_what_is_of_no_use_is_kept_only_where_nothing_else_was_met() -> None:
    assert np.isfinite(bound(searched(Pointing()))).all()
    unreadable = searched(Pointing(unreadable=True), n=3)
    assert [proposal.reason for proposal in unreadable] == ["blurred"] * 3


def test_conditions_without_a_value_are_searched() -> None:
    generator = Pointing(shares=(0.5, 0.45, 0.05))
    kinds = [proposal.condition["kind"] for proposal in searched(generator, n=8)]
    drawn = [p.condition["kind"] for p in searched(generator, LatentSearchSettings(1, 8, 0), n=400)]
    assert kinds.count(2) >= 6
    assert drawn.count(2) / 400 == pytest.approx(0.05, abs=0.04)  # four standard errors
    asked = LatentSearch(generator, height, SETTINGS).sample(4, {"kind": 1}, np.random.default_rng(0))
    assert [proposal.condition["kind"] for proposal in asked] == [1] * 4


def test_deviations_say_how_much_is_hoped_for() -> None:
    timid, bold = (searched(Pointing(), LatentSearchSettings(2, 8, 16, 0.5, deviations)) for deviations in (0.0, 5.0))
    assert np.abs(places(bold)[:, 1]).mean() > np.abs(places(timid)[:, 1]).mean() + 0.5


def test_a_function_of_its_generator_alone() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr] # noqa: NPY002
    first, again, other = (places(searched(Pointing(), seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index] # noqa: NPY002
    assert searched(Pointing(), n=0) == []


@pytest.mark.parametrize("settings", [{"starts": 0}, {"population": 1}, {"generations": -1}, {"step": 0.0}])
def test_settings_outside_their_ranges_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
        LatentSearchSettings(**settings)  # type: ignore[arg-type]


def test_a_predictor_that_answers_for_others_is_refused() -> None:
    source = LatentSearch(Pointing(), lambda proposals: Promise(np.zeros(1), np.zeros(1)), SETTINGS)
    with pytest.raises(ValueError, match="`predictor` answered"):
        source.sample(4, {}, np.random.default_rng(0))
