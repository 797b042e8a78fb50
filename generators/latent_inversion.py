"""Structures traced back to a trained generator's noise, and what it makes between two of them.

The noise whose grid is nearest to a given one is searched downhill through the generator, from several starts, as
Zhu et al. do with photographs (ECCV 2016, "Generative visual manipulation on the natural image manifold"). What stays
unexplained is what the generator cannot make.
"""

import math
from dataclasses import dataclass

import torch
from scipy.stats import chi2
from torch import Tensor

from generators.sampling import SAMPLES_AT_ONCE, Drawn, Sampler

REACHED_SHARE = 0.999
"""Of a Gaussian's rows of noise, which the search stays among: beyond, the generator was never trained."""
SAME_DIRECTION = 1e-4
"""Sine of the angle below which a great circle is a straight line."""


@dataclass(frozen=True)
class InversionSettings:
    """How long is searched.

    Attributes
    ----------
    tried : int
        Random rows of noise for each grid.
    starts : int
        The nearest of these and of what an encoder says, where there is one, which are led downhill.
    steps : int
        Of Adam; 0 keeps the nearest start.
    rate : float
        First learning rate, in units of the noise's spread; it falls linearly to nothing.
    """

    tried: int = 64
    starts: int = 4
    steps: int = 100
    rate: float = 0.1

    def __post_init__(self) -> None:
        rules = {
            "tried": (self.tried >= self.starts, f"at least `starts`, {self.starts}"),
            "starts": (self.starts >= 1, "at least 1"),
            "steps": (self.steps >= 0, "at least 0"),
            "rate": (self.rate > 0.0, "positive"),
        }
        for name, (fine, rule) in rules.items():
            if not fine:
                raise ValueError(f"`{name}` is {getattr(self, name)} but must be {rule}")


@dataclass(frozen=True)
class Inverted:
    """What a generator makes nearest to given grids.

    Attributes
    ----------
    noise : torch.Tensor, shape (n, latent)
    drawn : Drawn
        Its grids, as the sampler draws them, which reading turns into atoms.
    unexplained : torch.Tensor, shape (n,)
        Σ (given − made)² / Σ (given − channel's mean)²: 0 where the generator makes the grid itself, 1 where a
        featureless grid would do as well. It is 1 − R².
    """

    noise: Tensor
    drawn: Drawn
    unexplained: Tensor


def invert(
    sampler: Sampler,
    grids: Tensor,
    rows: Tensor,
    random: torch.Generator,
    settings: InversionSettings | None = None,
) -> Inverted:
    r"""Find the noise of the generated grids that are nearest to given ones.

    Parameters
    ----------
    sampler : Sampler
    grids : torch.Tensor, shape (n, n_species, \*shape)
    rows : torch.Tensor, shape (n, n_conditions)
        Each grid's own conditions, which the generator is asked for.
    random : torch.Generator
        On the CPU; starts are drawn from it.
    settings : InversionSettings, optional

    Raises
    ------
    ValueError
        If shapes do not fit, or a grid is the same everywhere.
    """
    settings = settings or InversionSettings()
    expected = (len(sampler.spec.species), *sampler.view.shape(sampler.spec))
    if tuple(grids.shape[1:]) != expected:
        raise ValueError(f"`grids` has shape {tuple(grids.shape)} but must have (n, {', '.join(map(str, expected))})")
    if rows.shape != (len(grids), len(sampler.conditions)):
        raise ValueError(
            f"`rows` has shape {tuple(rows.shape)} but must have ({len(grids)}, {len(sampler.conditions)}): one row of "
            "conditions for each grid"
        )
    if bool((_variance(grids) <= 0.0).any()):
        raise ValueError("`grids` holds one that is the same everywhere, which nothing can be nearest to")
    found = [
        _searched(sampler, grids[index : index + 1], rows[index : index + 1], random, settings)
        for index in range(len(grids))
    ]
    if not found:
        return Inverted(torch.empty(0, sampler.settings.latent), Drawn(grids, rows, None), torch.empty(0))
    noise = torch.cat(found)
    drawn = sampler.at(noise, rows)
    return Inverted(noise, drawn, unexplained_share(grids, drawn.grids))


def between(sampler: Sampler, noise: Tensor, rows: Tensor, n: int) -> Drawn:
    """Draw `n` grids from one row of noise to another along the great circle through both.

    A straight line would leave the shell that Gaussian noise lies on (White, arXiv:1609.04468); its length changes
    evenly on the way. Conditions are those of the nearer end.

    Parameters
    ----------
    sampler : Sampler
    noise : torch.Tensor, shape (2, latent)
    rows : torch.Tensor, shape (2, n_conditions)
    n : int
        Grids, both ends included.

    Raises
    ------
    ValueError
        If `n` is below 2.
    """
    if n < 2:
        raise ValueError(f"`n` is {n} but a way has two ends at least")
    places = torch.linspace(0.0, 1.0, n)[:, None]
    lengths = noise.norm(dim=1).clamp(min=1e-12)
    first, second = noise / lengths[:, None]
    angle = torch.arccos((first * second).sum().clamp(-1.0, 1.0))
    sine = torch.sin(angle)
    if float(sine) < SAME_DIRECTION:
        directions = (1.0 - places) * first + places * second
    else:
        directions = (torch.sin((1.0 - places) * angle) * first + torch.sin(places * angle) * second) / sine
    return sampler.at((lengths[0] + places * (lengths[1] - lengths[0])) * directions, rows[(places[:, 0] > 0.5).long()])


def unexplained_share(given: Tensor, made: Tensor) -> Tensor:
    r"""1 − R² of grids (n, n_species, \*shape) against those that are to explain them, shape (n,)."""
    return (given - made).square().flatten(1).sum(dim=1) / _variance(given)


def _variance(grids: Tensor) -> Tensor:
    """Σ (density − channel's mean)² over all channels, (n,)."""
    flat = grids.flatten(2)
    return (flat - flat.mean(dim=2, keepdim=True)).square().sum(dim=(1, 2))


def _searched(
    sampler: Sampler, grid: Tensor, row: Tensor, random: torch.Generator, settings: InversionSettings
) -> Tensor:
    """Noise (1, latent) of one grid (1, …) under its conditions (1, n_conditions)."""
    noise = _nearest_starts(sampler, grid, row, random, settings).to(sampler.device)
    given, rows = grid.to(sampler.device), row.to(sampler.device).expand(len(noise), -1)
    best, lowest = noise[:1].clone(), math.inf
    reach = math.sqrt(float(chi2.ppf(REACHED_SHARE, noise.shape[1])))
    noise = noise.requires_grad_(True)
    optimiser = torch.optim.Adam([noise], lr=settings.rate)
    for step in range(settings.steps + 1):
        left = unexplained_share(given, sampler.network(noise, rows).float())
        index, least = int(left.argmin()), float(left.detach().min())
        if least < lowest:
            best, lowest = noise[index : index + 1].detach().clone(), least
        if step == settings.steps:
            break
        optimiser.param_groups[0]["lr"] = settings.rate * (1.0 - step / settings.steps)
        optimiser.zero_grad(set_to_none=True)
        left.sum().backward()
        optimiser.step()
        with torch.no_grad():
            noise.mul_((reach / noise.norm(dim=1, keepdim=True)).clamp(max=1.0))
    return best.cpu()


def _nearest_starts(
    sampler: Sampler, grid: Tensor, row: Tensor, random: torch.Generator, settings: InversionSettings
) -> Tensor:
    """The rows (starts, latent) of noise whose grids are nearest, among random ones and the encoder's."""
    tried = torch.randn(settings.tried, sampler.settings.latent, generator=random)
    encoded = sampler.encode(grid, row)
    tried = tried if encoded is None else torch.cat([encoded, tried])
    left = torch.cat(
        [
            unexplained_share(grid.to("cpu"), sampler.at(part, row.expand(len(part), -1)).grids)
            for part in tried.split(SAMPLES_AT_ONCE)
        ]
    )
    return tried[left.argsort()[: settings.starts]]
