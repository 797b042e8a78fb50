"""How good generated samples are, by name, each figure beside what held-out data would get in their place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import ks_2samp, wasserstein_distance
from sklearn.cluster import KMeans

from generators.training.metrics import (
    PrincipalComponents,
    density_coverage,
    frechet_distance,
    nearest_distances,
    precision_recall,
)

CLUSTERS = 20
CURVE_CLUSTERS, CURVE_ANGLES = 20, 201
HISTOGRAM_BINS = 20
MEMORISED_BELOW = 0.2
"""Ratio of nearest distances, generated to training over held-out to training, that is near zero."""


@dataclass(frozen=True)
class Figure:
    """A metric's value, and its floor: what held-out data get where generated ones would stand."""

    value: float
    floor: float


def mean_discrepancy(real: np.ndarray, generated: np.ndarray) -> float:
    """Squared maximum mean discrepancy with a Gaussian kernel as wide as the data's median distance, unbiased.

    Gretton et al., JMLR 13, 723 (2012).
    """
    squares = _squares(real, real)
    width = float(np.median(squares[np.triu_indices(len(real), 1)])) or 1.0
    own, other = np.exp(-squares / width), np.exp(-_squares(generated, generated) / width)
    n, m = len(real), len(generated)
    within = (own.sum() - n) / (n * (n - 1)) + (other.sum() - m) / (m * (m - 1))
    return float(within - 2.0 * np.exp(-_squares(real, generated) / width).mean())


def vendi_score(samples: np.ndarray, width: float) -> float:
    """Effective number of different samples: exp of the entropy of the kernel's eigenvalues (Friedman & Dieng, 2023).

    Parameters
    ----------
    samples : array, shape (n, n_features)
    width : float
        Squared distance at which the Gaussian kernel falls to 1/e.
    """
    values = np.linalg.eigvalsh(np.exp(-_squares(samples, samples) / width) / len(samples))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def inception_score(clusters: KMeans, samples: np.ndarray, width: float) -> float:
    """exp of the mean divergence of each sample's soft cluster from the mean: high if sure and various.

    After Salimans et al., NeurIPS 2016, with clusters of the data in the place of a classifier.
    """
    logits = -(clusters.transform(samples) ** 2) / width
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    mean = shares.mean(axis=0)
    divergence = (shares * (np.log(shares + 1e-300) - np.log(mean + 1e-300))).sum(axis=1)
    return float(np.exp(divergence.mean()))


def precision_recall_curve(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Points (n, 2) of precision against recall (Sajjadi et al., NeurIPS 2018)."""
    together = np.concatenate([real, generated])
    labels = _clusters(together, CURVE_CLUSTERS).labels_
    n = int(labels.max()) + 1
    first, second = (np.bincount(part, minlength=n) / len(part) for part in (labels[: len(real)], labels[len(real) :]))
    slopes = np.tan(np.linspace(1e-6, np.pi / 2 - 1e-6, CURVE_ANGLES))
    precision = np.minimum(slopes[:, None] * first[None], second[None]).sum(axis=1)
    return np.stack([precision, precision / slopes], axis=1).clip(0.0, 1.0)


def f_score(curve: np.ndarray, beta: float) -> float:
    """Largest F_β along a curve: β = 8 weighs recall, 1/8 precision."""
    precision, recall = curve.T
    scores = (1 + beta**2) * precision * recall / np.maximum(beta**2 * precision + recall, 1e-12)
    return float(scores.max())


def intra_inter_ratio(clusters: KMeans, samples: np.ndarray) -> float:
    """Mean distance to the own cluster's centre over the mean distance between centres."""
    within = clusters.transform(samples).min(axis=1).mean()
    centres = clusters.cluster_centers_
    between = np.sqrt(_squares(centres, centres))[np.triu_indices(len(centres), 1)].mean()
    return float(within / max(between, 1e-12))


def evaluate(train: np.ndarray, holdout: np.ndarray, generated: np.ndarray) -> dict[str, Figure]:
    """Every metric in the principal components of the training features, beside its floor.

    Parameters
    ----------
    train, holdout, generated : array, shape (n, n_features)
        Each with more than ten rows. Held-out data are compared with as many generated as with training samples.

    Returns
    -------
    dict of str to Figure
        The floor of distances and shares is that of training samples in the place of generated ones; of
        `nearest_ratio` and `memorised`, that of held-out ones.
    """
    components = PrincipalComponents.fit(train)
    known, held, made = (components.project(rows) for rows in (train, holdout, generated))
    n = min(len(known), len(made))
    known_n = known[np.linspace(0, len(known) - 1, n).round().astype(int)]  # neighbours in a list are often relatives
    made = made[:n]
    clusters = _clusters(known, CLUSTERS)
    width = float(np.median(_squares(known_n, known_n)[np.triu_indices(n, 1)])) or 1.0
    figures: dict[str, Callable[[np.ndarray], float]] = {
        "frechet": lambda rows: frechet_distance(held, rows),
        "mean_discrepancy": lambda rows: mean_discrepancy(held, rows),
        "precision": lambda rows: precision_recall(held, rows)[0],
        "recall": lambda rows: precision_recall(held, rows)[1],
        "density": lambda rows: density_coverage(held, rows)[0],
        "coverage": lambda rows: density_coverage(held, rows)[1],
        "f_recall": lambda rows: f_score(precision_recall_curve(held, rows), 8.0),
        "f_precision": lambda rows: f_score(precision_recall_curve(held, rows), 1.0 / 8.0),
        "vendi": lambda rows: vendi_score(rows, width),
        "inception": lambda rows: inception_score(clusters, rows, width),
        "clusters_reached": lambda rows: len(np.unique(clusters.predict(rows))) / clusters.n_clusters,
        "intra_inter": lambda rows: intra_inter_ratio(clusters, rows),
    }
    found = {name: Figure(figure(made), figure(known_n)) for name, figure in figures.items()}
    own = float(np.median(nearest_distances(known, known, skip_self=True)))
    nearest = {
        name: float(np.median(nearest_distances(rows, known))) for name, rows in (("made", made), ("held", held))
    }
    found["nearest_ratio"] = Figure(nearest["made"] / max(own, 1e-12), nearest["held"] / max(own, 1e-12))
    memorised = nearest["made"] < MEMORISED_BELOW * nearest["held"]
    found["memorised"] = Figure(float(memorised), 0.0)
    return found


def compare_property(
    train: np.ndarray, holdout: np.ndarray, generated: np.ndarray, target: tuple[float, float] | None = None
) -> dict[str, Figure]:
    """How a property's distribution differs from the held-out one: earth mover's distance over the mean, and tests.

    Parameters
    ----------
    train, holdout, generated : array, shape (n,)
    target : tuple of float, optional
        A range; the share within it is told.
    """
    scale = max(abs(float(np.mean(holdout))), 1e-12)
    edges = np.histogram_bin_edges(np.concatenate([train, holdout, generated]), HISTOGRAM_BINS)
    figures: dict[str, Callable[[np.ndarray], float]] = {
        "earth_mover": lambda rows: float(wasserstein_distance(holdout, rows)) / scale,
        "kolmogorov_smirnov": lambda rows: float(ks_2samp(holdout, rows).statistic),
        "jensen_shannon": lambda rows: _jensen_shannon(holdout, rows, edges),
    }
    if target is not None:
        low, high = target
        figures["within_target"] = lambda rows: float(np.mean((rows >= low) & (rows <= high)))
    return {name: Figure(figure(generated), figure(train)) for name, figure in figures.items()}


def smoothness(features: np.ndarray) -> float:
    """Largest step over the mean step along a path of samples whose noise moves evenly: about 1 to 3 if smooth.

    Parameters
    ----------
    features : array, shape (n_steps, n_features)
    """
    steps = np.linalg.norm(np.diff(features, axis=0), axis=1)
    return float(steps.max() / max(steps.mean(), 1e-12))


def as_record(figures: Mapping[str, Figure]) -> dict[str, dict[str, float]]:
    """Figures as what JSON can hold."""
    return {name: {"value": figure.value, "floor": figure.floor} for name, figure in figures.items()}


def _jensen_shannon(real: np.ndarray, generated: np.ndarray, edges: np.ndarray) -> float:
    """Divergence of two histograms in bits, 0 to 1."""
    first, second = (np.histogram(rows, edges)[0] / len(rows) for rows in (real, generated))
    mean = 0.5 * (first + second)

    def entropy(shares: np.ndarray) -> float:
        shares = shares[shares > 0.0]
        return float(-(shares * np.log2(shares)).sum())

    return entropy(mean) - 0.5 * (entropy(first) + entropy(second))


def _clusters(rows: np.ndarray, n: int) -> KMeans:
    different = len(np.unique(rows.round(9), axis=0))
    return KMeans(min(n, different, max(1, len(rows) // 3)), n_init=3, random_state=0).fit(rows)


def _squares(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    squares: np.ndarray = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2.0 * first @ second.T
    return squares.clip(0.0)
