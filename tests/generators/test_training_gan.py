"""The GAN as a proposer: counts, conditions, determinism, warm starts, reasons."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gan_setting import NETWORKS, grid, records, template

from generators.gan import GanProposer
from generators.grids.spec import GridSpec
from generators.learned import WEIGHTS_NAME
from generators.networks.conditioning import ConditionSpec
from generators.proposal import Proposal, Proposer
from generators.sampling import Drawn, described_sampler
from generators.training.checkpoint import WeightsError
from generators.training.dataset import StructureDataset
from generators.training.settings import TrainingSettings
from generators.training.view import View

CELL_NETWORKS = replace(NETWORKS, lattice=True)
SETTINGS = TrainingSettings(steps=3, batch_size=4, checkpoint_every=2, threads=1)
OXYGEN = ConditionSpec("n_O", "class", n_classes=4)


def fitted(folder: Path | None = None, **keywords: object) -> GanProposer:
    proposer = GanProposer(template(), grid(), NETWORKS, SETTINGS, folder=folder, **keywords)  # type: ignore[arg-type]
    proposer.fit(records(), np.random.default_rng(0))
    return proposer


def same(first: list[Proposal], second: list[Proposal]) -> bool:
    return all(np.array_equal(a.positions, b.positions) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("n", [0, 1, 70])
def test_as_many_proposals_as_asked_for(n: int) -> None:
    proposer: Proposer = fitted()
    proposals = proposer.sample(n, {"energy_class": 1}, np.random.default_rng(0))
    assert len(proposals) == n
    for proposal in proposals:
        assert proposal.condition == {"energy_class": 1}
        assert (proposal.reason is None) == (len(proposal.numbers) > 0)


def test_sampling_is_a_function_of_the_generator() -> None:
    proposer = fitted()
    grids = [proposer.sample_grids(5, {}, np.random.default_rng(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(grids[0], grids[1])
    assert not torch.equal(grids[0], grids[2])
    first, second = (proposer.sample(5, {}, np.random.default_rng(1)) for _ in range(2))
    assert same(first, second)


def test_fitting_is_a_function_of_the_generator() -> None:
    grids = [fitted().sample_grids(3, {}, np.random.default_rng(1))[0] for _ in range(2)]
    assert torch.equal(*grids)


def test_conditions_without_a_value_are_drawn_as_the_data_have_them() -> None:
    networks = replace(NETWORKS, conditions=(*NETWORKS.conditions, OXYGEN))
    proposer = GanProposer(template(), grid(), networks, SETTINGS)
    proposer.fit(records(), np.random.default_rng(0))
    _, rows = proposer.sample_grids(60, {"energy_class": 2}, np.random.default_rng(0))
    assert set(rows[:, 0].tolist()) == {2.0}
    assert set(rows[:, 1].tolist()) == {1.0, 2.0}
    _, rows = proposer.sample_grids(60, {"n_O": 3}, np.random.default_rng(0))  # a count that no structure has
    assert set(rows[:, 1].tolist()) == {3.0}
    assert set(rows[:, 0].tolist()) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("condition", [{"energy_class": 3}, {"energy_class": -1}, {"gamma": 0.1}])
def test_conditions_that_do_not_fit_are_refused(condition: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="condition `"):
        fitted().sample(2, condition, np.random.default_rng(0))


def test_a_warm_start_samples_what_the_trained_network_sampled(tmp_path: Path) -> None:
    trained = fitted(tmp_path)
    loaded = GanProposer(template(), grid(), NETWORKS, SETTINGS, warm_start=tmp_path / WEIGHTS_NAME)
    grids = [proposer.sample_grids(4, {}, np.random.default_rng(1))[0] for proposer in (trained, loaded)]
    assert torch.equal(*grids)


def test_a_checkpoint_is_no_warm_start(tmp_path: Path) -> None:
    fitted(tmp_path)
    with pytest.raises(WeightsError, match="checkpoint of a training"):
        GanProposer(template(), grid(), NETWORKS, SETTINGS, warm_start=tmp_path / "checkpoint-00000003.safetensors")


def test_progress_sees_every_step() -> None:
    steps: list[float] = []
    fitted(progress=lambda metrics: steps.append(metrics["step"]))
    assert steps == [1, 2, 3]


def test_an_unreadable_grid_is_a_proposal_with_a_reason() -> None:
    proposals = fitted().sample(8, {}, np.random.default_rng(0))
    unreadable = [proposal for proposal in proposals if proposal.reason is not None]
    assert unreadable, "three steps from random weights cannot make atoms"
    assert all(proposal.positions.shape == (0, 3) for proposal in unreadable)


def test_sampling_before_fitting_is_refused() -> None:
    with pytest.raises(RuntimeError, match="no weights yet"):
        GanProposer(template(), grid(), NETWORKS, SETTINGS).sample(1, {}, np.random.default_rng(0))


def test_full_cells_are_laid_on_the_template() -> None:
    """A generator that puts out a training structure, shifted as augmentation does, gives its free atoms back."""
    spec = GridSpec.for_cell(template().cell, (16, 16, 32), ("Ru", "O"), 0.4)
    proposer = GanProposer(template(), spec, CELL_NETWORKS, SETTINGS, view=View("cell"))
    proposer.fit(records(), np.random.default_rng(0))
    assert proposer._sampler is not None and proposer._sampler.scale is not None
    whole = [proposer._whole(record) for record in records(4)]
    dataset = StructureDataset(whole, spec, NETWORKS.conditions, None, view=View("cell"))
    batch = dataset.batch(4, torch.Generator().manual_seed(3))
    lengths = dataset.lattice_scale.lengths(batch.lattice)
    proposals = proposer.reader.read(Drawn(batch.grids, batch.conditions, lengths), proposer.conditions)
    assert [proposal.reason for proposal in proposals] == [None] * 4
    for proposal in proposals:
        known = [r for r in records(4) if len(r.numbers) == len(proposal.numbers)]
        heights = np.sort(proposal.positions[:, 2])
        assert min(np.abs(np.sort(r.positions[:, 2]) - heights).max() for r in known) < 0.02  # Å


def test_a_cell_that_fits_no_template_is_a_proposal_with_a_reason() -> None:
    spec = GridSpec.for_cell(template().cell, (8, 8, 16), ("Ru", "O"), 0.8)
    proposer = GanProposer(template(), spec, CELL_NETWORKS, SETTINGS, view=View("cell"))
    proposer.fit(records(), np.random.default_rng(0))
    proposals = proposer.sample(3, {}, np.random.default_rng(1))
    assert len(proposals) == 3
    assert all(proposal.reason is not None and len(proposal.numbers) == 0 for proposal in proposals)


def test_slices_are_no_proposals() -> None:
    with pytest.raises(ValueError, match="`view`"):
        GanProposer(template(), grid(), NETWORKS, SETTINGS, view=View("slice"))


def test_a_wider_noise_makes_more_different_grids() -> None:
    """Untrained: the spread of the outputs grows with that of the noise."""
    narrow, wide = (fitted(noise_temperature=temperature) for temperature in (0.3, 2.0))
    spreads = [
        p.sample_grids(40, {"energy_class": 0}, np.random.default_rng(0))[0].std(dim=0).mean() for p in (narrow, wide)
    ]
    assert spreads[0] < spreads[1]


def test_weights_that_describe_themselves_are_sampled(tmp_path: Path) -> None:
    trained = fitted(tmp_path)
    sampler = described_sampler(tmp_path / WEIGHTS_NAME, template())
    assert torch.equal(
        sampler.draw(4, {}, np.random.default_rng(1)).grids, trained.sample_grids(4, {}, np.random.default_rng(1))[0]
    )
    way = sampler.path(5, np.random.default_rng(0))
    assert way.shape == (5, 2, 8, 8, 8) and not torch.equal(way[0], way[4])
    with pytest.raises(WeightsError, match="template"):
        described_sampler(tmp_path / WEIGHTS_NAME)


def test_networks_without_conditions_are_trained_kept_and_sampled(tmp_path: Path) -> None:
    networks = replace(NETWORKS, conditions=())
    proposer = GanProposer(template(), grid(), networks, SETTINGS, folder=tmp_path)
    proposer.fit(records(), np.random.default_rng(0))
    again = GanProposer(template(), grid(), networks, SETTINGS, warm_start=tmp_path / WEIGHTS_NAME)
    grids = [p.sample_grids(3, {}, np.random.default_rng(1))[0] for p in (proposer, again)]
    assert torch.equal(*grids) and proposer.sample(3, {}, np.random.default_rng(1))[0].condition == {}


def test_hotter_noise_gives_other_samples() -> None:
    cold, hot = fitted(), fitted(noise_temperature=2.0)
    grids = [p.sample_grids(3, {}, np.random.default_rng(1))[0] for p in (cold, hot)]
    assert not torch.equal(*grids)


def test_training_begins_with_weights_of_a_cell_of_other_lengths(tmp_path: Path) -> None:
    fitted(tmp_path)
    wider = replace(template(), cell=np.array([4.6, 4.6, 16.0]))
    spec = GridSpec.for_window(wider, (8, 8, 8), ("Ru", "O"), sigma=0.45)
    spec = replace(spec, sigma=grid().sigma)
    weights = tmp_path / WEIGHTS_NAME
    grids = []
    for transfer in (None, weights):
        proposer = GanProposer(wider, spec, NETWORKS, SETTINGS, transfer=transfer)
        proposer.fit(records(), np.random.default_rng(0))
        grids.append(proposer.sample_grids(3, {}, np.random.default_rng(1))[0])
    assert not torch.equal(*grids)
    with pytest.raises(WeightsError, match="lengths"):
        GanProposer(wider, spec, NETWORKS, SETTINGS, warm_start=weights)
    finer = GridSpec.for_window(wider, (16, 8, 8), ("Ru", "O"), sigma=0.4)
    with pytest.raises(WeightsError, match="shape"):
        GanProposer(wider, finer, NETWORKS, SETTINGS, transfer=weights).fit(records(), np.random.default_rng(0))


def test_given_noise_makes_the_same_proposals_whoever_draws_it() -> None:
    proposer = fitted()
    rows, shares = proposer.condition_choices({"energy_class": 1})
    assert rows.tolist() == [[1.0]]
    assert shares.tolist() == [1.0]
    everything, shares = proposer.condition_choices({})
    assert sorted(everything[:, 0].tolist()) == [0.0, 1.0, 2.0]
    assert shares.sum() == pytest.approx(1.0)
    noise = np.random.default_rng(0).standard_normal((5, proposer.latent))
    one, more = (proposer.propose(noise[:k], np.repeat(rows, k, axis=0)) for k in (2, 5))
    assert same(one, more[:2])
    assert [proposal.condition for proposal in more] == [{"energy_class": 1}] * 5
    assert proposer.propose(noise[:0], rows[:0]) == []
