"""The denoiser's network: its factors, its symmetry, what it is told, any dimension, refused settings."""

from dataclasses import replace

import pytest
import torch
from denoiser_setting import NETWORK, drawn_denoiser
from gan_setting import CHEMICAL_POTENTIAL, CLASSES, grid, template

from generators.denoising.network import Denoiser
from generators.denoising.settings import (
    DenoiserNetworkSettings,
    DenoiserSamplingSettings,
    DenoiserTrainingSettings,
)
from generators.grids.density import frozen_density

ROWS = torch.tensor([[0.0], [2.0]])
LEVELS = torch.tensor([0.3, 2.0])


def noisy(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 2, 8, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("stem", "period"), [("halving", 4), ("keeping", 2)])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_shift_along_the_surface_shifts_the_answer(stem: str, period: int, axis: int) -> None:
    """By whole voxels of the coarsest resolution; sums in single precision come in another order."""
    network = drawn_denoiser(replace(NETWORK, stem=stem))
    shifted = drawn_denoiser(replace(NETWORK, stem=stem))
    shifted.frozen = network.frozen.roll(period, dims=axis)
    with torch.no_grad():
        expected = network(noisy(), LEVELS, ROWS).roll(period, dims=axis)
        found = shifted(noisy().roll(period, dims=axis), LEVELS, ROWS)
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(expected, network(noisy(), LEVELS, ROWS), atol=1e-2)


def test_the_vacuum_is_not_beside_the_frozen_atoms() -> None:
    """Along z nothing wraps, so that a shift does not commute with the network."""
    network = drawn_denoiser()
    network.frozen = torch.zeros_like(network.frozen)
    with torch.no_grad():
        expected = network(noisy(), LEVELS, ROWS).roll(4, dims=4)
        found = network(noisy().roll(4, dims=4), LEVELS, ROWS)
    assert float((found - expected).abs().max()) > 1e-2


def test_an_untrained_network_says_what_gaussian_data_would_be() -> None:
    """F is zero at first, and c_skip y is the mean of data N(0, σ_data²) given y (Karras et al. 2022, appendix B.6)."""
    random = torch.Generator().manual_seed(0)
    network = Denoiser(NETWORK, torch.zeros(2, 8, 8, 8), (True, True, False), data_deviation=0.5)
    network.initialise(random)
    with torch.no_grad():
        found = network(noisy(), LEVELS, ROWS)
    share = 0.25 / (0.25 + LEVELS.square())
    assert torch.allclose(found, share.view(-1, 1, 1, 1, 1) * noisy(), atol=1e-6)  # single precision


def test_noise_level_conditions_and_frozen_atoms_are_heard() -> None:
    network = drawn_denoiser()
    with torch.no_grad():
        answer = network(noisy(), LEVELS, ROWS)
        others = [
            network(noisy(), LEVELS + 1.0, ROWS),
            network(noisy(), LEVELS, ROWS.flip(0)),
            network(noisy(), LEVELS, ROWS, torch.tensor([False, False])),
        ]
        network.frozen = torch.zeros_like(network.frozen)
        others.append(network(noisy(), LEVELS, ROWS))
    for other in others:
        assert float((other - answer).abs().max()) > 1e-3


def test_hidden_conditions_do_not_matter() -> None:
    network = drawn_denoiser()
    hidden = torch.tensor([False, True])
    with torch.no_grad():
        first, second = (network(noisy(), LEVELS, torch.tensor([[k], [2.0]]), hidden) for k in (0.0, 1.0))
    assert torch.equal(first, second)


@pytest.mark.parametrize("conditions", [(), (CLASSES, CHEMICAL_POTENTIAL)], ids=["none", "two"])
@pytest.mark.parametrize("stem", ["halving", "keeping"])
@pytest.mark.parametrize("shape", [(8, 12), (4, 8, 12)], ids=["plane", "volume"])
def test_planes_and_volumes_of_any_shape(shape: tuple[int, ...], stem: str, conditions: tuple) -> None:
    settings = replace(NETWORK, stem=stem, conditions=conditions, channels=(4, 6), blocks=2)
    network = Denoiser(settings, torch.zeros(2, *shape), [True] * len(shape))
    network.initialise(torch.Generator().manual_seed(0))
    rows = torch.tensor([[1.0, -0.5][: len(conditions)]] * 3)
    grids = torch.ones(3, 2, *shape)
    assert network(grids, torch.ones(3), rows).shape == grids.shape


def test_a_shape_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`shape` is \(6, 8, 8\) but every axis must be divisible by 4"):
        Denoiser(NETWORK, torch.zeros(2, 6, 8, 8), (True, True, False))


@pytest.mark.parametrize(
    ("made", "changes", "name"),
    [
        (DenoiserNetworkSettings, {"stem": "wide"}, "`stem`"),
        (DenoiserNetworkSettings, {"norm": "batch"}, "`norm`"),
        (DenoiserNetworkSettings, {"channels": ()}, "`channels`"),
        (DenoiserNetworkSettings, {"embedding": 7}, "`embedding`"),
        (DenoiserTrainingSettings, {"optimiser": "extra_adam"}, "`optimiser`"),
        (DenoiserTrainingSettings, {"rate": 0.0}, "`rate`"),
        (DenoiserTrainingSettings, {"condition_dropout": 1.0}, "`condition_dropout`"),
        (DenoiserSamplingSettings, {"sampler": "euler"}, "`sampler`"),
        (DenoiserSamplingSettings, {"steps": 1}, "`steps`"),
        (DenoiserSamplingSettings, {"noise_max": 0.01}, "`noise_max`"),
        (DenoiserSamplingSettings, {"jump_steps": 2, "walk_noise": 0.01}, "`walk_noise`"),
    ],
)
def test_unfit_settings_are_refused_by_name(made: type, changes: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        made(**changes)


def test_the_template_gives_the_frozen_channel() -> None:
    network = drawn_denoiser()
    assert network.frozen.shape == (1, 2, 8, 8, 8)
    expected = frozen_density(template(), grid(), dtype=torch.float32)
    assert torch.equal(network.frozen[0], expected) and float(expected.max()) > 0.0
