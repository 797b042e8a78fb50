"""How near generated feature vectors are to real ones. Which features they are is the caller's choice."""

from dataclasses import dataclass

import numpy as np

PRINCIPAL_COMPONENTS = 32


@dataclass(frozen=True)
class PrincipalComponents:
    """Projection on the directions of largest variance of the data that it was fitted on.

    Attributes
    ----------
    mean : numpy.ndarray, shape (n_features,)
    directions : numpy.ndarray, shape (n_components, n_features)
        Orthonormal rows.
    """

    mean: np.ndarray
    directions: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, n_components: int = PRINCIPAL_COMPONENTS) -> "PrincipalComponents":
        """Fit on features (n, n_features); at most n − 1 and n_features components are kept."""
        features = _checked(features, "features")
        mean = features.mean(axis=0)
        _, _, directions = np.linalg.svd(features - mean, full_matrices=False)
        return cls(mean, directions[: min(n_components, len(features) - 1)])

    def project(self, features: np.ndarray) -> np.ndarray:
        """Features (n, n_features) to (n, n_components)."""
        projected: np.ndarray = (_checked(features, "features") - self.mean) @ self.directions.T
        return projected


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Fréchet distance of two Gaussians fitted to features (Dowson & Landau 1982; Heusel et al., NeurIPS 2017).

    |m₁ − m₂|² + Tr(C₁ + C₂ − 2(C₁C₂)^½).

    Parameters
    ----------
    real, generated : array, shape (n, n_features)
        Already projected, see `frechet_in_principal_components`.

    Returns
    -------
    float
        In squared units of the features; zero for equal Gaussians.
    """
    real, generated = _checked(real, "real"), _checked(generated, "generated")
    first, second = np.cov(real, rowvar=False, ddof=1), np.cov(generated, rowvar=False, ddof=1)
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    root = _square_root(first)
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0.0)).sum()
    distance = np.sum((real.mean(axis=0) - generated.mean(axis=0)) ** 2)
    return float(max(0.0, distance + np.trace(first) + np.trace(second) - 2.0 * cross))


def frechet_in_principal_components(
    real: np.ndarray, generated: np.ndarray, n_components: int = PRINCIPAL_COMPONENTS
) -> float:
    """Fréchet distance in the principal components of the real features."""
    components = PrincipalComponents.fit(real, n_components)
    return frechet_distance(components.project(real), components.project(generated))


def frechet_beside_floor(
    train: np.ndarray, holdout: np.ndarray, generated: np.ndarray, n_components: int = PRINCIPAL_COMPONENTS
) -> tuple[float, float]:
    """Distance of generated from held-out features, and the floor: that of the training features from them.

    Both are taken in the principal components of the training features and with equal numbers of samples, because the
    estimate falls with the number.

    Parameters
    ----------
    train, holdout, generated : array, shape (n, n_features)

    Returns
    -------
    distance, floor : float
    """
    components = PrincipalComponents.fit(train, n_components)
    n = min(len(train), len(generated))
    held = components.project(holdout)
    spread = np.linspace(0, len(train) - 1, n).round().astype(int)  # neighbours in a list are often relatives
    floor = frechet_distance(held, components.project(np.asarray(train)[spread]))
    return frechet_distance(held, components.project(generated[:n])), floor


def precision_recall(real: np.ndarray, generated: np.ndarray, n_neighbours: int = 3) -> tuple[float, float]:
    """Share of generated within the real manifold, and of real within the generated one.

    A manifold is the union of balls around its samples that reach to their k-th neighbour
    (Kynkäänniemi et al., NeurIPS 2019).

    Parameters
    ----------
    real, generated : array, shape (n, n_features)
        Each with more than `n_neighbours` samples.
    n_neighbours : int

    Returns
    -------
    precision, recall : float
    """
    across = _distances(real, generated)
    real_radii, generated_radii = _radii(real, n_neighbours), _radii(generated, n_neighbours)
    precision = np.mean(np.any(across <= real_radii[:, None], axis=0))
    recall = np.mean(np.any(across <= generated_radii[None, :], axis=1))
    return float(precision), float(recall)


def density_coverage(real: np.ndarray, generated: np.ndarray, n_neighbours: int = 5) -> tuple[float, float]:
    """How densely generated samples lie among real ones, and the share of real ones that have one near.

    Density counts the real balls around a generated sample over k, about 1 for equal distributions; coverage is the
    share of real balls that hold a generated sample (Naeem et al., ICML 2020).

    Parameters
    ----------
    real, generated : array, shape (n, n_features)
    n_neighbours : int

    Returns
    -------
    density, coverage : float
    """
    inside = _distances(real, generated) <= _radii(real, n_neighbours)[:, None]
    return float(inside.sum(axis=0).mean() / n_neighbours), float(np.any(inside, axis=1).mean())


def coverage(real: np.ndarray, generated: np.ndarray, n_neighbours: int = 5) -> float:
    """Share of real samples that have a generated one within the distance to their own k-th neighbour."""
    return density_coverage(real, generated, n_neighbours)[1]


def nearest_distances(samples: np.ndarray, others: np.ndarray, skip_self: bool = False) -> np.ndarray:
    """Distance from each sample to the nearest of the others, (n,); without itself if they are the same rows."""
    distances = _distances(samples, others)
    if skip_self:
        np.fill_diagonal(distances, np.inf)
    nearest: np.ndarray = distances.min(axis=1)
    return nearest


def unique_share(features: np.ndarray, threshold: float) -> float:
    """Share of samples that are kept if every sample nearer than `threshold` to an earlier kept one is dropped.

    Parameters
    ----------
    features : array, shape (n, n_features)
    threshold : float
        Euclidean distance in units of the features.

    Returns
    -------
    float
        1/n if all are the same.
    """
    features = _checked(features, "features")
    kept: list[int] = []
    distances = _distances(features, features)
    for i in range(len(features)):
        if not kept or distances[i, kept].min() >= threshold:
            kept.append(i)
    return len(kept) / len(features)


def _checked(features: np.ndarray, name: str) -> np.ndarray:
    features = np.asarray(features, dtype=float)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"`{name}` has shape {features.shape} but must be (n, n_features) with n at least 2")
    if not np.isfinite(features).all():
        raise ValueError(f"`{name}` holds numbers that are not finite")
    return features


def _square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = (vectors * np.sqrt(values.clip(0.0))) @ vectors.T
    return root


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distances, shape (n_first, n_second)."""
    first, second = _checked(first, "features"), _checked(second, "features")
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)[None, :] - 2.0 * first @ second.T
    return np.sqrt(squares.clip(0.0))


def _radii(features: np.ndarray, n_neighbours: int) -> np.ndarray:
    """Distance from each sample to its k-th neighbour, shape (n,)."""
    if len(features) <= n_neighbours:
        raise ValueError(f"`n_neighbours` is {n_neighbours} but there are only {len(features)} samples")
    distances = _distances(features, features)
    np.fill_diagonal(distances, 0.0)  # rounding leaves a little there
    return np.partition(distances, n_neighbours, axis=1)[:, n_neighbours]
