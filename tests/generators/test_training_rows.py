"""Every piece of the method trains from its name for a few steps, and what it keeps is resumed to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gan_setting import CHEMICAL_POTENTIAL, CLASSES, NETWORKS, cell_grid, cell_records, grid, records, template

from generators.networks.conditioning import ConditionSpec
from generators.networks.settings import NetworkSettings
from generators.training.appearance import voxel_images
from generators.training.dataset import StructureDataset
from generators.training.loop import Trainer
from generators.training.settings import TrainingSettings
from generators.training.view import WINDOW, View

SETTINGS = TrainingSettings(steps=2, batch_size=4, checkpoint_every=1, threads=1, check_every=0)
OXYGEN = ConditionSpec("n_oxygen", "class", n_classes=4)
CELL, SLICE = View("cell"), View("slice", axis=1, planes=(0.0, 0.5))

NETWORK_ROWS: dict[str, dict[str, Any]] = {
    "integer_constant": {"condition_method": "integer", "critic_condition": "constant"},
    "one_hot_constant": {"condition_method": "one_hot", "critic_condition": "constant"},
    "embedding_channel": {"critic_condition": "channel"},
    "both": {"critic_condition": "both"},
    "two_conditions": {"conditions": (CLASSES, CHEMICAL_POTENTIAL)},
    "unconditioned": {"conditions": ()},
    "batch_norm_before_sigmoid": {"output_norm": "batch", "generator_norm": "batch", "generator_head": "density"},
    "unwrapped": {"doubling": "unwrapped"},
    "discrimination": {"minibatch_kernels": 3},
    "packing": {"packing": 2},
    "dropout": {"critic_dropout": 0.5, "critic_norm": "layer"},
    "spectral": {"critic_spectral": True},
    "condition_head": {"condition_head": True, "conditions": (CLASSES, CHEMICAL_POTENTIAL)},
    "information": {"information": 2},
}
TRAINING_ROWS: dict[str, dict[str, Any]] = {
    "r1": {"loss": "bce", "penalty": "r1"},
    "finite_difference": {"loss": "hinge", "penalty": "finite_difference_r1"},
    "no_penalty": {"penalty": "none"},
    "one_factor_per_epoch": {"penalty_interpolation": "epoch"},
    "adamw": {"optimiser": "adamw"},
    "rmsprop": {"optimiser": "rmsprop"},
    "extra_adam": {"optimiser": "extra_adam"},
    "cosine": {"schedule": "cosine"},
    "cyclic": {"schedule": "cyclic", "cycles": 2},
    "growth": {"batch_doublings": (1,)},
    "instance_noise": {"instance_noise": 0.1},
    "latent_noise": {"latent_noise": 0.5},
    "coarse": {"coarse_steps": 2},
    "replay": {"replay_size": 6},
    "unrolled": {"unrolled_steps": 2},
    "critic_pretraining": {"critic_pretraining": 3},
    "symmetries": {"symmetry_augmentation": "adaptive"},
    "clip": {"gradient_clip": 0.1},
    "balance": {"balance": ("energy_class",)},
    "blend": {"condition_start": 1, "condition_blend": 1},
    "curriculum": {"curriculum_steps": 2},
    "bf16": {"precision": "bf16"},
    "diversity": {"terms": {"diversity": 0.1}},
    "feature_matching": {"terms": {"feature_matching": 0.1}},
    "path_length": {"terms": {"path_length": 0.1}},
    "historical_average": {"terms": {"historical_average": 0.1}},
    "checked": {"check_every": 1},
}


def make(
    networks: NetworkSettings = NETWORKS, settings: TrainingSettings = SETTINGS, view: View = WINDOW, seed: int = 0
) -> Trainer:
    random = torch.Generator().manual_seed(seed)
    if view.kind == "window":
        data = [replace(record, condition={**record.condition, "delta_mu_o": -0.5}) for record in records()]
        return Trainer(template(), grid(), networks, settings, data, random)
    return Trainer(None, cell_grid(), networks, settings, cell_records(), random, view=view)


def train_in_two_parts(
    folder: Path, networks: NetworkSettings, settings: TrainingSettings, view: View = WINDOW
) -> None:
    """Train at once and with an interruption, and compare every bit."""
    whole = make(networks, settings, view)
    metrics = list(whole.run())
    assert [row["step"] for row in metrics] == list(range(1, settings.steps + 1))
    interrupted = make(networks, settings, view).run(folder)
    next(interrupted)
    interrupted.close()
    resumed = make(networks, settings, view, seed=9)
    list(resumed.run(folder))
    expected, found = whole.state.tensors(), resumed.state.tensors()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.mark.parametrize("row", sorted(NETWORK_ROWS))
def test_every_layout_trains_and_resumes(tmp_path: Path, row: str) -> None:
    train_in_two_parts(tmp_path, replace(NETWORKS, **NETWORK_ROWS[row]), SETTINGS)


@pytest.mark.parametrize("row", sorted(TRAINING_ROWS))
def test_every_stabiliser_trains_and_resumes(tmp_path: Path, row: str) -> None:
    train_in_two_parts(tmp_path, NETWORKS, replace(SETTINGS, **TRAINING_ROWS[row]))


@pytest.mark.parametrize("view", [CELL, SLICE, replace(CELL, augmentation="stored")], ids=["cell", "slice", "stored"])
def test_full_cells_and_slices_train_and_resume(tmp_path: Path, view: View) -> None:
    train_in_two_parts(tmp_path, replace(NETWORKS, lattice=True), SETTINGS, view)


def test_the_atom_counts_term_pulls_the_integral_to_what_is_asked() -> None:
    """Alone against an idle critic, 30 steps leave less than half of the first mean square."""
    settings = replace(
        SETTINGS, steps=30, batch_size=8, terms={"count": 10.0}, critic_rate=1e-9, generator_rate=2e-3, ema_decay=0.5
    )
    data = [replace(record, condition={"n_oxygen": record.condition["n_O"]}) for record in records()]
    networks = replace(NETWORKS, conditions=(OXYGEN,))
    trainer = Trainer(template(), grid(), networks, settings, data, torch.Generator().manual_seed(0))
    misses = [metrics["count"] for metrics in trainer.run()]
    assert misses[-1] < 0.5 * misses[0]


def test_conditions_are_hidden_first_and_shown_in_the_end() -> None:
    trainer = make(settings=replace(SETTINGS, steps=4, condition_start=1, condition_blend=2))
    strengths = []
    for _ in trainer.run():
        strengths.append(trainer.state.generator.encoder.strength)
    assert strengths == [0.0, 0.0, 0.5, 1.0]
    assert trainer.averaged.encoder.strength == 1.0


def test_balanced_conditions_are_drawn_equally_often() -> None:
    data = [replace(records(1)[0], condition={"energy_class": value}) for value in (0, 0, 0, 0, 1)]
    dataset = StructureDataset(data, grid(), (CLASSES,), template(), balance=("energy_class",))
    rows, shares = dataset.condition_table()
    assert rows == [[0.0], [1.0]] and shares == pytest.approx([0.5, 0.5])


def test_a_curriculum_begins_with_the_smallest_values() -> None:
    dataset = StructureDataset(records(), grid(), (CLASSES,), template())
    drawn = dataset.draw(100, torch.Generator().manual_seed(0), reach=0.34)
    assert set(dataset.conditions[drawn, 0].tolist()) == {0.0}


def test_structures_in_cells_of_their_own_have_their_own_atoms() -> None:
    """∫ρ counts the atoms in every cell, whatever its lengths; voxels of 0.6 Å at σ 0.45 Å sum to 1e-2 of an atom."""
    dataset = StructureDataset(cell_records(), cell_grid(), (CLASSES,), None, view=CELL)
    batch = dataset.batch(12, torch.Generator().manual_seed(0))
    lengths = dataset.lattice_scale.lengths(batch.lattice)
    volumes = lengths.prod(dim=1) / 8**3
    counts = batch.grids.sum(dim=(2, 3, 4)) * volumes[:, None] / cell_grid().atom_volume
    assert torch.allclose(counts, counts.round(), atol=2e-2)
    assert len({round(float(length), 3) for length in lengths[:, 0]}) > 1


def test_slices_show_atoms() -> None:
    dataset = StructureDataset(cell_records(), cell_grid(), (CLASSES,), None, view=SLICE)
    grids = dataset.batch(12, torch.Generator().manual_seed(0)).grids
    assert grids.shape == (12, 2, 8, 8)
    assert float(grids.flatten(1).amax(dim=1).min()) >= 0.1


def test_symmetries_of_the_grid_are_those_of_the_template() -> None:
    """The mirrors of the template's cell take a symmetrised density into itself."""
    images = voxel_images(WINDOW, grid(), template())
    assert len(images) == len(template().rotations)
    assert torch.equal(images[0], torch.arange(8**3))
    for image in images:
        assert torch.equal(image.sort().values, images[0])


@pytest.mark.parametrize(
    ("networks", "settings", "name"),
    [
        ({"packing": 3}, {}, "`batch_size`"),
        ({"critic_dropout": 0.5}, {"compiled": True}, "`compiled`"),
        ({"conditions": ()}, {"curriculum_steps": 2}, "`curriculum_steps`"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(
    networks: dict[str, Any], settings: dict[str, Any], name: str
) -> None:
    with pytest.raises(ValueError, match=name):
        make(replace(NETWORKS, **networks), replace(SETTINGS, **settings))
