"""Metrics on samples whose answer is known."""

import numpy as np
import pytest

from generators.training.metrics import (
    PrincipalComponents,
    density_coverage,
    frechet_beside_floor,
    frechet_distance,
    frechet_in_principal_components,
    precision_recall,
    unique_share,
)


def gaussian(n: int, seed: int, mean: float = 0.0, width: float = 1.0, n_features: int = 4) -> np.ndarray:
    return mean + width * np.random.default_rng(seed).normal(size=(n, n_features))


def test_frechet_distance_of_equal_samples_is_zero() -> None:
    features = gaussian(50, 0)
    assert frechet_distance(features, features) == pytest.approx(0.0, abs=1e-9)  # rounding of an eigenvalue problem


def test_frechet_distance_of_a_shift_is_its_square() -> None:
    features = gaussian(50, 0)
    assert frechet_distance(features, features + np.array([3.0, 0.0, 4.0, 0.0])) == pytest.approx(25.0, rel=1e-9)


def test_frechet_distance_of_scaled_gaussians() -> None:
    """Tr(C₁ + C₂ − 2(C₁C₂)^½) = Σ (σ₁ − σ₂)² for commuting covariances."""
    features = gaussian(50, 0)
    expected = np.trace(np.cov(features, rowvar=False)) + np.sum((features.mean(0)) ** 2)
    assert frechet_distance(features, 2.0 * features) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_is_symmetric() -> None:
    first, second = gaussian(60, 0), gaussian(40, 1, mean=0.5, width=2.0)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first), rel=1e-9)


def test_principal_components_keep_distances_within_their_span() -> None:
    features = gaussian(40, 0, n_features=3)
    projected = PrincipalComponents.fit(features).project(features)
    assert projected.shape == (40, 3)
    assert np.linalg.norm(projected[0] - projected[1]) == pytest.approx(np.linalg.norm(features[0] - features[1]))
    assert frechet_in_principal_components(features, features) == pytest.approx(0.0, abs=1e-9)


def test_fresh_samples_reach_the_floor_and_a_collapsed_set_does_not() -> None:
    train, holdout, fresh = gaussian(400, 0), gaussian(400, 1), gaussian(400, 2)
    distance, floor = frechet_beside_floor(train, holdout, fresh)
    assert distance < 3.0 * floor  # both are sampling noise of the same size
    collapsed, _ = frechet_beside_floor(train, holdout, gaussian(400, 3, width=0.01))
    assert collapsed > 20.0 * floor


def test_precision_and_recall_tell_quality_from_diversity() -> None:
    real = gaussian(300, 0)
    precision, recall = precision_recall(real, gaussian(300, 1))
    assert precision > 0.7 and recall > 0.7  # the published estimator's value for equal Gaussians is near 0.8-0.9
    precision, recall = precision_recall(real, gaussian(300, 1, width=0.1))
    assert precision > 0.95 and recall < 0.2
    precision, recall = precision_recall(real, gaussian(300, 1, mean=50.0))
    assert precision == recall == 0.0


def test_density_and_coverage_of_equal_distributions() -> None:
    real, fresh = gaussian(500, 0), gaussian(500, 1)
    density, coverage = density_coverage(real, fresh)
    assert density == pytest.approx(1.0, abs=0.15)  # expectation 1 (Naeem et al.), 500 samples
    assert coverage == pytest.approx(1.0 - 0.5**5, abs=0.05)  # expectation 1 − 2⁻ᵏ for equal sample sizes
    _, coverage = density_coverage(real, gaussian(500, 1, width=0.01))
    assert coverage < 0.3


def test_unique_share_counts_representatives() -> None:
    points = np.array([[0.0], [0.01], [1.0], [1.02], [5.0]])
    assert unique_share(points, 0.1) == pytest.approx(3 / 5)
    assert unique_share(np.zeros((8, 2)), 0.1) == pytest.approx(1 / 8)


def test_wrong_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`real` has shape \(4,\)"):
        frechet_distance(np.zeros(4), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="not finite"):
        unique_share(np.full((3, 2), np.nan), 0.1)
    with pytest.raises(ValueError, match="`n_neighbours` is 5 but there are only 3 samples"):
        density_coverage(gaussian(3, 0), gaussian(10, 1))
