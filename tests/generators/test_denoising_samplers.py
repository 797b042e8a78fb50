"""Samplers on data whose denoiser is known: a Gaussian N(m, s²) has D(y; σ) = (s² y + σ² m) / (s² + σ²)."""

import math
from itertools import pairwise

import pytest
import torch

from generators.denoising.samplers import heun, noise_levels, walk_jump
from generators.denoising.settings import DenoiserSamplingSettings

MEAN, DEVIATION = 0.7, 0.4
N = 40_000
ERROR = 4.0 / math.sqrt(N)
"""four standard errors of a mean, in units of the standard deviation; a deviation has a smaller one"""


def gaussian(grids: torch.Tensor, sigma: float) -> torch.Tensor:
    return (DEVIATION**2 * grids + sigma**2 * MEAN) / (DEVIATION**2 + sigma**2)


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(N, 1, 1, 1, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(start: torch.Tensor, highest: float) -> torch.Tensor:
    """Where the flow takes a start: x − m shrinks as √(s² + σ²)."""
    return MEAN + (start - MEAN) * DEVIATION / math.sqrt(DEVIATION**2 + highest**2)


def test_levels_fall_from_the_first_to_the_last_and_zero() -> None:
    levels = noise_levels(DenoiserSamplingSettings(steps=5, noise_max=20.0, noise_min=0.02))
    assert levels[0] == pytest.approx(20.0) and levels[-2] == pytest.approx(0.02) and levels[-1] == 0.0
    assert len(levels) == 6 and all(a > b for a, b in pairwise(levels))


def test_heun_follows_the_exact_flow_to_second_order() -> None:
    """Twice the steps leave about a quarter of the error; a third allows for the higher orders."""
    start, errors = noise(), []
    for steps in (16, 32):
        levels = noise_levels(DenoiserSamplingSettings(steps=steps))
        errors.append(float((heun(gaussian, start, levels) - exact(20.0 * start, 20.0)).abs().max()))
    assert errors[0] < 0.2 * DEVIATION  # of the farthest of all starts
    assert errors[1] < errors[0] / 3.0


@pytest.mark.parametrize("churn", [0.0, 10.0])
def test_heun_draws_the_data(churn: float) -> None:
    """Noise of 20 hides all but s / 20 of the mean; 18 steps widen the data by some percent, and churn doubles that."""
    levels = noise_levels(DenoiserSamplingSettings())
    found = heun(gaussian, noise(), levels, churn, torch.Generator().manual_seed(1))
    assert float(found.mean()) == pytest.approx(MEAN, abs=MEAN * DEVIATION / 20.0 + ERROR * DEVIATION)
    assert float(found.std()) == pytest.approx(DEVIATION, rel=0.08 if churn else 0.05)


def test_churn_adds_noise_of_its_own() -> None:
    levels = noise_levels(DenoiserSamplingSettings())
    first, second = (heun(gaussian, noise(), levels, 10.0, torch.Generator().manual_seed(k)) for k in (1, 2))
    assert float((first - second).abs().mean()) > 0.1 * DEVIATION


def test_a_walk_visits_noisy_data_and_jumps_to_their_means() -> None:
    """Walks end in N(m, s² + σ²), and the jump scales by s² / (s² + σ²); short steps bias the walk by under 2 %."""
    settings = DenoiserSamplingSettings(sampler="walk_jump", walk_noise=0.5, walk_steps=60)
    places = []

    def watched(grids: torch.Tensor, sigma: float) -> torch.Tensor:
        places.append(grids)
        return gaussian(grids, sigma)

    found = walk_jump(watched, noise(), settings, torch.Generator().manual_seed(1))
    width = math.sqrt(DEVIATION**2 + 0.25)
    assert float(places[-1].mean()) == pytest.approx(MEAN, abs=(0.02 + ERROR) * width)
    assert float(places[-1].std()) == pytest.approx(width, rel=0.02 + ERROR)
    assert float(found.std()) == pytest.approx(DEVIATION**2 / width, rel=0.02 + ERROR)
    assert len(places) == settings.walk_steps + 1


def test_a_jump_in_steps_draws_the_data_themselves() -> None:
    """From the walk's level down the flow narrows N(m, s² + σ²) to N(m, s²)."""
    settings = DenoiserSamplingSettings(sampler="walk_jump", walk_noise=0.5, walk_steps=60, jump_steps=12)
    found = walk_jump(gaussian, noise(), settings, torch.Generator().manual_seed(1))
    assert float(found.mean()) == pytest.approx(MEAN, abs=(0.02 + ERROR) * DEVIATION)
    assert float(found.std()) == pytest.approx(DEVIATION, rel=0.03 + ERROR)
