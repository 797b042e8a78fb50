"""Losses of critic and generator, and gradient penalties, by name."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Score = Callable[[Tensor], Tensor]
"""grids (batch, channels, ...) -> scores (batch,), with the conditions bound"""
Penalty = Callable[[Score, Tensor, Tensor, Tensor, torch.Generator | None], Tensor]
"""(score, real, fake, place of each sample between them, generator) -> one number, before its weight"""

SMOOTH_REAL_LABEL = 0.9
"""one-sided label smoothing (Salimans et al., NeurIPS 2016)"""
FINITE_STEP = 1e-2
"""Step of the finite difference in units of an atom's peak, per voxel."""
WEIGHT_CLIP = 0.01
"""largest critic weight of `wgan_clip` (Arjovsky et al., ICML 2017)"""


@dataclass(frozen=True)
class Loss:
    """What critic and generator minimise.

    Attributes
    ----------
    critic : callable
        (real scores, fake scores) -> loss.
    generator : callable
        (fake scores, real scores) -> loss; `real scores` is None unless `relative`.
    penalty : callable or None
        Its weight is a training setting.
    clip : float or None
        Largest magnitude of a critic weight, enforced after every critic step.
    relative : bool
        The generator's loss compares with real scores.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    penalty: Penalty | None = None
    clip: float | None = None
    relative: bool = False


def gradient_norms(score: Score, grids: Tensor) -> Tensor:
    """Euclidean norm of d score / d grid for every score, itself differentiable.

    A score of several grids together counts the gradient by all of them.
    """
    if torch.compiler.is_compiling():  # no double backward passes through compiled code, but a derived function does

        def total(g: Tensor) -> tuple[Tensor, Tensor]:
            scores = score(g)
            return scores.sum(), scores

        gradient, scores = torch.func.grad(total, has_aux=True)(grids.detach())
    else:
        grids = grids.detach().requires_grad_(True)
        scores = score(grids)
        (gradient,) = torch.autograd.grad(scores.sum(), grids, create_graph=True)
    return gradient.reshape(len(scores), -1).float().norm(dim=1)


def interpolate_samples(real: Tensor, fake: Tensor, factor: Tensor) -> Tensor:
    """Points between real and fake grids, each sample with its own factor (batch,) (Gulrajani et al., 2017)."""
    return torch.lerp(fake, real, factor.to(real.dtype).view(-1, *[1] * (real.dim() - 1)))


def two_sided_penalty(
    score: Score, real: Tensor, fake: Tensor, factor: Tensor, random: torch.Generator | None
) -> Tensor:
    """Mean of (‖∇D‖ − 1)² at interpolated points (Gulrajani et al., NeurIPS 2017)."""
    return (gradient_norms(score, interpolate_samples(real, fake, factor)) - 1.0).square().mean()


def one_sided_penalty(
    score: Score, real: Tensor, fake: Tensor, factor: Tensor, random: torch.Generator | None
) -> Tensor:
    """Mean of max(0, ‖∇D‖ − 1)² at interpolated points (Petzka et al., ICLR 2018)."""
    return functional.relu(gradient_norms(score, interpolate_samples(real, fake, factor)) - 1.0).square().mean()


def zero_centred_penalty(
    score: Score, real: Tensor, fake: Tensor, factor: Tensor, random: torch.Generator | None
) -> Tensor:
    """R1 + R2: half the mean of ‖∇D‖² at real and at fake grids (Mescheder et al., ICML 2018)."""
    return 0.5 * (gradient_norms(score, real).square().mean() + gradient_norms(score, fake).square().mean())


def real_gradient_penalty(
    score: Score, real: Tensor, fake: Tensor, factor: Tensor, random: torch.Generator | None
) -> Tensor:
    """R1: half the mean of ‖∇D‖² at real grids (Mescheder et al., ICML 2018)."""
    return 0.5 * gradient_norms(score, real).square().mean()


def finite_difference_penalty(
    score: Score, real: Tensor, fake: Tensor, factor: Tensor, random: torch.Generator | None
) -> Tensor:
    """R1 from two scores beside each real grid, without a second derivative.

    ½ [(D(x + εu) − D(x − εu)) / 2ε]², whose mean over random signs u of the voxels is ½‖∇D‖² (Hutchinson 1990)."""
    signs = torch.randint(0, 2, real.shape, generator=random, device=real.device).to(real.dtype) * 2.0 - 1.0
    step = FINITE_STEP * signs
    slope = (score(real + step) - score(real - step)).float() / (2.0 * FINITE_STEP)
    return 0.5 * slope.square().mean()


PENALTIES: dict[str, Penalty | None] = {
    "none": None,
    "two_sided": two_sided_penalty,
    "one_sided": one_sided_penalty,
    "r1_r2": zero_centred_penalty,
    "r1": real_gradient_penalty,
    "finite_difference_r1": finite_difference_penalty,
}
"""Penalties on the critic's gradient, by name."""


def _bce_critic(real: Tensor, fake: Tensor) -> Tensor:
    smooth = functional.binary_cross_entropy_with_logits(real, torch.full_like(real, SMOOTH_REAL_LABEL))
    return smooth + functional.softplus(fake).mean()


def _relativistic_generator(fake: Tensor, real: Tensor | None) -> Tensor:
    if real is None:
        raise ValueError("`real` scores are missing, but the relativistic loss compares with them")
    return functional.softplus(real - fake).mean()


LOSSES: dict[str, Loss] = {
    "wgan_gp": Loss(lambda r, f: f.mean() - r.mean(), lambda f, r: -f.mean(), two_sided_penalty),
    "wgan_gp_one_sided": Loss(lambda r, f: f.mean() - r.mean(), lambda f, r: -f.mean(), one_sided_penalty),
    "wgan_clip": Loss(lambda r, f: f.mean() - r.mean(), lambda f, r: -f.mean(), clip=WEIGHT_CLIP),
    "bce": Loss(_bce_critic, lambda f, r: functional.softplus(-f).mean()),
    "lsgan": Loss(
        lambda r, f: 0.5 * ((r - 1.0).square().mean() + f.square().mean()),
        lambda f, r: 0.5 * (f - 1.0).square().mean(),
    ),
    "hinge": Loss(
        lambda r, f: functional.relu(1.0 - r).mean() + functional.relu(1.0 + f).mean(), lambda f, r: -f.mean()
    ),
    "relativistic": Loss(
        lambda r, f: functional.softplus(f - r).mean(),
        _relativistic_generator,
        zero_centred_penalty,
        relative=True,
    ),
}
"""`relativistic` with its R1 + R2 penalty is the loss of R3GAN (Huang et al., NeurIPS 2024)."""
