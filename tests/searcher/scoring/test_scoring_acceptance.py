"""Verdicts on a batch: each gate, and that the order of arrival cannot matter."""

import numpy as np
import pytest

from searcher.scoring.acceptance import AcceptanceSettings, Minimum, judge_batch
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.known_set import KnownSet
from searcher.scoring.novelty import Fingerprint
from searcher.scoring.thermodynamics import Line

SETTINGS = AcceptanceSettings()
KNOWN_LINES = {"seed": Line(0.070, 0.0), "rich": Line(0.020, -0.05)}
DELTA_MU_O = -0.5


def fingerprint(direction, excess=0.0):
    """One O atom whose vector points along an axis: κ between two different axes is √2."""
    rows = np.zeros((1, 8), dtype=np.float32)
    rows[0, direction] = 1.0
    local = LocalVectors({"O": rows}, {"O": np.array([0])})
    return Fingerprint(local, local, excess)


def minimum(name, direction, gamma0=0.08, excess=0.0):
    return Minimum(name, Line(gamma0, 0.0), fingerprint(direction, excess))


@pytest.fixture
def known():
    seeds = KnownSet()
    seeds.add("seed", fingerprint(0).whole, 0.0)
    return seeds


def judge(candidates, known):
    return {j.id: j for j in judge_batch(candidates, known, KNOWN_LINES, SETTINGS, (-1.68, 0.0), delta_mu_o=DELTA_MU_O)}


def test_each_gate(known):
    verdicts = judge(
        [
            minimum("new", 1),
            minimum("old", 0),
            minimum("again", 1, gamma0=0.09),
            minimum("dear", 2, gamma0=0.0951),
            minimum("just", 3, gamma0=0.0949),
        ],
        known,
    )
    assert {name: j.reason for name, j in verdicts.items()} == {
        "new": None,
        "old": "known",
        "again": "duplicate_in_batch",
        "dear": "above_margin",
        "just": None,
    }
    assert [verdicts[name].verdict for name in ("new", "old")] == ["accepted", "rejected"]
    assert verdicts["again"].duplicate_of == "new"
    assert (verdicts["again"].unique, verdicts["again"].novel) == (False, True)
    assert (verdicts["old"].unique, verdicts["old"].novel) == (True, False)
    assert verdicts["old"].nearest == "seed"
    assert verdicts["new"].kappa == pytest.approx(np.sqrt(2.0))
    # Nearest to the envelope at the oxygen-poor end, where it is the seed's 70 meV/Å².
    assert verdicts["new"].distance_to_envelope == pytest.approx(0.010)


def test_the_stabler_of_two_equal_ones_is_kept(known):
    verdicts = judge([minimum("a", 1, gamma0=0.085), minimum("b", 1, gamma0=0.080)], known)
    assert verdicts["b"].verdict == "accepted"
    assert verdicts["a"].duplicate_of == "b"


def test_ties_are_settled_by_id(known):
    verdicts = judge([minimum("b", 1), minimum("a", 1)], known)
    assert verdicts["a"].verdict == "accepted"
    assert verdicts["b"].duplicate_of == "a"


def test_order_of_arrival_does_not_matter(known):
    rng = np.random.default_rng(0)
    batch = [minimum(f"c{n:02d}", int(rng.integers(0, 8)), 0.07 + 0.005 * int(rng.integers(0, 8))) for n in range(30)]
    expected = judge_batch(batch, known, KNOWN_LINES, SETTINGS, delta_mu_o=DELTA_MU_O)
    for _ in range(5):
        rng.shuffle(batch)
        assert judge_batch(batch, known, KNOWN_LINES, SETTINGS, delta_mu_o=DELTA_MU_O) == expected


def test_rejected_minima_count_for_those_after_them(known):
    dear = minimum("a", 2, gamma0=0.2)
    verdicts = judge([dear, minimum("b", 2, gamma0=0.21)], known)
    assert verdicts["a"].reason == "above_margin"
    assert verdicts["b"].duplicate_of == "a"


def test_other_composition_is_no_duplicate(known):
    verdicts = judge([minimum("a", 1), minimum("b", 1, excess=0.05)], known)
    assert verdicts["b"].verdict == "accepted"


def test_known_set_and_envelope_stay_as_they_are(known):
    # A far better one earlier in the batch does not push the margin of those after it.
    verdicts = judge([minimum("best", 1, gamma0=-0.5), minimum("fair", 2, gamma0=0.09)], known)
    assert verdicts["fair"].verdict == "accepted"
    assert verdicts["best"].distance_to_envelope < 0.0
    assert known.ids == ("seed",)


def test_empty_batch(known):
    assert judge([], known) == {}


def test_nothing_known_makes_everything_novel():
    verdict = judge([minimum("a", 0)], KnownSet())["a"]
    assert verdict.novel
    assert verdict.kappa == float("inf")
    assert verdict.nearest is None


def test_mistakes_are_refused(known):
    with pytest.raises(ValueError, match="twice"):
        judge([minimum("a", 1), minimum("a", 2)], known)
    with pytest.raises(ValueError, match="not finite"):
        judge([minimum("a", 1, gamma0=float("nan"))], known)
    with pytest.raises(ValueError, match="empty"):
        judge_batch([], known, {}, SETTINGS, delta_mu_o=DELTA_MU_O)
    with pytest.raises(ValueError, match="meV"):
        AcceptanceSettings(margin=25.0)
    with pytest.raises(ValueError, match="kappa_min"):
        AcceptanceSettings(kappa_min=-0.1)
