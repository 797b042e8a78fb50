"""From noise to samples with nothing but a denoiser: down a ladder of noise levels, or by a walk and a jump."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from generators.denoising.settings import DenoiserSamplingSettings

Denoise = Callable[[Tensor, float], Tensor]
"""(noisy grids, standard deviation of their noise) -> mean of the clean grids that they may come from"""


def noise_levels(settings: DenoiserSamplingSettings) -> list[float]:
    """The levels of `heun`, from `noise_max` down to `noise_min`, then 0 (Karras et al., NeurIPS 2022, equation 5)."""
    return _ladder(settings.noise_max, settings.noise_min, settings.steps, settings.curvature)


def heun(
    denoise: Denoise,
    unit_noise: Tensor,
    levels: list[float],
    churn: float = 0.0,
    random: torch.Generator | None = None,
) -> Tensor:
    r"""Samples by Heun's method along dx/dσ = (x − D(x; σ)) / σ (Karras et al., NeurIPS 2022, algorithm 2).

    Parameters
    ----------
    denoise : callable
    unit_noise : torch.Tensor, shape (n, n_species, \*shape)
        Standard normal.
    levels : list of float
        Falling noise levels, the last one 0.
    churn : float
        S_churn: noise that is added again on the way, in all steps together.
    random : torch.Generator, optional
        Draws that noise.

    Returns
    -------
    torch.Tensor, like `unit_noise`
    """
    return _descend(denoise, levels[0] * unit_noise, levels, churn, random)


def walk_jump(
    denoise: Denoise, unit_noise: Tensor, settings: DenoiserSamplingSettings, random: torch.Generator
) -> Tensor:
    r"""Samples by a walk among noisy grids at one noise level σ, and a jump to clean ones.

    The walk is underdamped Langevin dynamics with the score (D(y; σ) − y) / σ², of which the denoiser is all that is
    needed (Saremi & Hyvärinen, JMLR 20, 181 (2019); on voxels Pinheiro et al., NeurIPS 2023), split as half a drift,
    half a kick, friction with noise, half a kick, half a drift (Leimkuhler & Matthews, Appl. Math. Res. Express 2013).
    Every sample walks by itself from noise.

    Parameters
    ----------
    denoise : callable
    unit_noise : torch.Tensor, shape (n, n_species, \*shape)
        Standard normal; where the walks begin.
    settings : DenoiserSamplingSettings
    random : torch.Generator

    Returns
    -------
    torch.Tensor, like `unit_noise`
    """
    sigma = settings.walk_noise
    step = settings.walk_length * sigma
    kept = math.exp(-settings.friction / sigma * step)
    place = sigma * unit_noise
    speed = torch.zeros_like(place)
    for _ in range(settings.walk_steps):
        place = place + 0.5 * step * speed
        kick = 0.5 * step * (denoise(place, sigma) - place) / sigma**2
        fresh = torch.randn(place.shape, generator=random, device=place.device, dtype=place.dtype)
        speed = kept * (speed + kick) + math.sqrt(1.0 - kept**2) * fresh + kick
        place = place + 0.5 * step * speed
    if settings.jump_steps == 1:
        return denoise(place, sigma)
    levels = _ladder(sigma, settings.noise_min, settings.jump_steps, settings.curvature)
    return _descend(denoise, place, levels, 0.0, None)


def _ladder(highest: float, lowest: float, steps: int, curvature: float) -> list[float]:
    first, last = highest ** (1.0 / curvature), lowest ** (1.0 / curvature)
    return [(first + i / (steps - 1) * (last - first)) ** curvature for i in range(steps)] + [0.0]


def _descend(
    denoise: Denoise, place: Tensor, levels: list[float], churn: float, random: torch.Generator | None
) -> Tensor:
    gain = min(churn / (len(levels) - 1), math.sqrt(2.0) - 1.0)
    for now, following in pairwise(levels):
        level = now * (1.0 + gain)
        if gain > 0.0:
            fresh = torch.randn(place.shape, generator=random, device=place.device, dtype=place.dtype)
            place = place + math.sqrt(level**2 - now**2) * fresh
        slope = (place - denoise(place, level)) / level
        straight = place + (following - level) * slope
        if following > 0.0:
            slope = 0.5 * (slope + (straight - denoise(straight, following)) / following)
        place = place + (following - level) * slope
    return place
