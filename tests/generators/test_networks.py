"""Laws of the layers and networks: periodicity, adjointness, resolution, start near the data's mean."""

from dataclasses import replace

import pytest
import torch
from gan_setting import CHEMICAL_POTENTIAL, CLASSES, NETWORKS, grid
from torch.nn import functional

from generators.grids.density import integral_counts, spread_matrices
from generators.networks.dcwgan import Critic, Generator
from generators.networks.heads import HEADS, OccupancyHead
from generators.networks.layers import (
    DOUBLINGS,
    NORMS,
    BesideFrozen,
    MinibatchDeviation,
    PeriodicConvolution,
    initialise,
    keeping,
    store_channels_last,
    wrap_periodic,
)
from generators.networks.settings import NetworkSettings

PERIODIC = {2: (True, False), 3: (True, True, False)}
ROUNDING = {"atol": 1e-5, "rtol": 1e-4}
"""single precision after a handful of layers with values of order one"""


def random_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=random_generator(seed))


def frozen(n_dimensions: int, n: int = 8) -> torch.Tensor:
    return 0.1 * torch.rand(2, *[n] * n_dimensions, generator=random_generator(9))


def spread(n_dimensions: int, n: int = 8) -> list[torch.Tensor]:
    """Every voxel keeps half and gives a quarter to each neighbour, around all edges."""
    return [0.5 * torch.eye(n) + 0.25 * (torch.eye(n).roll(1, 0) + torch.eye(n).roll(-1, 0))] * n_dimensions


def make(settings: NetworkSettings, n_dimensions: int) -> tuple[Generator, Critic]:
    density = frozen(n_dimensions)
    generator = Generator(settings, density, PERIODIC[n_dimensions], (0.03, 0.05), spread(n_dimensions))
    critic = Critic(settings, density, PERIODIC[n_dimensions])
    generator.initialise(random_generator(1))
    critic.initialise(random_generator(2))
    return generator, critic


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("periodic", [(True, True, False), (False, True, True), (True, True, True), (False,) * 3])
def test_wrapping_equals_circular_padding(periodic: tuple[bool, ...], channels_last: bool) -> None:
    grid = noise(2, 3, 4, 5, 6)
    if channels_last:
        grid = grid.contiguous(memory_format=torch.channels_last_3d)
    expected = grid
    for axis, wraps in enumerate(periodic):
        pads = [0] * 6
        pads[2 * (2 - axis)] = pads[2 * (2 - axis) + 1] = int(wraps)
        expected = functional.pad(expected, pads, mode="circular")
    assert torch.equal(wrap_periodic(grid, periodic, 1), expected)


def test_wrapping_has_right_first_and_second_derivatives() -> None:
    grid = noise(1, 2, 3, 4, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda g: wrap_periodic(g, (True, True, False), 1), grid)
    assert torch.autograd.gradgradcheck(lambda g: wrap_periodic(g, (True, True, False), 1), grid)


@pytest.mark.parametrize("n_dimensions", [2, 3])
@pytest.mark.parametrize("doubling", sorted(set(DOUBLINGS) - {"unwrapped"}))
def test_doubling_commutes_with_translation_along_periodic_axes(doubling: str, n_dimensions: int) -> None:
    layer = DOUBLINGS[doubling](2, 3, PERIODIC[n_dimensions], True)
    initialise(layer, random_generator())
    grid = noise(1, 2, *[4] * n_dimensions)
    result = layer(grid)
    assert result.shape == (1, 3, *[8] * n_dimensions)
    assert torch.allclose(layer(grid.roll(1, dims=2)), result.roll(2, dims=2), **ROUNDING)
    moved_along_z = layer(grid.roll(1, dims=-1))
    assert not torch.allclose(moved_along_z, result.roll(2, dims=-1), **ROUNDING)


@pytest.mark.parametrize("n_dimensions", [2, 3])
def test_doubling_that_sees_nothing_beyond_the_cell_is_not_periodic(n_dimensions: int) -> None:
    layer = DOUBLINGS["unwrapped"](2, 3, PERIODIC[n_dimensions], True)
    initialise(layer, random_generator())
    grid = noise(1, 2, *[4] * n_dimensions)
    result = layer(grid)
    assert result.shape == (1, 3, *[8] * n_dimensions)
    assert not torch.allclose(layer(grid.roll(1, dims=2)), result.roll(2, dims=2), **ROUNDING)


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_commutes_with_translation_along_periodic_axes_only(stride: int) -> None:
    layer = PeriodicConvolution(2, 3, PERIODIC[3], stride=stride)
    grid = noise(1, 2, 8, 8, 8)
    for axis in (2, 3):
        assert torch.allclose(layer(grid.roll(stride, dims=axis)), layer(grid).roll(1, dims=axis), **ROUNDING)
    assert not torch.allclose(layer(grid.roll(stride, dims=4)), layer(grid).roll(1, dims=4), **ROUNDING)


def test_frozen_part_beside_features_is_a_convolution_of_both() -> None:
    layer = BesideFrozen(keeping, 3, 2, 4, PERIODIC[3])
    features, density = noise(5, 3, 4, 4, 4), noise(1, 2, 4, 4, 4, seed=1)
    both = PeriodicConvolution(5, 4, PERIODIC[3])
    kernels = [layer.of_features.convolution.weight, layer.of_frozen.convolution.weight]
    both.convolution.weight.data = torch.cat([kernel.data for kernel in kernels], dim=1)
    both.convolution.bias.data = layer.of_features.convolution.bias.data
    stacked = torch.cat([features, density.expand(5, -1, -1, -1, -1)], dim=1)
    assert torch.allclose(layer(features, density), both(stacked), **ROUNDING)


@pytest.mark.parametrize("n_dimensions", [2, 3])
def test_networks_work_in_two_and_three_dimensions(n_dimensions: int) -> None:
    generator, critic = make(NETWORKS, n_dimensions)
    rows = torch.tensor([[0.0], [2.0], [1.0]])
    grids = generator(noise(3, NETWORKS.latent), rows)
    assert grids.shape == (3, 2, *[8] * n_dimensions)
    assert bool((grids > 0.0).all()) and bool((grids < 1.0).all())
    assert critic(grids, rows).shape == (3,)


def test_critic_is_invariant_to_what_it_cannot_tell_apart() -> None:
    """Without frozen atoms, coarse translations along periodic axes permute the features before the dense head."""
    settings = replace(NETWORKS, conditions=(), minibatch_deviation=False)
    critic = Critic(settings, torch.zeros(2, 8, 8, 8), PERIODIC[3])
    critic.initialise(random_generator())
    critic.hidden.weight.data = (
        critic.hidden.weight.data.view(4, 8, -1).mean(-1, keepdim=True).repeat(1, 1, 8).view(4, -1)
    )
    grids, rows = noise(2, 2, 8, 8, 8), torch.zeros(2, 0)
    assert torch.allclose(critic(grids.roll(4, dims=2), rows), critic(grids, rows), **ROUNDING)


@pytest.mark.parametrize("critic_condition", ["channel", "projection", "both"])
@pytest.mark.parametrize("method", ["embedding", "one_hot", "integer"])
def test_conditions_change_generator_and_critic(method: str, critic_condition: str) -> None:
    settings = replace(
        NETWORKS,
        conditions=(CLASSES, CHEMICAL_POTENTIAL),
        condition_method=method,
        critic_condition=critic_condition,
        minibatch_deviation=False,
    )
    generator, critic = make(settings, 3)
    latent = noise(1, settings.latent).repeat(3, 1)
    rows = torch.tensor([[0.0, -0.5], [1.0, -0.5], [0.0, -1.5]])
    grids = generator(latent, rows)
    assert not torch.allclose(grids[0], grids[1]) and not torch.allclose(grids[0], grids[2])
    scores = critic(grids[:1].expand(3, -1, -1, -1, -1), rows)
    assert len(set(scores.tolist())) == 3


def test_same_seed_same_weights_whatever_the_global_state() -> None:
    torch.rand(3)
    first = make(NETWORKS, 3)
    torch.rand(5)
    second = make(NETWORKS, 3)
    for one, other in zip(first, second, strict=True):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_every_norm_can_be_named(norm: str) -> None:
    generator, critic = make(replace(NETWORKS, generator_norm=norm, critic_norm=norm), 3)
    rows = torch.zeros(4, 1)
    critic(generator(noise(4, NETWORKS.latent), rows), rows).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in generator.parameters() if p.grad is not None)


def test_channels_last_changes_speed_not_numbers() -> None:
    generator, critic = make(NETWORKS, 3)
    rows, latent = torch.zeros(4, 1), noise(4, NETWORKS.latent)
    before = critic(generator(latent, rows), rows)
    store_channels_last(generator)
    store_channels_last(critic)
    assert torch.allclose(critic(generator(latent, rows), rows), before, **ROUNDING)


def test_minibatch_deviation_tells_a_collapsed_batch() -> None:
    sample = noise(1, 3, 4, 4, 4)
    layer = MinibatchDeviation()
    assert layer(sample.expand(6, -1, -1, -1, -1))[:, -1].max() < 1e-3  # the root of its guard against division by 0
    assert layer(noise(64, 3, 4, 4, 4))[:, -1].mean() == pytest.approx(1.0, abs=0.05)  # unit noise, 64 samples


def test_shape_that_strides_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`shape` is \(6, 8, 8\).*divisible by 4"):
        Generator(NETWORKS, torch.zeros(2, 6, 8, 8), PERIODIC[3], (0.1, 0.1), spread(3))


def test_an_occupied_voxel_spreads_to_a_gaussian_with_the_integral_of_an_atom() -> None:
    spec = replace(grid(), shape=(16, 16, 16))
    head = OccupancyHead(spread_matrices(spec, 0.6))
    features = torch.full((1, 2, 16, 16, 16), -100.0, dtype=torch.float64)
    features[0, 0, 8, 3, 7] = 100.0
    density = head(features)
    counts = integral_counts(density, spec)[0]
    # the sum over voxels of a Gaussian of 0.24 Å is its integral to 1e-4 at 0.25 Å a voxel
    assert torch.allclose(counts, torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-3)
    assert density[0, 0].argmax() == (8 * 16 + 3) * 16 + 7


@pytest.mark.parametrize("head", HEADS)
def test_first_output_is_near_the_mean_density_with_either_head(head: str) -> None:
    generator, _ = make(replace(NETWORKS, generator_head=head), 3)
    means = generator(noise(16, NETWORKS.latent), torch.zeros(16, 1)).mean(dim=(0, 2, 3, 4))
    assert torch.allclose(means, torch.tensor([0.03, 0.05]), rtol=0.3)  # the untrained output varies by some percent


@pytest.mark.parametrize(
    "name",
    ["generator_norm", "critic_norm", "doubling", "condition_method", "critic_stem", "generator_head", "output_norm"],
)
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` is 'none such'"):
        replace(NETWORKS, **{name: "none such"})
