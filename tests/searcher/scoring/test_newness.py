"""What relaxations teach of how far a start must be from the known."""

import numpy as np
import pytest

from searcher.scoring.newness import FEWEST, Newness


def test_the_law_behind_many_relaxations_is_found():
    rng = np.random.default_rng(0)
    kappas = rng.uniform(0.0, 0.3, 4000)
    law = 1.0 / (1.0 + np.exp(-(kappas - 0.12) / 0.02))
    told = Newness(kappas, list(rng.uniform(size=len(kappas)) < law), 0.075)
    asked = np.array([0.06, 0.10, 0.12, 0.14, 0.20])
    expected = 1.0 / (1.0 + np.exp(-(asked - 0.12) / 0.02))
    assert np.abs(told(asked) - expected).max() < 0.05, "4000 relaxations"


def test_nearer_is_never_newer():
    kappas = np.linspace(0.05, 0.2, FEWEST)
    told = Newness(kappas, [kappa < 0.1 for kappa in kappas], 0.075)
    assert np.ptp(told([0.0, 0.1, 0.3])) == 0.0


def test_few_relaxations_or_one_outcome_teach_nothing():
    with pytest.raises(ValueError, match="teach nothing"):
        Newness([0.1] * (FEWEST - 1), [True] * (FEWEST - 2) + [False], 0.075)
    with pytest.raises(ValueError, match="teach nothing"):
        Newness([0.1] * FEWEST, [True] * FEWEST, 0.075)
