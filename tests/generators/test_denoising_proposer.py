"""The denoiser as a proposer: counts, conditions, determinism, weights, guidance, and that it draws what it learned."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from denoiser_setting import NETWORK, SETTINGS
from gan_setting import CLASSES, NETWORKS, grid, records, template

from generators.denoising.proposer import DenoiserProposer
from generators.denoising.sampling import DenoiserSampler
from generators.denoising.settings import DenoiserSamplingSettings
from generators.gan import GanProposer
from generators.grids.backmapping import BackmappingSettings
from generators.learned import WEIGHTS_NAME
from generators.proposal import Proposer, TrainingRecord
from generators.sampling import Drawn, described_sampler
from generators.training.checkpoint import WeightsError
from generators.training.processes import ALONE
from generators.training.settings import TrainingSettings
from generators.training.view import View

FEW = DenoiserSamplingSettings(steps=3)
WALK = DenoiserSamplingSettings(sampler="walk_jump", walk_steps=3)


def fitted(
    folder: Path | None = None, sampling: DenoiserSamplingSettings = FEW, **keywords: object
) -> DenoiserProposer:
    settings = keywords.pop("settings", SETTINGS)
    proposer = DenoiserProposer(
        template(),
        grid(),
        NETWORK,
        settings,
        folder=folder,
        sampling=sampling,
        **keywords,  # type: ignore[arg-type]
    )
    proposer.fit(records(), np.random.default_rng(0))
    return proposer


@pytest.mark.parametrize("sampling", [FEW, WALK, replace(WALK, jump_steps=2), replace(FEW, churn=1.0, guidance=2.0)])
def test_as_many_proposals_as_asked_for_and_the_same_from_the_same_numbers(sampling: DenoiserSamplingSettings) -> None:
    proposer: Proposer = fitted(sampling=sampling)
    for n in (0, 3):
        proposals = proposer.sample(n, {"energy_class": 1}, np.random.default_rng(0))
        assert len(proposals) == n
        for proposal in proposals:
            assert proposal.condition == {"energy_class": 1}
            assert (proposal.reason is None) == (len(proposal.numbers) > 0)
    first, again, other = (proposer.sample_grids(2, {}, np.random.default_rng(k))[0] for k in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert float(first.min()) >= 0.0 and float(first.max()) <= 1.0


def test_a_grid_that_cannot_be_read_is_a_proposal_with_its_reason() -> None:
    proposer = fitted()
    noise = torch.rand(1, 2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    (proposal,) = proposer.reader.read(Drawn(noise, torch.zeros(1, 1), None), proposer.conditions)
    assert proposal.reason is not None and len(proposal.numbers) == 0
    assert proposal.condition == {"energy_class": 0}


def test_unknown_conditions_and_temperatures_are_refused() -> None:
    proposer = fitted()
    with pytest.raises(ValueError, match="`energy_class` is 7"):
        proposer.sample(1, {"energy_class": 7}, np.random.default_rng(0))
    with pytest.raises(ValueError, match="`temperature` is 1.4 but must be 1"):
        DenoiserSampler.of(proposer.training(records(), torch.Generator(), ALONE)).draw(
            1, {}, np.random.default_rng(0), temperature=1.4
        )
    with pytest.raises(RuntimeError, match="no weights yet"):
        DenoiserProposer(template(), grid(), NETWORK, SETTINGS).sample(1, {}, np.random.default_rng(0))
    with pytest.raises(ValueError, match="slices"):
        DenoiserProposer(template(), grid(), NETWORK, SETTINGS, view=View("slice"))


def test_guidance_goes_on_from_the_answer_without_conditions() -> None:
    """At 0 the conditions do not matter, at 1 they are as learned, and in between the answers are mixed."""
    proposer = fitted()
    sampler = proposer._sampler
    assert isinstance(sampler, DenoiserSampler)
    noisy = torch.randn(2, 2, 8, 8, 8, generator=torch.Generator().manual_seed(0))

    def answer(guidance: float, value: float) -> torch.Tensor:
        guided = replace(sampler, sampling=replace(FEW, guidance=guidance))
        with torch.no_grad():
            return guided._denoise(torch.full((2, 1), value))(noisy, 0.5)

    assert torch.equal(answer(0.0, 0.0), answer(0.0, 1.0))
    mean = 0.5 * (answer(0.0, 0.0) + answer(1.0, 0.0))
    assert torch.allclose(answer(0.5, 0.0), mean, atol=1e-6)


def test_guidance_of_weights_that_never_had_conditions_hidden_is_refused(tmp_path: Path) -> None:
    fitted(tmp_path, settings=replace(SETTINGS, condition_dropout=0.0))
    with pytest.raises(ValueError, match="`guidance` is 2.0 but must be 1"):
        DenoiserProposer(
            template(),
            grid(),
            NETWORK,
            SETTINGS,
            warm_start=tmp_path / WEIGHTS_NAME,
            sampling=replace(FEW, guidance=2.0),
        )


def test_weights_on_disk_give_the_same_samples_and_describe_themselves(tmp_path: Path) -> None:
    proposer = fitted(tmp_path)
    loaded = DenoiserProposer(template(), grid(), NETWORK, SETTINGS, warm_start=tmp_path / WEIGHTS_NAME, sampling=FEW)
    expected = proposer.sample_grids(3, {}, np.random.default_rng(4))[0]
    assert torch.equal(loaded.sample_grids(3, {}, np.random.default_rng(4))[0], expected)
    described = described_sampler(tmp_path / WEIGHTS_NAME, template())
    assert described.conditions == (CLASSES,)
    assert described.path(3, np.random.default_rng(0)).shape == (3, 2, 8, 8, 8)


def test_weights_of_the_other_kind_are_refused_by_name(tmp_path: Path) -> None:
    denoiser, gan = tmp_path / "denoiser", tmp_path / "gan"
    fitted(denoiser)
    settings = TrainingSettings(steps=1, batch_size=4, threads=1, check_every=0)
    GanProposer(template(), grid(), NETWORKS, settings, folder=gan).fit(records(), np.random.default_rng(0))
    with pytest.raises(WeightsError, match="`generator` is 'gan' but must be 'denoiser'"):
        DenoiserProposer(template(), grid(), NETWORK, SETTINGS, warm_start=gan / WEIGHTS_NAME)
    with pytest.raises(WeightsError, match="`generator` is 'denoiser' but must be 'gan'"):
        GanProposer(template(), grid(), NETWORKS, settings, warm_start=denoiser / WEIGHTS_NAME)
    with pytest.raises(WeightsError, match="a checkpoint of a training"):
        DenoiserProposer(template(), grid(), NETWORK, SETTINGS, warm_start=denoiser / "checkpoint-00000006.safetensors")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_few_structures_are_drawn_again() -> None:
    """Three different structures, each of its own class, and their mirror images.

    Most samples must hold the atoms of the structure of their class, each within 0.3 Å of its place: a third of the
    shortest distance between sites, and several times what a grid's voxels of 0.5 Å cost in the inversion.
    """
    sites = np.array([[2.0, 2.0, 2.5], [2.0, 0.0, 3.6], [0.0, 2.0, 3.6]])
    chosen = ((0,), (0, 1), (0, 1, 2))
    known = [
        TrainingRecord(np.array([44, 8, 8])[list(which)], sites[list(which)], {"energy_class": number})
        for number, which in enumerate(chosen)
    ]
    network = replace(NETWORK, channels=(16, 24), embedding=32)
    settings = replace(SETTINGS, steps=600, batch_size=16, checkpoint_every=600)
    reading = BackmappingSettings(integral_decides=True)
    proposer = DenoiserProposer(template(), grid(), network, settings, reading)
    proposer.fit(known, np.random.default_rng(0))
    for number, record in enumerate(known):
        proposals = proposer.sample(12, {"energy_class": number}, np.random.default_rng(number))
        same = [_same(proposal.numbers, proposal.positions, record) for proposal in proposals]
        assert np.mean(same) > 0.7, (number, same)


def _same(numbers: np.ndarray, positions: np.ndarray, record: TrainingRecord) -> bool:
    if sorted(numbers) != sorted(record.numbers):
        return False
    offsets = positions[:, None] - record.positions[None]
    offsets[..., :2] -= 4.0 * np.round(offsets[..., :2] / 4.0)
    near = (np.linalg.norm(offsets, axis=-1) < 0.3) & (numbers[:, None] == record.numbers[None])
    return bool(near.any(axis=0).all())
