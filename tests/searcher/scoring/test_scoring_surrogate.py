"""Laws of the surrogate: it learns what there is to learn, knows where it knows nothing, and never draws lots."""

import numpy as np
import pytest

from searcher.scoring.surrogate import FEWEST, LARGEST_TRAINING_SET, HeightSurrogate

RNG = np.random.default_rng(3)
EXAMPLES = RNG.normal(size=(120, 12))
HEIGHTS = 0.05 + 0.02 * EXAMPLES[:, 0] + 0.01 * EXAMPLES[:, -1] ** 2


def test_it_ranks_what_it_has_not_seen():
    surrogate = HeightSurrogate(EXAMPLES[:100], HEIGHTS[:100])
    found = surrogate.predict(EXAMPLES[100:])
    rest = HEIGHTS[100:] - found.mean
    assert rest.std() < 0.5 * HEIGHTS[100:].std()


def test_it_is_less_certain_far_from_everything_known():
    surrogate = HeightSurrogate(EXAMPLES, HEIGHTS)
    near, far = surrogate.predict([EXAMPLES[0], EXAMPLES[0] + 50.0]).deviation
    assert far > 2 * near
    prediction = surrogate.predict([EXAMPLES[0]])
    assert prediction.optimistic(2.0)[0] == pytest.approx(prediction.mean[0] - 2 * prediction.deviation[0], abs=1e-12)


def test_equal_examples_give_equal_bits():
    one, two = (HeightSurrogate(EXAMPLES, HEIGHTS).predict(EXAMPLES[:7]) for _ in range(2))
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.deviation, two.deviation)


def test_what_was_tuned_is_kept_until_there_is_much_more():
    few = HeightSurrogate(EXAMPLES[:60], HEIGHTS[:60])
    # 80 are not 1.5 times 60: the same kernel, and all 80 examples learned from
    grown = HeightSurrogate(EXAMPLES[:80], HEIGHTS[:80], few)
    assert grown.predict(EXAMPLES[60:80]).deviation.mean() < few.predict(EXAMPLES[60:80]).deviation.mean()
    assert np.abs(grown.predict(EXAMPLES[:60]).mean - HeightSurrogate(EXAMPLES[:80], HEIGHTS[:80]).predict(
        EXAMPLES[:60]).mean).max() > 0.0  # fmt: skip
    # 120 are: tuned as if there had been nothing before
    whole, again = HeightSurrogate(EXAMPLES, HEIGHTS), HeightSurrogate(EXAMPLES, HEIGHTS, grown)
    np.testing.assert_array_equal(whole.predict(EXAMPLES[:9]).mean, again.predict(EXAMPLES[:9]).mean)


def test_a_large_archive_is_thinned_and_an_empty_query_is_answered():
    many = np.tile(EXAMPLES, (LARGEST_TRAINING_SET // len(EXAMPLES) + 2, 1))
    heights = np.tile(HEIGHTS, len(many) // len(HEIGHTS))
    many = many + RNG.normal(scale=1e-3, size=many.shape)
    assert HeightSurrogate(many, heights).predict([]).mean.shape == (0,)


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(ValueError, match="fewest"):
        HeightSurrogate(EXAMPLES[: FEWEST - 1], HEIGHTS[: FEWEST - 1])
    with pytest.raises(ValueError, match="not finite"):
        HeightSurrogate(EXAMPLES, np.where(np.arange(120) == 5, np.nan, HEIGHTS))
