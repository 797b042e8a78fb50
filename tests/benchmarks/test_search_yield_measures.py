"""Measures of the comparison on an invented pool whose figures are known."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.search_yield.campaign_arms import in_order
from benchmarks.search_yield.cells import CELLS, TINY, campaign_settings, merged
from benchmarks.search_yield.measures import (
    advantage,
    calls_forgone,
    calls_until,
    distinct,
    distinct_after,
    found_again,
    hypervolume,
    only_found_by,
)
from benchmarks.search_yield.pool import Pool, Search, Termination
from benchmarks.search_yield.records import ArmRun, Relaxation, in_turns, read_run, read_runs, record_path, write_run
from benchmarks.search_yield.variants import VARIANTS, variant
from searcher.campaign.storage.candidate import Candidate
from searcher.config import CampaignConfig
from searcher.scoring.thermodynamics import Envelope, Line

BUDGET = 1000
START, LOW = Line(0.10, 0.0), Line(0.06, 0.0)


def search(arm: str, seed: int, found: dict[int, int], lines, again=None) -> Search:
    run = ArmRun("cell", arm, "A", seed, BUDGET, BUDGET, 100.0, 20.0, [])
    return Search(run, len(lines), found, again or {}, lines, {})


@pytest.fixture
def pool() -> Pool:
    heights = [0.0, 0.005, 0.012, 0.024]
    terminations = [Termination(Line(0.06 + h, 0.0), h) for h in heights]
    searches = [
        search("good", 1, {0: 100, 1: 200, 2: 300, 3: 900}, [(10, START), (100, LOW)], {"O-rich": 400}),
        search("good", 2, {0: 150, 1: 250, 2: 800}, [(10, START), (150, LOW)], {"O-rich": None}),
        search("poor", 1, {1: 500}, [(10, START)], {"O-rich": None}),
    ]
    return Pool(terminations, Envelope({"low": LOW}, (-1.0, 0.0)), searches)


def test_counts_rise_at_each_first_sight(pool):
    calls = np.array([0, 100, 250, 1000])
    assert distinct_after(pool, pool.searches[0], 0.025, calls).tolist() == [0, 1, 2, 4]
    assert distinct_after(pool, pool.searches[0], 0.010, calls).tolist() == [0, 1, 2, 2]


def test_medians_over_seeds_stay_within_their_bands(pool):
    rng = np.random.default_rng(0)
    figure = distinct(pool, "good", 0.025, BUDGET, rng)
    assert figure.median == 4 and figure.low <= figure.median <= figure.high <= 4
    half = calls_until(pool, "good", 0.025, 0.5, rng)
    assert half.median == 250 and half.low <= half.median <= half.high
    assert calls_until(pool, "poor", 0.025, 0.5, rng).median == np.inf


def test_what_only_one_arm_found(pool):
    assert only_found_by(pool, "good", 0.025) == 3
    assert only_found_by(pool, "good", 0.010) == 1
    assert only_found_by(pool, "poor", 0.025) == 0


def test_hypervolume_goes_from_nothing_to_all(pool):
    assert hypervolume(pool, pool.searches[0], START, 50) == pytest.approx(0.0)
    assert hypervolume(pool, pool.searches[0], START, 100) == pytest.approx(1.0)
    assert hypervolume(pool, pool.searches[2], START, BUDGET) == pytest.approx(0.0)
    worse = search("arm", 1, {}, [(10, Line(0.2, 0.0)), (100, LOW)])  # what it happens to begin with has no say
    assert hypervolume(pool, worse, START, 50) == pytest.approx(0.0)
    assert hypervolume(pool, worse, START, 100) == pytest.approx(1.0)


def test_hypervolume_of_crossing_lines_is_the_area_between_them():
    # the envelope gains a triangle: from 0 at Δμ = −1 to 0.02 at 0, half of it won by a line half as steep
    rich, half = Line(0.08, -0.02), Line(0.09, -0.01)
    envelope = Envelope({"start": START, "rich": rich}, (-1.0, 0.0))
    found = search("arm", 1, {}, [(10, START), (20, half)])
    pool = Pool([], envelope, [found])
    assert hypervolume(pool, found, START, 20) == pytest.approx(0.5)


def test_the_loop_is_measured_against_the_best_of_the_others(pool):
    rng = np.random.default_rng(0)
    other = search("other", 1, {2: 500, 3: 600}, [(10, START)])
    with_both = Pool(pool.terminations, pool.envelope, [*pool.searches, other])
    found = advantage(with_both, "good", ["poor", "other"], 0.025, rng)
    assert found.median == pytest.approx(2.0) and 1.0 <= found.low <= 2.0 <= found.high
    assert advantage(with_both, "poor", ["good"], 0.025, rng).median == pytest.approx(0.25)


def test_time_is_told_in_calls_of_the_fastest_search(pool):
    slow = search("slow", 1, {}, [(10, START)])
    slow = replace(slow, run=replace(slow.run, wall_s=500.0))
    both = Pool(pool.terminations, pool.envelope, [pool.searches[0], slow])
    assert calls_forgone(both, both.searches[0]) == pytest.approx(0.0)
    assert calls_forgone(both, slow) == pytest.approx(4 * BUDGET)


def test_withheld_terminations_of_all_seeds_count(pool):
    assert found_again(pool, "good") == (0.5, np.inf)
    assert found_again(pool, "poor") == (0.0, np.inf)


def test_parts_of_a_budget_take_turns_and_spend_the_same():
    parts = [
        [Relaxation(10, [], [], 1.0, "a"), Relaxation(40, [], [], 2.0, "a")],
        [Relaxation(25, [], [], 3.0, "b")],
    ]
    merged_parts = in_turns(parts)
    assert [(r.energy, r.calls) for r in merged_parts] == [(1.0, 10), (3.0, 35), (2.0, 65)]


def test_records_come_back_as_they_were(tmp_path):
    run = ArmRun("cell", "arm", "A", 1, 10, 12, 1.5, 0.5, [Relaxation(12, [8], [[0.0, 1.0, 2.0]], -3.0, "seed")])
    path = record_path(tmp_path, "A", "cell", "arm", 1)
    assert read_run(path) is None
    write_run(path, run)
    found = read_run(path)
    assert found is not None and found.relaxations == run.relaxations and found.versions["numpy"]
    assert [one.arm for one in read_runs(tmp_path, "A")] == ["arm"] and not read_runs(tmp_path, "B")


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("cell", [*CELLS.values(), TINY], ids=lambda cell: cell.name)
def test_every_variant_is_a_configuration_of_every_cell(name, cell, tmp_path):
    settings = merged(campaign_settings(cell, "B", name, 1, cell.calls, tmp_path), variant(name))
    config = CampaignConfig.model_validate(settings)
    assert sum(arm.share for arm in config.arms) == pytest.approx(1.0)
    assert config.surface.terminations == ("stoichiometric",) and config.network.warm_start is None


def test_what_was_relaxed_in_a_later_wave_comes_later_whenever_it_was_drawn() -> None:
    drawn = [Candidate(f"001-{arm}-{i:05d}", 1, arm, i, 0) for arm in ("gan", "moves") for i in range(2)]
    wave_of = dict(zip((c.id for c in drawn), (2, 0, 0, 1), strict=True))
    assert [wave_of[c.id] for c in in_order(drawn, wave_of)] == [0, 0, 1, 2]
    assert [c.arm for c in in_order(drawn, {})] == ["gan", "moves", "gan", "moves"]
