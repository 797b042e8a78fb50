"""From what a potential says of its own uncertainty to an error bar that holds.

A GAP's local variances are those of its prior, in which atoms err independently; an energy's error is neither. Measured
errors of frames that no fit has seen set the scale: the total energy is taken to err by scale · √(Σ variances).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_FRAMES = 10


class CalibrationError(ValueError):
    """Too few frames, or none with an uncertainty."""


@dataclass(frozen=True)
class Calibration:
    """How predicted and true errors go together.

    Attributes
    ----------
    scale : float
        By which √(Σ local variances) must be multiplied to be the standard deviation of the total energy.
    rank_correlation : float
        Spearman's, of predicted deviation and |error|, both per atom.
    within_one, within_two : float
        Shares of errors within one and two calibrated deviations, each frame judged by a scale that the other half of
        the families has set; 0.68 and 0.95 for a normal distribution.
    frames : int
    """

    scale: float
    rank_correlation: float
    within_one: float
    within_two: float
    frames: int

    def gamma_error(self, variances: np.ndarray, area: float) -> float:
        """Standard deviation of a one-sided slab's γ in eV/Å², from its atoms' local variances in eV²."""
        return self.scale * float(np.sqrt(np.sum(variances))) / area


def calibrate(
    deviations: Sequence[float], errors: Sequence[float], sizes: Sequence[int], families: Sequence[str]
) -> Calibration:
    """Scale predicted deviations to measured errors.

    Parameters
    ----------
    deviations : sequence of float
        √(Σ local variances) in eV, or a committee's spread of total energies, one per frame.
    errors : sequence of float
        Potential's minus labeller's total energy in eV.
    sizes : sequence of int
        Atoms per frame.
    families : sequence of str
        Frames of one family are not independent: they stay on one side.

    Raises
    ------
    CalibrationError
        If there are fewer than ten frames or two families, or a deviation is not positive.
    """
    predicted, true = np.asarray(deviations, dtype=float), np.asarray(errors, dtype=float)
    names = sorted(set(families))
    if len(true) < LEAST_FRAMES or len(names) < 2:
        raise CalibrationError(f"{len(true)} frames of {len(names)} families are too few; at least {LEAST_FRAMES} of 2")
    if not np.all(predicted > 0):
        raise CalibrationError("a predicted deviation is zero or not a number; does the potential know its variance?")
    half = np.isin(families, names[::2])
    ratio = np.abs(true / predicted)
    judged = np.where(half, ratio / _rms(ratio[~half]), ratio / _rms(ratio[half]))
    per_atom = np.asarray(sizes, dtype=float)
    return Calibration(
        scale=_rms(ratio),
        rank_correlation=_rank_correlation(predicted / per_atom, np.abs(true) / per_atom),
        within_one=float(np.mean(judged < 1)),
        within_two=float(np.mean(judged < 2)),
        frames=len(true),
    )


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import spearmanr  # loading it takes longer than all that a worker does

    return float(spearmanr(one, other).statistic)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
