"""The order in which proposals are relaxed, and the waves in which their force calls are spent."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from rich.console import Console

from searcher.campaign.arms.knowledge import Knowledge
from searcher.campaign.arms.known import describe_known
from searcher.campaign.arms.ranking import Guess, in_order, n_worth_calls
from searcher.campaign.arms.waves import outcomes_before
from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.campaign import open_campaign
from searcher.campaign.early_stopping import EARLY_REASONS
from searcher.campaign.loop import run_campaign
from searcher.campaign.snapshot import Snapshot, found_among, take_snapshot, tried_among
from searcher.campaign.storage.candidate import Candidate, Gate
from searcher.config import ScreeningSection
from searcher.loading import load_config
from searcher.results.status import saved_calls
from searcher.scoring.energy_classes import EnergyClasses


@dataclass
class Frame:
    classes: EnergyClasses


SMALL = Path(__file__).parents[3] / "configs" / "small.yaml"
FRAME = Frame(EnergyClasses((0.005, 0.010, 0.020)))
SETTINGS = ScreeningSection(explored=0.0, class_handicap_mev_per_A2=0.0, deviations=0.0, rank="height")
MARGIN = 0.025


def candidates(n):
    return [Candidate(f"000-gan-{i:05d}", 0, "gan", i, 0, passed=Gate.VALID) for i in range(n)]


def order(heights, counts, spreads=None, **settings):
    found = candidates(len(heights))
    spreads = spreads or [0.001] * len(heights)
    guesses = {c.id: Guess(h, d) for c, h, d in zip(found, heights, spreads, strict=True)}
    oxygen = {c.id: n for c, n in zip(found, counts, strict=True)}
    chosen = in_order(found[::-1], oxygen, guesses, FRAME, SETTINGS.model_copy(update=settings), {}, MARGIN)
    return [c.index for c in chosen]


def test_the_lowest_guess_goes_first_and_oxygen_counts_take_turns():
    assert order([0.03, 0.01, 0.02, 0.001], [8, 8, 8, 9]) == [1, 3, 2, 0]
    assert order([0.03, 0.01, 0.02, 0.001], [8, 8, 8, 9], composition_quota=False) == [3, 1, 2, 0]


def test_hope_counts_as_much_as_it_is_told():
    assert order([0.02, 0.03], [8, 8], [0.001, 0.02]) == [0, 1]
    assert order([0.02, 0.03], [8, 8], [0.001, 0.02], deviations=1.0) == [1, 0]


def test_a_class_that_had_its_turn_is_put_back():
    heights = [0.011, 0.012, 0.013, 0.021]  # three of one class, one of the next
    assert order(heights, [8] * 4) == [0, 1, 2, 3]
    assert order(heights, [8] * 4, class_handicap_mev_per_A2=6.0) == [0, 1, 3, 2]


def test_a_share_of_the_places_goes_to_the_least_certain():
    heights, spreads = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06], [0.001, 0.001, 0.001, 0.001, 0.001, 0.02]
    assert order(heights, [8] * 6, spreads, explored=0.25).index(5) == 2
    assert order(heights, [8] * 6, spreads).index(5) == 5


def test_of_equally_uncertain_ones_the_lowest_of_the_rarest_composition_is_explored():
    heights, counts = [0.01, 0.02, 0.05, 0.03, 0.04], [8, 8, 9, 7, 7]
    explored = {"composition_quota": False, "explored": 0.5}
    assert order(heights, counts, **explored) == [0, 3, 1, 2, 4]


def test_what_is_told_above_the_margin_is_not_worth_calls_but_for_what_is_explored():
    guesses = [Guess(height, 0.003) for height in (0.010, 0.020, 0.024, 0.027, 0.029, 0.050)]
    assert n_worth_calls(guesses, SETTINGS, MARGIN) == 3
    assert n_worth_calls(guesses, SETTINGS.model_copy(update={"deviations": 1.0}), MARGIN) == 4
    assert n_worth_calls(guesses, SETTINGS.model_copy(update={"explored": 0.25}), MARGIN) == 4
    assert n_worth_calls(guesses[4:], SETTINGS.model_copy(update={"explored": 1.0}), MARGIN) == 0


def test_what_is_surely_known_is_worth_nothing_and_what_lies_above_the_margin_little():
    sure, far, unsure = Guess(0.005, 0.0), Guess(0.040, 0.0), Guess(0.040, 0.020)
    assert sure.gain(MARGIN) == pytest.approx(0.020) and far.gain(MARGIN) == 0.0
    assert 0.0 < unsure.gain(MARGIN) < sure.gain(MARGIN)
    assert replace(sure, new=0.0).gain(MARGIN) == 0.0
    assert replace(sure, new=0.25).gain(MARGIN) == pytest.approx(0.25 * sure.gain(MARGIN))
    # a normal distribution of heights, averaged over what lies below the margin
    heights = unsure.mean + unsure.deviation * np.random.default_rng(1).normal(size=200_000)
    assert unsure.gain(MARGIN) == pytest.approx(np.maximum(0.0, MARGIN - heights).mean(), rel=0.02)


def test_by_gain_the_new_goes_before_the_low():
    found = candidates(3)
    guesses = {c.id: Guess(h, 0.001, p) for c, h, p in zip(found, [0.002, 0.010, 0.024], [0.1, 0.9, 1.0], strict=True)}
    oxygen = dict.fromkeys(guesses, 8)
    by = {rank: SETTINGS.model_copy(update={"rank": rank}) for rank in ("gain", "height")}
    chosen = {rank: in_order(found, oxygen, guesses, FRAME, settings, {}, MARGIN) for rank, settings in by.items()}
    assert [c.index for c in chosen["gain"]] == [1, 0, 2] and [c.index for c in chosen["height"]] == [0, 1, 2]


def test_without_guesses_the_order_is_that_of_the_ids():
    found = candidates(4)
    oxygen = {c.id: n for c, n in zip(found, [9, 8, 8, 8], strict=True)}
    assert [c.index for c in in_order(found[::-1], oxygen, {}, FRAME, SETTINGS, {}, MARGIN)] == [1, 0, 2, 3]


@pytest.mark.parametrize("seed", range(3))
def test_order_of_arrival_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    found = candidates(30)
    guesses = {c.id: Guess(*rng.uniform(0, 0.05, 2)) for c in found}
    oxygen = {c.id: int(rng.integers(6, 9)) for c in found}
    settings = ScreeningSection()
    shuffled = [found[int(i)] for i in rng.permutation(len(found))]
    ordered = [in_order(one, oxygen, guesses, FRAME, settings, {}, MARGIN) for one in (found, shuffled)]
    assert ordered[0] == ordered[1]


def test_no_oxygen_count_has_its_turn_twice():
    found = candidates(4)
    oxygen = {c.id: n for c, n in zip(found, [8, 8, 9, 9], strict=True)}
    chosen = in_order(found, oxygen, {}, FRAME, SETTINGS, {8: 2}, MARGIN)
    assert [c.index for c in chosen] == [2, 3, 0, 1]
    alike = SETTINGS.model_copy(update={"composition_quota": False})
    assert [c.index for c in in_order(found, oxygen, {}, FRAME, alike, {8: 2}, MARGIN)] == [0, 1, 2, 3]


@contextmanager
def finished(runs, *overrides):
    config = load_config(SMALL, [f"runs={runs}", "execution.executor=inline", "budget.iterations=1", *overrides])
    campaign = open_campaign(config, Event())
    try:
        run_campaign(campaign, Console(quiet=True), lambda campaign, iteration: None)
        yield campaign
    finally:
        campaign.close()


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    with finished(tmp_path_factory.mktemp("runs")) as campaign:
        yield campaign


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """Moves alone, two relaxations a wave."""
    arms = "arms=[{name: moves, kind: hopping, share: 1.0, screening: {oversampling: 20}}]"
    with finished(tmp_path_factory.mktemp("moving"), arms, "budget.wave=2") as campaign:
        yield campaign


def test_waves_spend_the_calls_that_each_arm_may_spend(campaign):
    config = campaign.config
    for arm in config.arms:
        proposed = campaign.ledger.candidates(iteration=0, arm=arm.name)
        assert proposed and all(c.finished for c in proposed)
        assert [c.index for c in proposed] == list(range(len(proposed)))
        relaxed = [c for c in proposed if c.passed >= Gate.SELECTED]
        spent, longest = sum(c.force_calls for c in relaxed), config.relaxation["max_calls"]
        budget = arm.share * config.budget.force_calls_per_iteration
        # an arm ends when less than half a relaxation is left, and may overrun by what the last wave's lengths vary
        assert not relaxed or spent >= budget - longest
        assert relaxed or arm.name != "random"


def test_a_wave_knows_what_the_waves_before_it_found(moving):
    ledger = moving.ledger
    waves = list(takewhile(lambda wave: wave is not None, (ledger.stage(0, f"wave:{n}") for n in count())))
    ids = [{name for chosen in wave.values() for name in chosen} for wave in waves]
    assert len([wave for wave in ids if wave]) >= 3 and not ids[-1]
    assert sum(map(len, ids)) == len(set().union(*ids)) == len(ledger.candidates(iteration=0, reached=Gate.SELECTED))


def test_knowledge_that_grew_is_knowledge_of_all(moving):
    snapshot, config = take_snapshot(moving.ledger, 0), moving.config
    problem = prepare(moving, Console(quiet=True))
    ids = [c.id for c in moving.ledger.candidates(iteration=0)]
    found, tried = found_among(moving.ledger, ids), tried_among(moving.ledger, ids)
    assert len(found) > 3 and tried
    grown = Knowledge(moving, problem, snapshot, config.arms[0].screening)
    for one in found:
        grown.learn([one])
    for attempt in tried:
        grown.learn([], [attempt])
    whole = Knowledge(moving, problem, Snapshot(0, snapshot.known + found, tried), config.arms[0].screening)
    assert grown.snapshot == whole.snapshot and grown.basins.lines == whole.basins.lines
    keys = {one.structure for one in found} | {one.start for one in tried}
    queries = [moving.fingerprints.of({key: moving.ledger.structure(key)})[key] for key in sorted(keys)]
    assert grown.basins.nearest(queries) == whole.basins.nearest(queries)


def test_every_relaxation_teaches_whether_its_start_was_far_enough(moving):
    relaxed = {c.id: c for c in moving.ledger.candidates(iteration=0, reached=Gate.SELECTED)}
    told = outcomes_before(moving, 1)
    again = [c for c in relaxed.values() if c.reason in ("known_minimum", "known", "duplicate_in_batch")]
    new = [c for c in relaxed.values() if c.passed >= Gate.NOVEL]
    assert (sum(not one.new for one in told), sum(one.new for one in told)) == (len(again), len(new))
    assert again and new and min(one.kappa for one in told) > moving.config.acceptance.kappa_min


def test_where_a_relaxation_in_vain_began_counts_as_known(moving):
    snapshot = take_snapshot(moving.ledger, 1)
    vain = [c for c in moving.ledger.candidates(iteration=0, reached=Gate.SELECTED) if c.passed < Gate.VALID_RELAXED]
    assert vain and [one.id for one in snapshot.tried] == [c.id for c in vain]
    problem = prepare(moving, Console(quiet=True))
    basins = describe_known(moving, problem, snapshot, True)
    start = snapshot.tried[0]
    whole = moving.fingerprints.of({start.id: moving.ledger.structure(start.start)})[start.id]
    free = whole.subset(range(problem.template.n_frozen, len(moving.ledger.structure(start.start))))
    kappa, nearest = basins.nearest([free])[0]
    assert kappa < 0.005, "single precision"
    assert nearest == start.id


def test_a_later_wave_drops_what_leads_where_an_earlier_one_has_been(moving):
    dropped = [c for c in moving.ledger.candidates(iteration=0) if c.reason == "known_basin"]
    assert any(c.nearest.split("@")[0].startswith("000-") for c in dropped)


def test_what_early_stops_saved_is_told(campaign):
    for arm in ("gan", "random"):
        saved = saved_calls(campaign.ledger, arm)
        assert set(saved) == set(EARLY_REASONS) and min(saved.values()) >= 0.0
        stopped = [c for c in campaign.ledger.candidates(arm=arm) if c.reason in EARLY_REASONS]
        assert stopped or not any(saved.values())
