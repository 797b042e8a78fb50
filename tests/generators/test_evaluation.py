"""Metrics on planted distributions: equal ones meet their floors, collapsed and displaced ones do not."""

import numpy as np
import pytest
import torch

from generators.training.evaluation import (
    compare_property,
    evaluate,
    f_score,
    mean_discrepancy,
    precision_recall_curve,
    smoothness,
    vendi_score,
)
from generators.training.likeness import nearest_by_similarity, structural_similarity

RNG = np.random.default_rng(0)
CENTRES = 4.0 * RNG.normal(size=(8, 6))


def drawn(n: int, modes: int = 8, seed: int = 1) -> np.ndarray:
    """Samples of a mixture of eight unit Gaussians, or of its first modes."""
    rng = np.random.default_rng(seed)
    rows: np.ndarray = CENTRES[rng.integers(modes, size=n)] + rng.normal(size=(n, 6))
    return rows


TRAIN, HOLDOUT = drawn(400, seed=1), drawn(400, seed=2)


def test_the_same_distribution_meets_the_floors() -> None:
    found = evaluate(TRAIN, HOLDOUT, drawn(400, seed=3))
    for name in ("precision", "recall", "density", "coverage", "f_recall", "f_precision", "vendi", "clusters_reached"):
        assert found[name].value == pytest.approx(found[name].floor, rel=0.15), name  # sampling noise of 400
    assert found["frechet"].value < 3.0 * found["frechet"].floor
    assert abs(found["mean_discrepancy"].value) < 0.01
    assert found["memorised"].value == 0.0


def test_lost_modes_are_seen_in_recall_not_in_precision() -> None:
    found = evaluate(TRAIN, HOLDOUT, drawn(400, modes=2, seed=3))
    assert found["recall"].value < 0.5 * found["recall"].floor
    assert found["coverage"].value < 0.5 * found["coverage"].floor
    assert found["clusters_reached"].value < 0.6 * found["clusters_reached"].floor
    assert found["f_recall"].value < 0.7 * found["f_recall"].floor
    assert found["vendi"].value < 0.7 * found["vendi"].floor
    assert found["precision"].value > 0.8 * found["precision"].floor


def test_displaced_samples_are_seen_in_precision_and_distance() -> None:
    found = evaluate(TRAIN, HOLDOUT, drawn(400, seed=3) + 6.0)
    assert found["precision"].value < 0.5 * found["precision"].floor
    assert found["frechet"].value > 20.0 * found["frechet"].floor
    assert found["mean_discrepancy"].value > 0.1


def test_data_learned_by_heart_raise_the_alarm() -> None:
    assert evaluate(TRAIN, HOLDOUT, TRAIN + 1e-4)["memorised"].value == 1.0


def test_vendi_counts_different_samples() -> None:
    """Of k points far apart, each repeated, the effective number is k."""
    points = 100.0 * np.eye(5)
    assert vendi_score(np.repeat(points, 7, axis=0), 1.0) == pytest.approx(5.0, rel=1e-6)


def test_discrepancy_of_shifted_gaussians_grows_with_the_shift() -> None:
    values = [mean_discrepancy(HOLDOUT, drawn(400, seed=3) + shift) for shift in (0.0, 1.0, 2.0, 4.0)]
    assert values == sorted(values)


def test_curves_of_equal_and_of_disjoint_samples() -> None:
    assert f_score(precision_recall_curve(HOLDOUT, HOLDOUT), 1.0) == pytest.approx(1.0, abs=0.02)
    assert f_score(precision_recall_curve(HOLDOUT, HOLDOUT + 100.0), 1.0) < 0.02


def test_properties_are_compared_beside_their_floor() -> None:
    rng = np.random.default_rng(4)
    train, holdout = (rng.normal(10.0, 1.0, 500) for _ in range(2))
    same = compare_property(train, holdout, rng.normal(10.0, 1.0, 500), target=(9.0, 11.0))
    shifted = compare_property(train, holdout, rng.normal(12.0, 1.0, 500))
    assert same["earth_mover"].value < 0.03 and shifted["earth_mover"].value == pytest.approx(0.2, abs=0.03)
    assert same["within_target"].value == pytest.approx(0.683, abs=0.07)  # one standard deviation of a Gaussian
    for name in ("kolmogorov_smirnov", "jensen_shannon"):
        assert shifted[name].value > 3.0 * shifted[name].floor


def test_a_jump_on_the_way_is_not_smooth() -> None:
    way = np.linspace(0.0, 1.0, 11)[:, None] * np.ones((1, 3))
    assert smoothness(way) == pytest.approx(1.0)
    way[6:] += 5.0
    assert smoothness(way) > 5.0


@pytest.mark.parametrize("shape", [(12, 12), (8, 8, 8)])
def test_similarity_is_one_for_equal_grids_and_less_for_others(shape: tuple[int, ...]) -> None:
    grids = torch.rand(3, 2, *shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(structural_similarity(grids, grids), torch.ones(3, dtype=torch.float64))
    assert structural_similarity(grids, grids.roll(1, dims=0)).max() < 0.3
    index, value = nearest_by_similarity(grids[[2, 0]] * 0.98, grids)
    assert index.tolist() == [2, 0] and float(value.min()) > 0.9
