"""Which seeds a campaign has, when its arms begin, and what they may be told."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console

from searcher.campaign.arms.conditions import conditions_asked
from searcher.campaign.arms.shares import plan
from searcher.campaign.beginning.inputs import check_inputs
from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.campaign import open_campaign
from searcher.campaign.loop import run_campaign
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
    from searcher.config import MovesSection

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
