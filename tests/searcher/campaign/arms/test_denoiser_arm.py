"""An arm of kind `denoiser`: trained once an iteration, recorded, taken up again, refused where it cannot work."""

from collections import Counter
from pathlib import Path
from threading import Event

import pytest
from inline_campaign import run
from rich.console import Console

from generators.training.checkpoint import load_weights
from searcher.campaign.arms.kinds import check_arms
from searcher.campaign.arms.proposing import learn
from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.campaign import open_campaign
from searcher.campaign.snapshot import take_snapshot
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.storage.verification import damage, digest, file_hash
from searcher.config import CampaignConfig
from searcher.errors import InputError, StoppedOnRequest
from searcher.loading import load_config
from searcher.results.plots import losses
from searcher.results.report_training import health

TINY = Path(__file__).parents[4] / "tests" / "configs" / "tiny.yaml"
DENOISER = (
    "{name: denoiser, kind: denoiser, share: 0.4, screening: {oversampling: 2}, "
    "network: {channels: [4, 6], embedding: 8}, training: {steps: 4, batch_size: 4, checkpoint_every: 2}, "
    "sampling: {steps: 3}}"
)
RANDOM = (
    "{name: random, kind: random, share: 0.6, composition: uniform, screening: {oversampling: 30, known_basins: false}}"
)


def tiny(runs: Path, *overrides: str, denoiser: str = DENOISER) -> CampaignConfig:
    return load_config(TINY, [f"runs={runs}", f"arms=[{denoiser}, {RANDOM}]", *overrides])


def digest_of(config: CampaignConfig) -> str:
    campaign = open_campaign(config, Event())
    try:
        assert damage(campaign.folder, campaign.ledger) == []
        return digest(campaign.ledger)
    finally:
        campaign.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> CampaignConfig:
    config = tiny(tmp_path_factory.mktemp("runs"))
    run(config)
    return config


def test_each_iteration_records_its_weights_and_proposes_from_them(finished: CampaignConfig) -> None:
    folder = Path(finished.runs) / finished.name
    ledger = Ledger.of_run(folder)
    for iteration in (0, 1):
        stage = ledger.stage(iteration, "train:denoiser")
        assert file_hash(folder / stage["weights"]) == stage["sha256"]
        assert load_weights(folder / stage["weights"])[1]["generator"] == "denoiser"
        assert [step for step, _ in ledger.metrics(iteration)["denoising_loss"]] == [1, 2, 3, 4]
        proposed = ledger.candidates(iteration=iteration, arm="denoiser")
        assert proposed and all(set(one.condition) == {"energy_class", "n_oxygen"} for one in proposed)
        assert (folder / "iterations" / f"{iteration:03d}" / "samples-denoiser.npz").is_file()


def test_what_few_are_known_of_is_asked_for_most(tmp_path: Path) -> None:
    """Weights are 1 / (1 + m): of oxygen counts that no seed has 1, of counts with a seed a half."""
    config = tiny(tmp_path, "conditioning.asked=missing", "conditioning.classes_asked=[]")
    campaign = open_campaign(config, Event())
    try:
        problem = prepare(campaign, Console(quiet=True))
        snapshot, load = take_snapshot(campaign.ledger, 0, campaign.line_of), campaign.ledger.structure
        source = learn(campaign, problem, snapshot, config.arms[0], Console(quiet=True))
        known = Counter(int((problem.template.free_part(load(k.structure))[0] == 8).sum()) for k in snapshot.known)
    finally:
        campaign.close()
    assert known and source.weights == tuple(1.0 / (1 + known[asked["n_oxygen"]]) for asked in source.conditions)


def test_its_pictures_and_tables_are_drawn(finished: CampaignConfig) -> None:
    ledger = Ledger.of_run(Path(finished.runs) / finished.name)
    assert losses(ledger.metrics(0)).startswith(b"\x89PNG")
    assert [one["iteration"] for one in health(ledger)] == [0, 1]
    assert all(one["wasserstein"] is None and one["decoded"] is not None for one in health(ledger))


def test_a_campaign_that_was_stopped_in_a_training_ends_with_the_same_digest(
    finished: CampaignConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from generators.denoising.training import DenoiserTrainer

    config, stop = tiny(tmp_path), Event()
    healthy = DenoiserTrainer._train

    def stopping(training: DenoiserTrainer) -> dict[str, float]:
        if training.state.step == 2:
            stop.set()
        return healthy(training)

    monkeypatch.setattr(DenoiserTrainer, "_train", stopping)
    with pytest.raises(StoppedOnRequest):
        run(config, stop)
    monkeypatch.undo()
    run(config)
    assert digest_of(config) == digest_of(finished)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("network: {channels: [4, 6]", "network: {stem: wide"),
        ("training: {steps: 4", "training: {rate: -1.0"),
        ("sampling: {steps: 3", "sampling: {sampler: euler"),
        ("sampling: {steps: 3}", "sampling: {steps: 3}, transfer: nowhere.safetensors"),
    ],
)
def test_unfit_settings_are_refused_before_a_campaign_begins(tmp_path: Path, changed: str, message: str) -> None:
    config = tiny(tmp_path, denoiser=DENOISER.replace(changed, message))
    with pytest.raises(InputError, match="of arm `denoiser`"):
        check_arms(config)


def test_an_unknown_key_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`arms.*network.channel` is not a setting; did you mean `channels`"):
        tiny(tmp_path, denoiser=DENOISER.replace("channels:", "channel:"))


def test_guidance_needs_conditions(tmp_path: Path) -> None:
    guided = DENOISER.replace("sampling: {", "sampling: {guidance: 2.0, ")
    check_arms(tiny(tmp_path, denoiser=guided))
    with pytest.raises(InputError, match="`guidance` is 2.0 but must be 1"):
        check_arms(tiny(tmp_path, "conditioning.enabled=false", denoiser=guided))
