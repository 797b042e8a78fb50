"""A whole campaign on the analytic stand-in: reproducible, resumable, undamaged."""

from pathlib import Path
from threading import Event

import pytest
import torch
from inline_campaign import run
from threadpoolctl import threadpool_info, threadpool_limits

from generators.training.resumable import torch_threads
from searcher.campaign.campaign import open_campaign
from searcher.campaign.storage import verification
from searcher.campaign.storage.candidate import Verdict
from searcher.config import CampaignConfig
from searcher.errors import InputError, LockedError, StoppedOnRequest
from searcher.loading import load_config

SMALL = Path(__file__).parents[2] / "configs" / "small.yaml"


def small(runs: Path, *overrides: str) -> CampaignConfig:
    return load_config(SMALL, [f"runs={runs}", "execution.executor=inline", *overrides])


def digest(config: CampaignConfig) -> str:
    campaign = open_campaign(config, Event())
    try:
        assert verification.damage(campaign.folder, campaign.ledger) == []
        return verification.digest(campaign.ledger)
    finally:
        campaign.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = small(tmp_path_factory.mktemp("runs"))
    run(config)
    return config


def test_a_second_run_ends_with_the_same_digest(finished, tmp_path):
    again = small(tmp_path)
    run(again)
    assert digest(again) == digest(finished)


def test_threads_are_those_of_the_settings_whatever_the_environment_says(tmp_path):
    seen = []

    def look(campaign, iteration):
        blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        seen.append((blas, torch.get_num_threads()))

    with threadpool_limits(limits=2, user_api="blas"), torch_threads(2):
        look(None, None)
        run(small(tmp_path, "budget.iterations=1", "execution.training_threads=1"), Event(), look)
        look(None, None)
    assert seen == [({2}, 2), ({1}, 1), ({1}, 1), ({2}, 2)]


def test_another_seed_proposes_other_structures(finished, tmp_path):
    other = small(tmp_path, "seed=2", "budget.iterations=1")
    run(other)
    proposals = []
    for config in (finished, other):
        campaign = open_campaign(config, Event())
        proposals.append({c.proposed for c in campaign.ledger.candidates(iteration=0, arm="random")} - {None})
        campaign.close()
    assert proposals[0] and proposals[1] and not proposals[0] & proposals[1]


def test_a_campaign_stopped_after_every_iteration_ends_with_the_same_digest(finished, tmp_path):
    config = small(tmp_path)
    stop = Event()
    with pytest.raises(StoppedOnRequest):
        run(config, stop, lambda campaign, iteration: stop.set())
    run(config, Event())
    assert digest(config) == digest(finished)


def test_going_on_with_a_finished_campaign_changes_nothing(finished):
    before = digest(finished)
    run(finished)
    assert digest(finished) == before


def test_every_candidate_has_a_verdict_and_every_rejection_a_reason(finished):
    campaign = open_campaign(finished, Event())
    for candidate in campaign.ledger.candidates():
        assert candidate.finished
        assert (candidate.reason is None) == (candidate.verdict in (Verdict.ACCEPTED, Verdict.REFERENCE))
    campaign.close()


def test_force_calls_of_an_arm_are_those_of_its_candidates(finished):
    campaign = open_campaign(finished, Event())
    for arm in campaign.ledger.arms():
        relaxed = campaign.ledger.candidates(arm=arm)
        assert campaign.ledger.funnel(arm)["force_calls"] == sum(c.force_calls for c in relaxed)
    assert sum(campaign.ledger.funnel(arm)["force_calls"] for arm in campaign.ledger.arms()) > 0
    campaign.close()


def test_a_setting_on_which_results_depend_cannot_change(finished):
    changed = finished.model_copy(update={"seed": 5})
    with pytest.raises(InputError, match=r"`seed` was 1, is 5"):
        open_campaign(changed, Event())


def test_a_second_driver_is_refused_and_told_who_works(finished):
    first = open_campaign(finished, Event())
    with pytest.raises(LockedError, match="process"):
        open_campaign(finished, Event())
    first.close()
