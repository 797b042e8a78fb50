"""What a critic looks at: its score, or the condition that it tells, divided among voxels and atoms.

Integrated gradients (Sundararajan et al., ICML 2017) by Captum: each voxel's density times the mean slope of the
critic's answer on the straight way from the empty grid. They add up to the answer's difference from the empty grid's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generators.grids.density import axis_profiles
from generators.grids.spec import GridSpec
from generators.networks.conditioning import ConditionSpec
from generators.networks.dcwgan import Critic, Judged
from generators.networks.settings import NetworkSettings
from generators.sampling import described
from generators.template import Template
from generators.training.checkpoint import WeightsError, load_weights
from generators.training.networks import without_prefix
from generators.training.view import View

SCORE = "score"
STEPS = 64
"""Places on the way, of Gauss and Legendre."""
NEGLIGIBLE = 1e-12
"""Density that is of no atom."""


class CaptumMissing(ImportError):
    """Attribution is asked for where Captum is not installed."""


@dataclass(frozen=True)
class TrainedCritic:
    """A critic with what it sees.

    Attributes
    ----------
    network : Critic
    settings : NetworkSettings
    spec : GridSpec
    view : View
    """

    network: Critic
    settings: NetworkSettings
    spec: GridSpec
    view: View

    @property
    def answers(self) -> tuple[str, ...]:
        """What it says of a grid: `score`, and the names of the conditions that it tells."""
        told = self.settings.conditions if self.settings.condition_head else ()
        return SCORE, *(spec.name for spec in told)

    @classmethod
    def load(cls, path: Path, template: Template | None, device: str = "cpu") -> "TrainedCritic":
        """Read the critic among weights.

        Raises
        ------
        WeightsError
            If the weights are missing or damaged, need a template that is not given, or hold no critic.
        """
        found, tensors = described(path, template), load_weights(path)[0]
        weights = without_prefix("critic", tensors)
        if not weights:
            raise WeightsError(f"`{path}` holds no critic: only a GAN is trained with one")
        frozen, periodic = found.view.frozen(template, found.spec), found.view.periodic(found.spec)
        critic = Critic(found.settings, frozen, periodic).to(device)
        critic.load_state_dict(weights)
        return cls(critic.requires_grad_(False).eval(), found.settings, found.spec, found.view)


def attribute(critic: TrainedCritic, grids: Tensor, rows: Tensor, answer: str = SCORE, steps: int = STEPS) -> Tensor:
    r"""Attributions of voxels, which add up to the answer's difference from that for the empty grid.

    Each grid is judged alone: what a critic sees of a batch's spread is that of copies.

    Parameters
    ----------
    critic : TrainedCritic
    grids : torch.Tensor, shape (n, n_species, \*shape)
    rows : torch.Tensor, shape (n, n_conditions)
    answer : str
        One of `critic.answers`. Of a condition with classes the logit of the class in `rows`, of a number the number.
    steps : int

    Returns
    -------
    torch.Tensor, shape (n, n_species, \*shape)

    Raises
    ------
    CaptumMissing
        If Captum is not installed.
    ValueError
        If the critic gives no such answer.
    """
    if answer not in critic.answers:
        raise ValueError(f"`answer` is {answer!r} but this critic answers with {list(critic.answers)}")
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise CaptumMissing("attribution needs Captum, which is not installed") from error
    parts = []
    for grid, row in zip(grids.split(1), rows.split(1), strict=True):
        method = IntegratedGradients(_answering(critic, row, answer))
        parts.append(method.attribute(grid, n_steps=steps, method="gausslegendre", internal_batch_size=1).detach())
    return torch.cat(parts).to(grids.dtype) if parts else torch.empty_like(grids)


def answers(critic: TrainedCritic, grids: Tensor, rows: Tensor, answer: str = SCORE) -> Tensor:
    """The critic's answer (n,) for each grid alone."""
    with torch.no_grad():
        return torch.cat(
            [_answering(critic, row, answer)(grid) for grid, row in zip(grids.split(1), rows.split(1), strict=True)]
        )


def gathered_on_atoms(attribution: Tensor, numbers: np.ndarray, positions: np.ndarray, spec: GridSpec) -> np.ndarray:
    """A grid's attribution divided among its atoms: each voxel's in proportion to what they add to its density.

    Parameters
    ----------
    attribution : torch.Tensor, shape (n_species, nx, ny, nz)
    numbers : array, shape (n_atoms,)
    positions : array, shape (n_atoms, 3)
        Å, in the grid's frame.
    spec : GridSpec

    Returns
    -------
    numpy.ndarray, shape (n_atoms,)
        Adds up to the whole, for a grid of these atoms.
    """
    places = torch.as_tensor(np.asarray(positions), dtype=torch.float64)
    x, y, z = (axis_profiles(places[:, axis], spec, axis) for axis in range(3))
    found = np.zeros(len(places))
    for channel, number in enumerate(spec.numbers):
        own = np.flatnonzero(np.asarray(numbers) == number)
        density = torch.einsum("ax,ay,az->xyz", x[own], y[own], z[own])
        per_density = torch.where(density > NEGLIGIBLE, attribution[channel].double() / density, 0.0)
        found[own] = torch.einsum("xyz,ax,ay,az->a", per_density, x[own], y[own], z[own]).numpy()
    return found


def _answering(critic: TrainedCritic, row: Tensor, answer: str) -> Callable[[Tensor], Tensor]:
    """Grids (k, …) to answers (k,), each judged alone."""
    packing, specs = critic.settings.packing, critic.settings.conditions

    def judge_each(grids: Tensor) -> Tensor:
        judged = [
            critic.network.judge(grid.expand(packing, *grid.shape[1:]), row.expand(packing, -1))
            for grid in grids.split(1)
        ]
        return torch.cat([_answer(one, row, specs, answer) for one in judged])

    return judge_each


def _answer(judged: Judged, row: Tensor, specs: Sequence[ConditionSpec], answer: str) -> Tensor:
    """The answer (1,) about one grid."""
    if answer == SCORE:
        return judged.scores
    column = [spec.name for spec in specs].index(answer)
    told = judged.conditions[column]
    return told[:, int(row[0, column])] if specs[column].kind == "class" else told[:, 0]
