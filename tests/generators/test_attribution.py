"""Attributions add up: voxels to the critic's answer, atoms to the voxels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gan_setting import CHEMICAL_POTENTIAL, CLASSES, NETWORKS, grid, records, template

from generators.attribution import SCORE, TrainedCritic, answers, attribute, gathered_on_atoms
from generators.grids.density import densities, pack
from generators.networks.settings import NetworkSettings
from generators.training.checkpoint import WeightsError
from generators.training.loop import Trainer
from generators.training.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=2, batch_size=4, threads=1, check_every=0)
LAYOUTS = {
    "telling": replace(NETWORKS, condition_head=True, conditions=(CLASSES, CHEMICAL_POTENTIAL)),
    "packing": replace(NETWORKS, packing=2, conditions=(CLASSES, CHEMICAL_POTENTIAL)),
}


def critic_of(folder: Path, networks: NetworkSettings) -> TrainedCritic:
    data = [replace(record, condition={**record.condition, "delta_mu_o": -0.5}) for record in records()]
    trainer = Trainer(template(), grid(), networks, SETTINGS, data, torch.Generator().manual_seed(0))
    list(trainer.run())
    trainer.save(folder / "weights.safetensors")
    return TrainedCritic.load(folder / "weights.safetensors", template())


def two_structures() -> tuple[torch.Tensor, torch.Tensor]:
    data = records(2)
    grids = densities(*pack([(one.numbers, one.positions) for one in data], grid(), dtype=torch.float32), grid())
    return grids, torch.tensor([[0.0, -0.5], [1.0, -1.0]])


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_voxels_add_up_to_the_answer(tmp_path: Path, layout: str) -> None:
    """To the quadrature's error at the kinks of leaky rectifiers: a hundredth of all parts without their signs."""
    pytest.importorskip("captum", reason="Captum is an optional dependency")
    critic = critic_of(tmp_path, LAYOUTS[layout])
    assert critic.answers == (SCORE, "energy_class", "delta_mu_o")[: 3 if layout == "telling" else 1]
    grids, rows = two_structures()
    for answer in critic.answers:
        found = attribute(critic, grids, rows, answer)
        expected = answers(critic, grids, rows, answer) - answers(critic, torch.zeros_like(grids), rows, answer)
        assert found.shape == grids.shape
        apart = (found.flatten(1).sum(dim=1) - expected).abs()
        assert bool((apart < 1e-2 * found.abs().flatten(1).sum(dim=1)).all())
        assert float(found[grids == 0.0].abs().max()) == 0.0  # nothing is said of where nothing is


def test_atoms_add_up_to_the_voxels() -> None:
    one = records(2)[1]
    made = densities(*pack([(one.numbers, one.positions)], grid()), grid())[0]
    attribution = made * torch.rand(made.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    atoms = gathered_on_atoms(attribution, one.numbers, one.positions, grid())
    assert atoms.shape == (3,)
    assert atoms.sum() == pytest.approx(float(attribution.sum()), rel=1e-6)  # densities below 1e-12 are left out


def test_each_atom_gets_what_is_at_it() -> None:
    """What is attributed to the oxygen channel near one of two oxygen atoms is that atom's."""
    one = records(2)[1]
    (near,) = densities(*pack([(np.array([8]), one.positions[2:])], grid()), grid())
    atoms = gathered_on_atoms(near, one.numbers, one.positions, grid())
    assert atoms[0] == 0.0
    assert atoms[2] > 0.95 * atoms.sum()  # 2.4 Å = 6 σ apart


def test_an_answer_that_is_not_given_is_refused(tmp_path: Path) -> None:
    critic = critic_of(tmp_path, LAYOUTS["packing"])
    with pytest.raises(ValueError, match="`answer` is 'energy_class' but this critic answers with"):
        attribute(critic, *two_structures(), "energy_class")


def test_weights_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        TrainedCritic.load(tmp_path / "weights.safetensors", template())
