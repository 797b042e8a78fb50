"""The denoiser's training: it learns, resumes to the bit, survives NaN, refuses what belongs to something else."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from denoiser_setting import NETWORK, SETTINGS, trainer
from gan_setting import cell_grid, cell_records, records

from generators.denoising.training import DenoiserTrainer
from generators.training.checkpoint import WeightsError
from generators.training.processes import Processes
from generators.training.resumable import TrainingFailed
from generators.training.view import View

ROWS: dict[str, dict[str, Any]] = {
    "default": {},
    "rows_beside_each_other": {"channels_last": False},
    "adamw": {"optimiser": "adamw", "schedule": "constant", "gradient_clip": None},
    "never_hidden": {"condition_dropout": 0.0},
    "bf16": {"precision": "bf16"},
    "balance": {"balance": ("energy_class",)},
}


def differing(first: DenoiserTrainer, second: DenoiserTrainer) -> list[str]:
    expected, found = first.state.tensors(), second.state.tensors()
    assert expected.keys() == found.keys()
    return [name for name in expected if not torch.equal(expected[name], found[name])]


@pytest.mark.parametrize("row", sorted(ROWS))
def test_resuming_gives_the_bits_of_an_uninterrupted_run(tmp_path: Path, row: str) -> None:
    settings = replace(SETTINGS, **ROWS[row])
    whole = trainer(settings)
    metrics = list(whole.run(tmp_path / "whole"))
    interrupted = trainer(settings).run(tmp_path / "parts")
    for _ in range(3):
        next(interrupted)
    interrupted.close()
    resumed = trainer(settings, seed=5)  # its own seed must not matter
    rest = list(resumed.run(tmp_path / "parts"))
    timeless = [[{k: v for k, v in m.items() if k != "seconds"} for m in told] for told in (rest, metrics)]
    assert timeless[0] == timeless[1]
    assert differing(whole, resumed) == []


@pytest.mark.parametrize("view", [View("cell"), View("slice", axis=1, planes=(0.0, 0.5))], ids=["cell", "slice"])
def test_full_cells_and_slices_train_and_resume(tmp_path: Path, view: View) -> None:
    def made(seed: int = 0) -> DenoiserTrainer:
        random = torch.Generator().manual_seed(seed)
        return DenoiserTrainer(None, cell_grid(), NETWORK, SETTINGS, cell_records(), random, view=view)

    whole, first = made(), made().run(tmp_path)
    list(whole.run())
    next(first), next(first)
    first.close()
    resumed = made(seed=3)
    list(resumed.run(tmp_path))
    assert differing(whole, resumed) == []


def test_the_loss_goes_down() -> None:
    """A network that says nothing has a loss of 1, from which EDM's weights begin; a third of it is learning."""
    losses = [m["denoising_loss"] for m in trainer(replace(SETTINGS, steps=120, batch_size=8)).run()]
    assert sum(losses[:5]) / 5 == pytest.approx(1.0, abs=0.25)  # 20 grids of a few atoms
    assert sum(losses[-20:]) / 20 < 0.67


def test_each_process_computes_its_share_of_one_batch() -> None:
    """The mean of both halves is the whole batch's loss; sums in single precision."""
    whole = float(trainer().loss(slice(0, 4)).detach())
    halves = [
        float(trainer(processes=Processes(rank, 2)).loss(Processes(rank, 2).share(4)).detach()) for rank in (0, 1)
    ]
    assert sum(halves) / 2 == pytest.approx(whole, rel=1e-4)
    assert halves[0] != halves[1]


def poison(training: DenoiserTrainer, when: list[int]) -> list[int]:
    """Make the loss NaN in the steps of `when`, counted over all attempts; returns the attempts made."""
    attempts: list[int] = []
    healthy = training.loss

    def loss(share: slice) -> torch.Tensor:
        attempts.append(len(attempts))
        return healthy(share) * (float("nan") if attempts[-1] in when else 1.0)

    training.loss = loss  # type: ignore[method-assign]
    return attempts


def test_nan_goes_back_to_the_last_checkpoint_at_half_the_rate(caplog: pytest.LogCaptureFixture) -> None:
    training = trainer(replace(SETTINGS, schedule="constant", warmup_steps=0))
    poison(training, when=[3])
    with caplog.at_level(logging.WARNING):
        metrics = list(training.run())
    assert [m["step"] for m in metrics] == [1, 2, 3, 3, 4, 5, 6]  # step 4 failed: back to the state after step 2
    assert [m["rollbacks"] for m in metrics] == [0, 0, 0, 1, 1, 1, 1]
    assert training.state.optimiser.param_groups[0]["lr"] == SETTINGS.rate / 2
    assert "`denoising_loss`" in caplog.text and "back to step 2" in caplog.text
    assert all(torch.isfinite(tensor.float()).all() for tensor in training.state.tensors().values())


def test_nan_that_stays_fails_after_the_allowed_rollbacks() -> None:
    training = trainer(replace(SETTINGS, max_rollbacks=2))
    attempts = poison(training, when=list(range(100)))
    with pytest.raises(TrainingFailed, match="`denoising_loss`.* at step 1 is not finite.*`rate` 0.002"):
        list(training.run())
    assert len(attempts) == 3


def test_a_warm_start_begins_with_the_averaged_weights(tmp_path: Path) -> None:
    first = trainer()
    list(first.run())
    first.save(tmp_path / "weights.safetensors")
    second = trainer(seed=3, warm_start=tmp_path / "weights.safetensors")
    for name, tensor in first.averaged.state_dict().items():
        assert torch.equal(tensor, second.state.network.state_dict()[name])


def test_what_was_made_for_something_else_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    list(trainer().run(tmp_path))
    with pytest.raises(WeightsError, match=r"another training: `training.batch_size` is 4 but must be 5"):
        list(trainer(replace(SETTINGS, batch_size=5)).run(tmp_path))
    with pytest.raises(WeightsError, match="another training: `data`"):
        list(trainer(data=records(11)).run(tmp_path))
    trainer().save(path)
    with pytest.raises(WeightsError, match=r"do not fit: `network.blocks` is 1 but must be 2"):
        trainer(network=replace(NETWORK, blocks=2), warm_start=path)
