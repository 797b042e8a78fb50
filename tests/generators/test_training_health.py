"""Planted collapses are called within one check, healthy batches are not; what is called is acted on and kept."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gan_setting import NETWORKS, grid, records, template

from generators.training.dataset import StructureDataset
from generators.training.health import RULES, SAMPLES, Watch, examine
from generators.training.loop import Trainer
from generators.training.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=6, batch_size=4, checkpoint_every=2, threads=1, check_every=2)


def batches() -> tuple[torch.Tensor, torch.Tensor]:
    """Two independent batches of the same data: the best that a generator could do."""
    rattled = [
        replace(
            record, positions=record.positions + 0.05 * torch.randn(record.positions.shape, generator=noise).numpy()
        )
        for noise in [torch.Generator().manual_seed(3)]
        for record in records(12) * 40
    ]
    dataset = StructureDataset(rattled, grid(), NETWORKS.conditions, template())
    random = torch.Generator().manual_seed(0)
    return dataset.batch(SAMPLES, random).grids, dataset.batch(SAMPLES, random).grids


def gentle(grids: torch.Tensor) -> torch.Tensor:
    """A critic with a slope everywhere."""
    return grids.flatten(1).mean(dim=1)


def called(figures: dict[str, float]) -> set[str]:
    watch = Watch()
    watch.armed = {rule.name for rule in RULES}
    return {finding.rule for finding in watch.judge(1, figures)}


def test_a_healthy_batch_is_not_called() -> None:
    real, generated = batches()
    assert called(examine(real, generated, gentle)) == set()


def test_a_generator_that_repeats_one_sample_is_called() -> None:
    real, generated = batches()
    repeated = generated[:1].expand_as(generated) + 1e-3 * torch.rand(
        generated.shape, generator=torch.Generator().manual_seed(1)
    )
    assert {"repetition", "sameness"} <= called(examine(real, repeated, gentle))


def test_a_generator_that_repeats_a_few_samples_is_called() -> None:
    real, generated = batches()
    assert "sameness" in called(examine(real, generated[:4].repeat(SAMPLES // 4, 1, 1, 1, 1), gentle))


def test_a_critic_that_saturates_is_called() -> None:
    real, generated = batches()
    faint = 0.5 * generated

    def saturated(grids: torch.Tensor) -> torch.Tensor:
        return torch.tanh(200.0 * (grids.flatten(1).amax(dim=1) - 0.75))

    assert "flat_critic" in called(examine(real, faint, saturated))
    assert "flat_critic" not in called(examine(real, faint, gentle))


def test_a_critic_that_says_the_same_of_everything_is_called() -> None:
    real, generated = batches()
    assert "dead_critic" in called(examine(real, generated, lambda grids: 0.0 * gentle(grids)))


def test_data_learned_by_heart_are_told() -> None:
    real, _ = batches()
    assert "memory" in called(examine(real, real + 1e-5, gentle))


def test_the_first_outputs_are_not_called_before_they_were_well_once() -> None:
    real, generated = batches()
    figures = examine(real, generated[:1].expand_as(generated).clone(), gentle)
    watch = Watch()
    assert "repetition" not in {finding.rule for finding in watch.judge(10, figures)}
    assert "repetition" in {finding.rule for finding in watch.judge(10_000, figures)}


def make(settings: TrainingSettings = SETTINGS) -> Trainer:
    return Trainer(template(), grid(), NETWORKS, settings, records(), torch.Generator().manual_seed(0))


def test_a_collapse_in_training_goes_back_to_the_best_generator(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make(replace(SETTINGS, steps=4))
    run = trainer.run()
    next(run)
    next(run)  # the first check arms the rules
    trainer.watch.armed = {rule.name for rule in RULES}
    trainer.watch.findings.clear()
    trainer.state.remedies.clear()
    trainer.state.rate_factors = [1.0, 1.0]
    trainer.state.best_merit = 0.0
    trainer.state.remember_if_best(1.0, ill=False)
    with torch.no_grad():
        for network in (trainer.state.generator, trainer.averaged):
            network.dense.weight.zero_()  # whatever the noise, the same grid
    with caplog.at_level(logging.WARNING):
        list(run)
    rules = {finding.rule for finding in trainer.watch.findings}
    assert "repetition" in rules
    assert trainer.state.rate_factors[0] < 1.0
    assert trainer.averaged.dense.weight.abs().max() > 0.0
    assert "`diversity`" in caplog.text and "back to the best averaged generator" in caplog.text


def test_findings_are_kept_in_checkpoints_and_weights(tmp_path: Path) -> None:
    trainer = make()
    run = trainer.run(tmp_path)
    next(run)
    trainer.watch.armed = {rule.name for rule in RULES}
    metrics = list(run)
    assert trainer.watch.findings, "random weights repeat themselves"
    assert metrics[-1]["health_findings"] == len(trainer.watch.findings)
    again = make()
    list(again.run(tmp_path))
    assert again.watch.findings == trainer.watch.findings


def test_checks_leave_the_draws_of_the_training_alone() -> None:
    watched, unwatched = make(replace(SETTINGS, remedies=False)), make(replace(SETTINGS, check_every=0))
    list(watched.run())
    list(unwatched.run())
    assert torch.equal(watched.state.random.get_state(), unwatched.state.random.get_state())
    for name, tensor in unwatched.averaged.state_dict().items():
        assert torch.equal(tensor, watched.averaged.state_dict()[name]), name
