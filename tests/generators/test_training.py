"""The training engine: data on the fly, resumption to the bit, damage, NaN, warm starts, learning."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gan_setting import NETWORKS, grid, records, template

from generators.grids.density import densities
from generators.networks.losses import LOSSES
from generators.training.checkpoint import WeightsError, load_last_checkpoint, load_weights, save_weights
from generators.training.dataset import StructureDataset
from generators.training.loop import Trainer
from generators.training.record import read_record, sealed
from generators.training.resumable import TrainingFailed
from generators.training.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=6, batch_size=4, checkpoint_every=2, checkpoints_kept=2, threads=1)


def make(settings: TrainingSettings = SETTINGS, seed: int = 0, **keywords: object) -> Trainer:
    networks = keywords.pop("networks", NETWORKS)
    data = keywords.pop("data", records())
    random = torch.Generator().manual_seed(seed)
    return Trainer(template(), grid(), networks, settings, data, random, **keywords)  # type: ignore[arg-type]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return trainer.state.tensors()


def differing(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> list[str]:
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


def test_batches_are_grids_of_turned_training_structures() -> None:
    dataset = StructureDataset(records(1), grid(), NETWORKS.conditions, template())
    grids, rows, _ = dataset.batch(16, torch.Generator().manual_seed(0))
    turned = [
        densities(dataset.positions * torch.tensor([x, y, 1.0]), dataset.channels, grid())[0]
        for x in (1.0, -1.0)
        for y in (1.0, -1.0)
    ]
    for one in grids:
        assert min((one - other).abs().max() for other in turned) < 1e-5  # wrapping rounds in single precision
    assert rows.shape == (16, 1)


def test_structures_are_drawn_by_weight() -> None:
    weighted = [replace(record, weight=weight) for record, weight in zip(records(3), (0.0, 1.0, 3.0), strict=True)]
    dataset = StructureDataset(weighted, grid(), NETWORKS.conditions, template())
    drawn = dataset.draw(4000, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    assert shares[0] == 0.0
    assert shares[1] == pytest.approx(0.25, abs=0.03)  # four standard deviations of 4000 draws


def test_mean_density_is_that_of_drawn_grids() -> None:
    dataset = StructureDataset(records(), grid(), NETWORKS.conditions, template())
    grids, _, _ = dataset.batch(400, torch.Generator().manual_seed(0))
    means = grids.mean(dim=(0, 2, 3, 4))
    assert means.tolist() == pytest.approx(dataset.mean_density(), rel=0.05)  # one or two O, 400 draws


def test_condition_table_holds_the_joint_shares() -> None:
    dataset = StructureDataset(records(12), grid(), NETWORKS.conditions, template())
    rows, shares = dataset.condition_table()
    assert rows == [[0.0], [1.0], [2.0]]
    assert shares == pytest.approx([1 / 3, 1 / 3, 1 / 3])


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_impossible_weights_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="`weight`"):
        StructureDataset([replace(records(1)[0], weight=weight)], grid(), NETWORKS.conditions, template())


def test_no_structures_are_refused() -> None:
    with pytest.raises(ValueError, match="`records` is empty"):
        StructureDataset([], grid(), NETWORKS.conditions, template())


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    trainers = [make(seed=seed) for seed in (0, 0, 1)]
    for trainer in trainers:
        list(trainer.run())
    assert differing(weights(trainers[0]), weights(trainers[1])) == []
    assert "averaged.dense.weight" in differing(weights(trainers[0]), weights(trainers[2]))


@pytest.mark.parametrize("channels_last", [False, True])
def test_resuming_gives_the_bits_of_an_uninterrupted_run(tmp_path: Path, channels_last: bool) -> None:
    settings = replace(SETTINGS, channels_last=channels_last)
    whole = make(settings)
    metrics = list(whole.run(tmp_path / "whole"))
    interrupted = make(settings).run(tmp_path / "parts")
    for _ in range(3):
        next(interrupted)
    interrupted.close()
    resumed = make(settings, seed=5)  # its own seed must not matter
    rest = list(resumed.run(tmp_path / "parts"))
    assert [m["step"] for m in rest] == [1, 2, 3, 4, 5, 6]  # the first two from the checkpoint's own record
    timeless = [[{k: v for k, v in m.items() if k != "seconds"} for m in told] for told in (rest, metrics)]
    assert timeless[0] == timeless[1]
    assert differing(weights(whole), weights(resumed)) == []


def test_a_finished_training_only_tells_what_it_told(tmp_path: Path) -> None:
    told = list(make().run(tmp_path))
    assert list(make().run(tmp_path)) == told  # the seconds too: no step was done again


def test_a_damaged_record_of_what_was_told_is_said_and_costs_no_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = make()
    list(whole.run(tmp_path))
    told = tmp_path / "told.jsonl"
    told.write_bytes(told.read_bytes()[:-20])
    resumed = make()
    with caplog.at_level(logging.WARNING):
        assert [m["step"] for m in resumed.run(tmp_path)] == [1, 2, 3, 4, 5]
    assert "loss curves" in caplog.text
    assert differing(weights(whole), weights(resumed)) == []


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    list(make().run(tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir())
    kept = [f"checkpoint-{step:08d}.{end}" for step in (4, 6) for end in ("json", "safetensors")]
    assert names == [*kept, "told.jsonl"]


@pytest.mark.fault(14, "newest checkpoint of a training damaged", "equal weights from the one before, which is said")
@pytest.mark.parametrize("damage", ["cut", "flipped", "no_json", "empty_json", "flipped_json"])
def test_a_damaged_checkpoint_is_passed_over_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    whole = make()
    list(whole.run(tmp_path))
    last = tmp_path / "checkpoint-00000006.safetensors"
    data = bytearray(last.read_bytes())
    if damage == "cut":
        last.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[-5] ^= 1
        last.write_bytes(data)
    elif damage == "no_json":
        last.with_suffix(".json").unlink()
    elif damage == "empty_json":
        last.with_suffix(".json").write_bytes(b"")
    else:  # a digit of a counter becomes another digit
        record = last.with_suffix(".json").read_bytes()
        assert record.count(b'"critic_steps": 6') == 1
        last.with_suffix(".json").write_bytes(record.replace(b'"critic_steps": 6', b'"critic_steps": 7'))
    resumed = make()
    with caplog.at_level(logging.WARNING):
        steps = [metrics["step"] for metrics in resumed.run(tmp_path)]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert ("passed over" in caplog.text) == (damage != "no_json")  # without its record it never was a checkpoint
    assert differing(weights(whole), weights(resumed)) == []


def test_a_gan_does_not_name_its_kind_as_its_oldest_checkpoints_do_not(tmp_path: Path) -> None:
    list(make().run(tmp_path))
    found = load_last_checkpoint(tmp_path)
    assert found is not None and "generator" not in found[1]


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    list(make().run(tmp_path))
    with pytest.raises(WeightsError, match=r"another training: `training.batch_size` is 4 but must be 5"):
        list(make(replace(SETTINGS, batch_size=5)).run(tmp_path))
    with pytest.raises(WeightsError, match="another training: `data`"):
        list(make(data=records(11)).run(tmp_path))


def _poison(trainer: Trainer, when: list[int]) -> list[int]:
    """Make the critic's loss NaN in the steps of `when`, counted over all attempts; returns the attempts made."""
    attempts: list[int] = []
    healthy = trainer.steps.loss

    def generator_loss(fake: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        attempts.append(len(attempts))
        return healthy.generator(fake, real) * (float("nan") if attempts[-1] in when else 1.0)

    trainer.steps.loss = replace(healthy, generator=generator_loss)
    return attempts


@pytest.mark.fault(12, "a loss that is NaN once", "back to the last checkpoint at half the rates")
def test_nan_goes_back_to_the_last_checkpoint_at_half_the_rates(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make()
    _poison(trainer, when=[3])
    with caplog.at_level(logging.WARNING):
        metrics = list(trainer.run())
    assert [m["step"] for m in metrics] == [1, 2, 3, 3, 4, 5, 6]  # step 4 failed: back to the state after step 2
    assert [m["rollbacks"] for m in metrics] == [0, 0, 0, 1, 1, 1, 1]
    assert trainer.state.generator_optimiser.param_groups[0]["lr"] == SETTINGS.generator_rate / 2
    assert "`generator_loss`" in caplog.text and "back to step 2" in caplog.text
    assert all(torch.isfinite(tensor.float()).all() for tensor in weights(trainer).values())


def test_nan_that_stays_fails_after_the_allowed_rollbacks() -> None:
    trainer = make(replace(SETTINGS, max_rollbacks=2))
    attempts = _poison(trainer, when=list(range(100)))
    with pytest.raises(TrainingFailed, match="`generator_loss`.* at step 1 is not finite"):
        list(trainer.run())
    assert len(attempts) == 3


def test_a_warm_start_begins_with_the_saved_weights(tmp_path: Path) -> None:
    first = make()
    list(first.run())
    first.save(tmp_path / "weights.safetensors")
    second = make(seed=3, warm_start=tmp_path / "weights.safetensors")
    for name, tensor in first.averaged.state_dict().items():
        assert torch.equal(tensor, second.state.generator.state_dict()[name])
    for name, tensor in first.state.critic.state_dict().items():
        assert torch.equal(tensor, second.state.critic.state_dict()[name])


def test_half_precision_weights_come_back_as_single_within_rounding(tmp_path: Path) -> None:
    trainer = make()
    trainer.save(tmp_path / "weights.safetensors", half=True)
    tensors, _ = load_weights(tmp_path / "weights.safetensors")
    kept, original = tensors["generator.dense.weight"], trainer.averaged.state_dict()["dense.weight"]
    assert kept.dtype == torch.float32
    assert torch.allclose(kept, original, rtol=2**-10, atol=1e-6)  # half precision keeps 11 bits


def test_weights_for_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    make().save(path)
    with pytest.raises(WeightsError, match=r"do not fit: `network.latent` is 8 but must be 9"):
        make(networks=replace(NETWORKS, latent=9), warm_start=path)
    record = read_record(path.with_suffix(".json"))
    record["grid"]["lengths"][0] *= 1.01
    path.with_suffix(".json").write_bytes(sealed(record))
    make(warm_start=path)  # another potential's lattice
    record["grid"]["sigma"] *= 2.0
    path.with_suffix(".json").write_bytes(sealed(record))
    with pytest.raises(WeightsError, match="do not fit: `grid.sigma`"):
        make(warm_start=path)


def test_missing_or_altered_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(WeightsError, match="does not exist"):
        load_weights(path)
    save_weights(path, {"a": torch.ones(3)}, {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="SHA-256"):
        load_weights(path)


def test_nothing_is_left_of_a_write_that_was_cut_short(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-00000002.safetensors.part").write_bytes(b"half")
    assert load_last_checkpoint(tmp_path) is None
    assert len(list(make().run(tmp_path))) == SETTINGS.steps


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_trains(loss: str) -> None:
    metrics = list(make(replace(SETTINGS, loss=loss, steps=2)).run())
    assert len(metrics) == 2
    assert ("penalty" in metrics[0]) == (LOSSES[loss].penalty is not None)


def test_penalty_is_taken_every_given_number_of_critic_steps() -> None:
    metrics = list(make(replace(SETTINGS, critic_steps=1, penalty_every=3)).run())
    assert ["penalty" in m for m in metrics] == [True, False, False, True, False, False]


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    list(make().run())
    assert torch.get_num_threads() == before


def test_generated_density_moves_to_the_data() -> None:
    """After 150 steps the mean grid is far nearer to the data's than before; half as near would still be learning."""
    settings = replace(SETTINGS, steps=150, critic_steps=2, batch_size=8, generator_rate=2e-3, critic_rate=2e-3)
    trainer = make(settings)
    random = torch.Generator().manual_seed(1)
    grids, rows, _ = trainer.dataset.batch(200, random)
    noise = torch.randn(200, NETWORKS.latent, generator=random)

    def distance() -> float:
        with torch.no_grad():
            return float((trainer.averaged(noise, rows).mean(0) - grids.mean(0)).norm())

    before = distance()
    list(trainer.run())
    assert distance() < 0.5 * before
