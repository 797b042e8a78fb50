"""Losses, penalties, heads and what steadies a critic: laws of each piece."""

from dataclasses import replace

import pytest
import torch
from gan_setting import CHEMICAL_POTENTIAL, CLASSES, NETWORKS
from test_networks import ROUNDING, make, noise, random_generator

from generators.networks.conditioning import set_condition_strength
from generators.networks.lattice import LatticeScale, lattice_floor, lattice_loss
from generators.networks.layers import initialise
from generators.networks.losses import LOSSES, PENALTIES, gradient_norms, interpolate_samples
from generators.networks.stabilisers import MinibatchDiscrimination, SeededDropout


def test_gradient_norms_of_a_linear_score_are_its_slope() -> None:
    slope = noise(2, 4, 4, 4)
    norms = gradient_norms(lambda grids: (grids * slope).sum(dim=(1, 2, 3, 4)), noise(3, 2, 4, 4, 4))
    assert torch.allclose(norms, slope.norm().expand(3), rtol=1e-5)  # single precision


def test_every_sample_is_interpolated_by_its_own_factor() -> None:
    real, fake, factors = torch.ones(5, 2, 3), torch.zeros(5, 2, 3), torch.rand(5, generator=random_generator())
    between = interpolate_samples(real, fake, factors)
    assert torch.equal(between, factors[:, None, None].expand(5, 2, 3))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_fall_when_scores_go_the_right_way(name: str) -> None:
    loss = LOSSES[name]
    real, fake, step = torch.zeros(8), torch.zeros(8), 0.1
    assert loss.critic(real + step, fake - step) < loss.critic(real, fake)
    assert loss.generator(fake + step, real) < loss.generator(fake, real)


@pytest.mark.parametrize("name", sorted(name for name, penalty in PENALTIES.items() if penalty is not None))
def test_penalties_reach_the_critics_weights(name: str) -> None:
    _, critic = make(NETWORKS, 3)
    rows, penalty = torch.zeros(4, 1), PENALTIES[name]
    assert penalty is not None
    real, fake = torch.rand(2, 4, 2, 8, 8, 8, generator=random_generator())
    penalty(
        lambda grids: critic(10.0 * grids, rows), real, fake, torch.rand(4, generator=random_generator()), None
    ).backward()
    assert critic.stem.of_features.convolution.weight.grad.abs().max() > 0.0


def test_finite_differences_have_the_mean_of_the_exact_penalty() -> None:
    """Of a quadratic score ½xᵀAx the slope is Ax; over 4,000 random signs the estimate's error is about 2 %."""
    slope = torch.randn(6, 6, generator=random_generator(), dtype=torch.float64)
    slope = slope + slope.T

    def score(grids: torch.Tensor) -> torch.Tensor:
        rows = grids.flatten(1)
        return 0.5 * (rows @ slope * rows).sum(dim=1)

    point = torch.randn(1, 1, 1, 2, 3, generator=random_generator(1), dtype=torch.float64)
    many = point.expand(4000, -1, -1, -1, -1)
    exact = PENALTIES["r1"](score, point, point, torch.zeros(1), None)  # type: ignore[misc]
    found = PENALTIES["finite_difference_r1"](score, many, many, torch.zeros(4000), random_generator(2))  # type: ignore[misc]
    assert found.item() == pytest.approx(exact.item(), rel=0.1)  # four standard errors


def test_one_factor_for_all_is_one_place_between_real_and_fake() -> None:
    between = interpolate_samples(torch.ones(5, 2, 3), torch.zeros(5, 2, 3), torch.tensor([0.3]).expand(5))
    assert torch.equal(between, torch.full((5, 2, 3), 0.3))


@pytest.mark.parametrize("method", ["integer", "one_hot"])
def test_a_constant_channel_is_the_same_everywhere(method: str) -> None:
    settings = replace(NETWORKS, condition_method=method, critic_condition="constant", minibatch_deviation=False)
    _, critic = make(settings, 3)
    channels = critic.constant(torch.tensor([[2.0]]), (8, 8, 8))
    assert channels.shape[1] == {"integer": 1, "one_hot": CLASSES.n_classes}[method]
    assert torch.equal(channels.flatten(2).amin(dim=2), channels.flatten(2).amax(dim=2))
    grids = noise(1, 2, 8, 8, 8).expand(2, -1, -1, -1, -1)
    assert critic(grids, torch.tensor([[0.0], [2.0]])).unique().numel() == 2


def test_hidden_conditions_change_nothing() -> None:
    generator, critic = make(replace(NETWORKS, minibatch_deviation=False), 3)
    rows, latent = torch.tensor([[0.0], [2.0]]), noise(1, NETWORKS.latent).expand(2, -1)
    for network in (generator, critic):
        set_condition_strength(network, 0.0)
    grids = generator(latent, rows)
    assert torch.equal(grids[0], grids[1])
    assert torch.equal(*critic(grids, rows))


def test_a_packed_critic_judges_samples_together() -> None:
    _, critic = make(replace(NETWORKS, packing=2, minibatch_deviation=False), 3)
    grids, rows = noise(6, 2, 8, 8, 8), torch.zeros(6, 1)
    scores = critic(grids, rows)
    assert scores.shape == (3,)
    changed = grids.clone()
    changed[1] = 0.0
    assert not torch.allclose(critic(changed, rows)[0], scores[0])
    assert torch.allclose(critic(changed, rows)[1:], scores[1:], **ROUNDING)
    assert gradient_norms(lambda g: critic(g, rows), grids).shape == (3,)


def test_spectral_norm_leaves_a_largest_singular_value_of_one() -> None:
    _, critic = make(replace(NETWORKS, critic_spectral=True), 3)
    for _ in range(60):  # a power iteration per pass
        critic(noise(2, 2, 8, 8, 8), torch.zeros(2, 1))
    critic.eval()
    kernel = critic.stem.of_features.convolution.weight.detach().flatten(1)
    assert float(torch.linalg.matrix_norm(kernel, 2)) == pytest.approx(1.0, rel=1e-3)


def test_minibatch_discrimination_tells_a_collapsed_batch() -> None:
    layer = MinibatchDiscrimination(5, 3)
    initialise(layer, random_generator())
    same, different = layer(noise(1, 5).expand(6, -1)), layer(noise(6, 5))
    assert torch.allclose(same, torch.full_like(same, 5.0))  # exp(0) of each of the other five
    assert different.mean() < 2.5


def test_dropout_draws_from_the_generator_that_it_is_given() -> None:
    layer = SeededDropout(0.5)
    with pytest.raises(RuntimeError, match="`random`"):
        layer(torch.ones(4))
    masks = []
    for seed in (0, 0, 1):
        layer.random = random_generator(seed)
        masks.append(layer(torch.ones(1000)))
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    assert float(masks[0].mean()) == pytest.approx(1.0, abs=0.13)  # four standard deviations of a thousand draws
    assert torch.equal(layer.eval()(torch.ones(4)), torch.ones(4))


def test_heads_speak_of_every_sample() -> None:
    settings = replace(
        NETWORKS, lattice=True, condition_head=True, information=3, conditions=(CLASSES, CHEMICAL_POTENTIAL)
    )
    generator, critic = make(settings, 3)
    rows = torch.tensor([[0.0, -0.5], [2.0, -1.0]])
    made = generator.generate(noise(2, settings.latent), rows)
    judged = critic.judge(made.grids, rows)
    assert made.lattice is not None and made.lattice.shape == (2, 3)
    assert judged.lattice is not None and judged.lattice.shape == (2, 3)
    assert [logits.shape for logits in judged.conditions] == [(2, 3), (2, 1)]
    assert judged.information is not None and judged.information.shape == (2, 3)


def test_lattice_lengths_come_back_from_their_scale_and_the_loss_stops_at_its_floor() -> None:
    lengths = 5.0 + 10.0 * torch.rand(20, 3, generator=random_generator())
    scale = LatticeScale.of(lengths)
    scaled = scale.scaled(lengths)
    assert float(scaled.min()) == pytest.approx(0.0, abs=1e-6) and float(scaled.max()) < 1.0
    assert torch.allclose(scale.lengths(scaled), lengths, **ROUNDING)
    assert LatticeScale.from_dict(scale.as_dict()) == scale
    perfect = lattice_loss(torch.logit(scaled, eps=1e-7), scaled)
    assert float(perfect) == pytest.approx(float(lattice_floor(scaled)), abs=1e-5)
    multilabel = torch.nn.MultiLabelSoftMarginLoss()(torch.zeros(20, 3), scaled)
    assert float(lattice_loss(torch.zeros(20, 3), scaled)) == pytest.approx(float(multilabel), rel=1e-5)
