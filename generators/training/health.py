"""Is a training well? Figures from a batch of real and generated grids, rules with thresholds, and what is done."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from generators.training.metrics import coverage, nearest_distances

SAMPLES = 192
COARSE_VOXELS = 6
"""Voxels per axis that grids are averaged to before they are compared."""
SAME = 0.05
"""Share of the data's median distance within which two generated grids are the same."""
NEIGHBOURS = 5
GRACE_STEPS = 400
"""Steps after which a rule counts even if its figure was never well: the first outputs are all alike."""

Features = Callable[[Tensor], np.ndarray]
"""grids -> (n, n_features)"""
Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rule:
    """A symptom, when it counts, what it means and what is done."""

    name: str
    figure: str
    below: bool
    """whether the figure is ill below the threshold, or above it"""
    threshold: float
    diagnosis: str
    action: str

    def ill(self, figures: Mapping[str, float]) -> bool:
        """Whether the figure is beyond the threshold; a figure that was not taken is well."""
        value = figures.get(self.figure)
        if value is None:
            return False
        return value < self.threshold if self.below else value > self.threshold


ROLL_BACK, LOWER_CRITIC, LOWER_GENERATOR, TELL = "roll_back", "lower_critic_rate", "lower_generator_rate", "tell"
# fmt: off
RULES = (
    Rule("repetition", "diversity", True, 0.25,
         "the generator makes few different grids (collapse): try packing or minibatch deviation", ROLL_BACK),
    Rule("sameness", "unique", True, 0.5,
         "many generated grids are equal (collapse): try packing or a diversity term", ROLL_BACK),
    Rule("lost_modes", "coverage_ratio", True, 0.05,
         "almost no part of the data is reached", TELL),
    Rule("flat_critic", "flatness", False, 25.0,
         "the critic separates without a slope to follow (saturated): try a gradient penalty", LOWER_CRITIC),
    Rule("dead_critic", "critic_spread", True, 1e-6,
         "the critic says the same of everything", ROLL_BACK),
    Rule("runaway", "generator_gradient", False, 1e4,
         "the generator's gradient explodes: clip it or lower the rates", LOWER_GENERATOR),
    Rule("memory", "memorised", True, 0.1,
         "generated grids are nearer to the data than the data to themselves (learned by heart)", TELL),
)
# fmt: on
"""Every rule: name, figure, side and value of the threshold, diagnosis, action."""


@dataclass(frozen=True)
class Finding:
    """A rule that called, at a step."""

    step: int
    rule: str
    figure: str
    value: float
    threshold: float
    diagnosis: str
    action: str

    def as_dict(self) -> dict[str, Any]:
        """Fields as what JSON can hold."""
        return asdict(self)


def coarse_features(grids: Tensor) -> np.ndarray:
    """Grids averaged to a few voxels per axis, (n, n_features)."""
    pool: Any = {4: functional.adaptive_avg_pool2d, 5: functional.adaptive_avg_pool3d}[grids.dim()]
    sizes = [min(COARSE_VOXELS, n) for n in grids.shape[2:]]
    rows: np.ndarray = pool(grids.float(), sizes).flatten(1).cpu().numpy().astype(float)
    return rows


def examine(real: Tensor, generated: Tensor, score: Score, features: Features = coarse_features) -> dict[str, float]:
    r"""Figures of a batch.

    Parameters
    ----------
    real, generated : torch.Tensor, shape (n, n_species, \*shape)
        Equally many, at least 8.
    score : callable
        The critic, with its conditions bound in.
    features : callable

    Returns
    -------
    dict of str to float
        `diversity`: mean distance among generated over that among real ones; `unique`: share of generated grids without
        an equal earlier one; `coverage_ratio`: coverage of the real over that of one half of them by the other;
        `memorised`: median distance from generated to real over that among real ones; `critic_spread`: standard
        deviation of the scores; `critic_accuracy`: share of pairs that the critic ranks rightly; `flatness`: difference
        of the mean scores over what the slope at generated grids accounts for on the way to the real ones.
    """
    there, made = features(real), features(generated)
    typical = float(np.median(_among(there)))
    half = len(there) // 2
    own = coverage(there[:half], there[half : 2 * half], NEIGHBOURS)
    nearest_real = nearest_distances(there, there, skip_self=True)
    with torch.no_grad():
        real_scores, fake_scores = score(real).double(), score(generated).double()
    gap = float(real_scores.mean() - fake_scores.mean())
    grids = generated.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(score(grids).sum(), grids)
    way = float(torch.cdist(generated.flatten(1).double(), real.flatten(1).double()).amin(dim=1).mean())
    accounted = float(slope.flatten(1).double().norm(dim=1).mean()) * way
    ranked = (real_scores[:, None] > fake_scores[None]).double() + 0.5 * (real_scores[:, None] == fake_scores[None])
    return {
        "diversity": float(_among(made).mean() / max(_among(there).mean(), 1e-12)),
        "unique": _different_share(made, SAME * typical),
        "coverage_ratio": coverage(there[:half], made[:half], NEIGHBOURS) / max(own, 1.0 / half),
        "memorised": float(np.median(nearest_distances(made, there)) / max(np.median(nearest_real), 1e-12)),
        "critic_spread": float(torch.cat([real_scores, fake_scores]).std()),
        "critic_accuracy": float(ranked.mean()),
        "flatness": abs(gap) / max(accounted, 1e-12),
    }


def _among(rows: np.ndarray) -> np.ndarray:
    """Distances of all pairs, (n · (n − 1) / 2,)."""
    first, second = np.triu_indices(len(rows), 1)
    distances: np.ndarray = np.linalg.norm(rows[first] - rows[second], axis=1)
    return distances


def _different_share(rows: np.ndarray, least: float) -> float:
    kept: list[np.ndarray] = []
    for row in rows:
        if not kept or np.linalg.norm(np.array(kept) - row, axis=1).min() >= least:
            kept.append(row)
    return len(kept) / len(rows)


class Watch:
    """Applies the rules check after check.

    A rule counts once its figure was well before, or after `GRACE_STEPS`.

    Attributes
    ----------
    findings : list of Finding
    armed : set of str
        Rules whose figure has been well.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.armed: set[str] = set()

    def judge(self, step: int, figures: Mapping[str, float]) -> list[Finding]:
        """Findings of one check."""
        found = []
        for rule in RULES:
            if not rule.ill(figures):
                self.armed.add(rule.name)
            elif rule.name in self.armed or step >= GRACE_STEPS:
                value = figures[rule.figure]
                found.append(Finding(step, rule.name, rule.figure, value, rule.threshold, rule.diagnosis, rule.action))
        self.findings += found
        return found

    def as_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"findings": [finding.as_dict() for finding in self.findings], "armed": sorted(self.armed)}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Inverse of `as_dict`."""
        self.findings = [Finding(**finding) for finding in kept["findings"]]
        self.armed = set(kept["armed"])
