"""What earlier waves say of starts and where they led, asked of the ledger."""

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from searcher.campaign.arms.knowledge import Outcome, led_to_something_new
from searcher.campaign.arms.waves import outcomes_before, outcomes_of_wave
from searcher.campaign.storage.candidate import PREPARATION, Candidate, Gate, Verdict, candidate_id
from searcher.campaign.storage.ledger import Ledger

ENDS = (
    (Gate.SELECTED, "known_minimum"),
    (Gate.SELECTED, "not_converged"),
    (Gate.VALID_RELAXED, "known"),
    (Gate.UNIQUE, "high"),
    (Gate.NOVEL, None),
)
WAVES = 12
"""Of each iteration: more than ten, whose names do not sort as their numbers"""


@pytest.fixture
def campaign(tmp_path):
    """Three iterations of waves with two arms; some starts were not compared with anything."""
    ledger = Ledger.create(tmp_path / "campaign.db", {})
    rng = np.random.default_rng(3)
    with ledger.transaction():
        ledger.finish_stage(PREPARATION, "inherit", {"count": 0})
        for iteration in range(3):
            for number in range(WAVES):
                chosen = {}
                for arm in ("gan", "random"):
                    wave = [_ended(iteration, arm, 3 * number + place, rng) for place in range(3)]
                    ledger.add_candidates(wave)
                    chosen[arm] = {c.id: float(rng.random()) if rng.random() < 0.8 else None for c in wave[::-1]}
                ledger.finish_stage(iteration, f"wave:{number}", chosen)
            ledger.finish_stage(iteration, "relax", {"gan": {"force_calls": 1}})
    yield SimpleNamespace(ledger=ledger)
    ledger.close()


def _ended(iteration, arm, index, rng):
    passed, reason = ENDS[rng.integers(len(ENDS))]
    name = candidate_id(iteration, arm, index)
    return Candidate(name, iteration, arm, index, 0, passed=passed, reason=reason, verdict=Verdict.REJECTED)


def one_by_one(ledger, iteration):
    """The outcomes before an iteration, each candidate looked up by itself."""
    outcomes = []
    for earlier in range(iteration):
        for number in count():
            chosen = ledger.stage(earlier, f"wave:{number}")
            if chosen is None:
                break
            for name, kappa in (start for starts in chosen.values() for start in starts.items()):
                new = led_to_something_new(ledger.candidate(name))
                if kappa is not None and new is not None:
                    outcomes.append(Outcome(ledger.candidate(name).arm, kappa, new))
    return outcomes


@pytest.mark.parametrize("iteration", range(4))
def test_outcomes_are_those_of_the_candidates_one_by_one(campaign, iteration):
    told = outcomes_before(campaign, iteration)
    assert told == one_by_one(campaign.ledger, iteration)
    assert told == [one for i in range(iteration) for n in range(WAVES) for one in outcomes_of_wave(campaign, i, n)]
    assert not iteration or {one.new for one in told} == {True, False}


def test_what_came_before_costs_two_statements_however_much_it_is(campaign):
    for iteration in (1, 3):
        statements = []
        campaign.ledger._connection.set_trace_callback(statements.append)
        outcomes_before(campaign, iteration)
        campaign.ledger._connection.set_trace_callback(None)
        assert len(statements) == 2, "stages, candidates"
