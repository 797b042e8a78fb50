"""Force calls go to the arms as configured, or in part to those that earn them."""

from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest

from searcher.campaign.arms.shares import PRIOR, RECENT, ArmPlan, handed_over, leading, shares
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict, candidate_id
from searcher.config import CampaignConfig

ARMS = [
    {"name": "moves", "kind": "hopping", "share": 0.5},
    {"name": "crossed", "kind": "hopping", "share": 0.3},
    {"name": "control", "kind": "random", "share": 0.2, "feeds_training": False},
]


@dataclass
class Ledger:
    relaxed: list[Candidate] = field(default_factory=list)
    stages: dict = field(default_factory=dict)

    def add(self, iteration, arm, accepted, rejected, calls=20):
        for verdict, n in ((Verdict.ACCEPTED, accepted), (Verdict.REJECTED, rejected)):
            for _ in range(n):
                index = len(self.relaxed)
                self.relaxed.append(
                    Candidate(
                        candidate_id(iteration, arm, index), iteration, arm, index, 0,
                        passed=Gate.CONVERGED, verdict=verdict, force_calls=calls,
                    )
                )  # fmt: skip

    def stage(self, iteration, name):
        return self.stages.get((iteration, name))

    def finish_stage(self, iteration, name, detail):
        assert self.stage(iteration, name) is None
        self.stages[iteration, name] = detail

    def transaction(self):
        return nullcontext()

    def candidates(self, iteration, arm, reached):
        return [c for c in self.relaxed if c.iteration == iteration and c.arm == arm and c.passed >= reached]


@dataclass
class Campaign:
    config: CampaignConfig
    ledger: Ledger = field(default_factory=Ledger)


def campaign(earned: float) -> Campaign:
    settings = {"name": "shares", "potential": {"gap": "ruo2"}, "arms": ARMS, "budget": {"earned": earned}}
    return Campaign(CampaignConfig.model_validate(settings))


def test_configured_shares_stand_while_nothing_was_tried():
    assert shares(campaign(0.0), 0) == {"moves": 0.5, "crossed": 0.3, "control": 0.2}
    # nobody has earned anything: the earned half is divided equally among those that learn
    assert shares(campaign(1.0), 0) == pytest.approx({"moves": 0.4, "crossed": 0.4, "control": 0.2})


def test_what_was_earned_follows_what_was_accepted_per_call():
    searched = campaign(1.0)
    searched.ledger.add(0, "moves", accepted=2, rejected=8)
    searched.ledger.add(0, "crossed", accepted=8, rejected=2)
    searched.ledger.add(0, "control", accepted=10, rejected=0)
    # 400 calls for 10: 40 each; moves (2 + 2) / (200 + 80), crossed (8 + 2) / (200 + 80), the control's do not count
    given = shares(searched, 1)
    assert given["crossed"] / given["moves"] == pytest.approx((8 + PRIOR) / (2 + PRIOR))
    assert given["control"] == pytest.approx(0.2) and sum(given.values()) == pytest.approx(1.0)
    half = Campaign(campaign(0.5).config, searched.ledger)
    assert shares(half, 1)["moves"] == pytest.approx((0.5 + given["moves"]) / 2)


def test_cheap_relaxations_earn_more():
    searched = campaign(1.0)
    searched.ledger.add(0, "moves", accepted=5, rejected=5, calls=40)
    searched.ledger.add(0, "crossed", accepted=5, rejected=5, calls=10)
    assert shares(searched, 1)["crossed"] > 1.5 * shares(searched, 1)["moves"]


def test_what_is_long_ago_is_forgotten():
    searched = campaign(1.0)
    searched.ledger.add(0, "moves", accepted=10, rejected=0)
    searched.ledger.add(0, "crossed", accepted=0, rejected=10)
    assert shares(searched, RECENT)["moves"] > shares(searched, RECENT)["crossed"]
    assert shares(searched, RECENT + 1)["moves"] == shares(searched, RECENT + 1)["crossed"]


def test_the_leading_arm_gets_what_others_have_no_use_for_and_never_a_control():
    searched = campaign(0.0)
    total = searched.config.budget.force_calls_per_iteration
    plans = {"moves": ArmPlan(0.3, 5), "crossed": ArmPlan(0.2, 4), "control": ArmPlan(0.5, 9)}
    assert leading(searched, plans) == "moves"
    searched.ledger.add(0, "moves", accepted=1, rejected=1, calls=total // 10)
    searched.ledger.add(0, "crossed", accepted=0, rejected=1, calls=total // 20)
    searched.ledger.add(0, "control", accepted=1, rejected=0, calls=total)
    found = handed_over(searched, 0, plans)
    assert found["crossed"] == ArmPlan(pytest.approx(0.05), 1)
    assert found["control"] == ArmPlan(0.5, 1)  # more than its share is no debt of the others
    assert found["moves"].share == pytest.approx(0.45)
    searched.ledger.add(0, "crossed", accepted=1, rejected=1, calls=total // 20)
    assert handed_over(searched, 0, plans) == found  # decided once
    assert leading(searched, {"control": plans["control"]}) == "control" and leading(searched, {}) is None
