"""Will a relaxation lead to something new? Told by how far its start is from what is known.

A logistic regression on κ, taught by the relaxations of the campaign itself: how far a start must be from the known to
relax anywhere else depends on the surface and on what proposes.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

FEWEST = 20
"""Relaxations below which nothing is told."""


class Newness:
    """Probability that a relaxation leads to something new.

    Parameters
    ----------
    kappas : sequence of float
        Of past starts, to the nearest that was known then.
    new : sequence of bool
        Whether they led to something new.
    scale : float
        κ that tells two terminations apart.

    Raises
    ------
    ValueError
        For fewer than `FEWEST` relaxations, or if all of them ended alike.
    """

    def __init__(self, kappas: Sequence[float], new: Sequence[bool], scale: float) -> None:
        if len(kappas) < FEWEST or len(kappas) != len(new) or len(set(new)) < 2:
            raise ValueError(
                f"{len(kappas)} relaxations with {len(new)} outcomes, {sum(new)} of them new, teach nothing"
            )
        self._scale = scale
        self._model = LogisticRegression().fit(self._rows(kappas), np.asarray(new, dtype=bool))

    def __call__(self, kappas: Sequence[float]) -> np.ndarray:
        """Probabilities, shape (n,), never falling with κ."""
        if not len(kappas):
            return np.zeros(0)
        slope, height = max(0.0, float(self._model.coef_[0, 0])), float(self._model.intercept_[0])
        return np.asarray(1.0 / (1.0 + np.exp(-(slope * self._rows(kappas)[:, 0] + height))))

    def _rows(self, kappas: Sequence[float]) -> np.ndarray:
        return np.asarray(kappas, dtype=float)[:, None] / self._scale
