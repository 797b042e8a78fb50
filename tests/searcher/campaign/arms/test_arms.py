"""Which seeds a campaign has, when its arms begin, and what they may be told."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console

from generators.proposal import Proposal
from searcher.campaign.arms.conditions import conditions_asked, weights_asked
from searcher.campaign.arms.proposing import apportioned, draw_proposals
from searcher.campaign.arms.shares import plan
from searcher.campaign.beginning.inputs import check_inputs
from searcher.campaign.beginning.preparation import prepare, seed_lines
from searcher.campaign.campaign import open_campaign
from searcher.campaign.loop import run_campaign
from searcher.campaign.snapshot import take_snapshot
from searcher.campaign.storage.candidate import Gate
from searcher.config import CampaignConfig
from searcher.errors import InputError
from searcher.loading import load_config

TINY = Path(__file__).parents[3] / "configs" / "tiny.yaml"
MOVES = "{name: moves, kind: hopping, share: 1.0, screening: {oversampling: 10}}"
RANDOM = "{name: random, kind: random, share: 0.5, composition: uniform, screening: {oversampling: 30}}"
ALONE = "{name: gan, kind: gan, share: 1.0, screening: {oversampling: 2}}"
GAN = "{name: gan, kind: gan, share: 0.5, first_iteration: 1, screening: {oversampling: 2}}"


def tiny(runs: Path, *overrides: str) -> CampaignConfig:
    return load_config(TINY, [f"runs={runs}", *overrides])


def opened(config: CampaignConfig):
    return open_campaign(config, Event())


def test_moves_begin_at_what_is_known_and_pass_the_same_gates(tmp_path):
    campaign = opened(tiny(tmp_path, f"arms=[{MOVES}]", "budget.force_calls_per_iteration=36"))
    try:
        run_campaign(campaign, Console(quiet=True), lambda campaign, iteration: None)
        relaxed = campaign.ledger.candidates(arm="moves", reached=Gate.SELECTED)
        assert {c.iteration for c in relaxed} == {0, 1} and all(c.finished for c in relaxed)
        assert all(c.force_calls > 0 for c in relaxed)
    finally:
        campaign.close()


def test_proposals_within_reach_of_the_known_are_not_relaxed(tmp_path):
    # κ never exceeds √2 = 19 × 0.075: everything is within reach
    far = MOVES.replace("oversampling: 10", "oversampling: 10, reach: 20")
    campaign = opened(tiny(tmp_path, f"arms=[{far}]", "budget.iterations=1", "budget.force_calls_per_iteration=36"))
    try:
        run_campaign(campaign, Console(quiet=True), lambda campaign, iteration: None)
        valid = campaign.ledger.candidates(arm="moves", reached=Gate.VALID)
        assert valid and {c.reason for c in valid} == {"known_basin"}
    finally:
        campaign.close()


def relaxations(plans):
    return {arm: given.relaxations for arm, given in plans.items()}


def test_an_arm_that_begins_later_leaves_its_calls_to_the_others(tmp_path):
    campaign = opened(tiny(tmp_path, f"arms=[{GAN}, {RANDOM}]"))
    try:
        first, second = (relaxations(plan(campaign, iteration)) for iteration in (0, 1))
    finally:
        campaign.close()
    assert set(first) == {"random"} and set(second) == {"gan", "random"}
    # 80 force calls at 12 each: 6.7 relaxations for one arm, 3.3 for each of two
    assert first == {"random": 7} and second == {"gan": 3, "random": 3}


def test_a_campaign_whose_arm_begins_later_runs_to_its_end(tmp_path):
    campaign = opened(tiny(tmp_path, f"arms=[{GAN}, {RANDOM}]"))
    try:
        run_campaign(campaign, Console(quiet=True), lambda campaign, iteration: None)
        arms = {i: {c.arm for c in campaign.ledger.candidates(iteration=i)} for i in (0, 1)}
        spent = sum(c.force_calls for c in campaign.ledger.candidates(iteration=0, arm="random"))
    finally:
        campaign.close()
    assert arms == {0: {"random"}, 1: {"gan", "random"}}
    assert spent > 40  # of 80, of which its own share would be half


def test_some_arm_takes_part_from_the_beginning(tmp_path):
    with pytest.raises(InputError, match="first_iteration"):
        tiny(tmp_path, f"arms=[{GAN.replace('0.5', '1.0')}]")


def test_seeds_are_the_terminations_that_are_named(tmp_path):
    campaign = opened(tiny(tmp_path, "surface.terminations=[stoichiometric]"))
    try:
        prepare(campaign, Console(quiet=True))
        assert [c.label for c in campaign.ledger.candidates(arm="seed")] == ["110-stoichiometric"]
    finally:
        campaign.close()


def test_a_termination_that_the_facet_does_not_have_is_named(tmp_path):
    campaign = opened(tiny(tmp_path, "surface.terminations=[metal-rich]"))
    try:
        with pytest.raises(InputError, match="no termination `metal-rich`; it has O-poor, stoichiometric, O-rich"):
            prepare(campaign, Console(quiet=True))
    finally:
        campaign.close()


def test_a_campaign_without_conditions_trains_and_proposes(tmp_path):
    campaign = opened(tiny(tmp_path, "conditioning.enabled=false", "budget.iterations=1", f"arms=[{ALONE}]"))
    try:
        run_campaign(campaign, Console(quiet=True), lambda campaign, iteration: None)
        proposals = campaign.ledger.candidates(iteration=0, arm="gan")
        assert proposals and all(dict(c.condition) == {} for c in proposals)
    finally:
        campaign.close()


def test_one_beginning_is_enough(tmp_path):
    with pytest.raises(InputError, match="either `warm_start` or `transfer`"):
        tiny(tmp_path, "network.warm_start=somewhere", "network.transfer=elsewhere")
    with pytest.raises(InputError, match=r"line 7: `network.transfer`: `nowhere.safetensors` does not exist"):
        check_inputs(tiny(tmp_path, "network.transfer=nowhere.safetensors"), lambda *location: "line 7")


def test_shares_of_moves_are_checked():
    from searcher.config.arm_kinds.hopping import MovesSection

    with pytest.raises(ValidationError, match="exceed 1 together"):
        MovesSection(oxygen_probability=0.8, relocation_probability=0.3)
    assert np.isclose(MovesSection().reach_mev_per_A2, 15.0)


def test_without_classes_to_ask_for_only_the_counts_are_asked(tmp_path):
    campaign = opened(tiny(tmp_path, "conditioning.classes_asked=[]", "surface.oxygen_count=[2, 4]"))
    try:
        problem = prepare(campaign, Console(quiet=True))
        asked = conditions_asked(campaign.config, problem)
    finally:
        campaign.close()
    assert asked == [{"n_oxygen": 2}, {"n_oxygen": 3}, {"n_oxygen": 4}]


def test_turns_go_by_weight_and_none_is_taken_back():
    weights = (1.0, 0.5, 0.25)
    turns = [apportioned(weights, n) for n in range(60)]
    for n, (before, after) in enumerate(pairwise(turns)):
        assert sum(after) == n + 1 and all(b >= a for a, b in zip(before, after, strict=True))
    assert apportioned(weights, 70) == [40, 20, 10]
    assert [apportioned((1.0,) * 4, n) for n in (3, 6)] == [[1, 1, 1, 0], [2, 2, 1, 1]]


class Echo:
    def sample(self, n, condition, rng):
        return [Proposal(np.empty(0, dtype=int), np.empty((0, 3)), condition, reason="none")] * n


def test_proposals_follow_the_weights_wave_by_wave():
    conditions = tuple({"n_oxygen": n} for n in range(3))
    drawn = []
    for _ in range(10):
        drawn += draw_proposals(
            Echo(), conditions, 7, seed=0, iteration=0, arm="gan", n_before=len(drawn), weights=(4.0, 2.0, 1.0)
        )
    assert Counter(proposal.condition["n_oxygen"] for _, proposal in drawn) == {0: 40, 1: 20, 2: 10}


def test_what_few_are_known_of_is_asked_for_most(tmp_path):
    """Weights are 1 / (1 + m): of counts that no seed has 1, of counts with a seed a half."""
    campaign = opened(tiny(tmp_path, "conditioning.classes_asked=[]", "conditioning.asked=missing"))
    try:
        problem = prepare(campaign, Console(quiet=True))
        snapshot, load = take_snapshot(campaign.ledger, 0, campaign.line_of), campaign.ledger.structure
        asked = conditions_asked(campaign.config, problem)
        seeds = seed_lines(campaign)
        weights = weights_asked(campaign.config, problem, asked, snapshot, load, seeds)
        classes = [{"energy_class": c, **condition} for condition in asked for c in range(10)]
        finer = weights_asked(campaign.config, problem, classes, snapshot, load, seeds)
        equal = campaign.config.conditioning.model_copy(update={"asked": "equally"})
        equally = campaign.config.model_copy(update={"conditioning": equal})
        assert weights_asked(equally, problem, asked, snapshot, load, seeds) is None
        known = Counter(int((problem.template.free_part(load(k.structure))[0] == 8).sum()) for k in snapshot.known)
    finally:
        campaign.close()
    assert weights == tuple(1.0 / (1 + known[condition["n_oxygen"]]) for condition in asked)
    assert min(weights) < max(weights) == 1.0
    assert sum(1.0 / w - 1.0 for w in finer) == pytest.approx(sum(1.0 / w - 1.0 for w in weights))
