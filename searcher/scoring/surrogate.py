"""A cheap guess of how low a proposal will relax, with its uncertainty: a Gaussian process on SOAP vectors.

It learns from recorded relaxations: each kept step, the first above all, stands for the height of the minimum that it
led to (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006). It ranks proposals and decides nothing.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, WhiteKernel

from searcher.scoring.descriptors import LocalVectors, SoapSettings, mean_vector

LARGEST_TRAINING_SET = 1200
"""A Gaussian process takes time with the third power; further examples are left out evenly."""
MOST_TUNED = 300
"""Examples, evenly chosen, by which length scale and noise are found; all of them are then learned from."""
RETUNED = 1.5
"""Times as many examples as at the last tuning, at which components and kernel are found anew."""
FEWEST = 20
"""Examples below which nothing is predicted."""
COMPONENTS = 24


@dataclass(frozen=True)
class Prediction:
    """Heights above the envelope in eV/Å².

    Attributes
    ----------
    mean, deviation : numpy.ndarray, shape (n,)
    """

    mean: np.ndarray
    deviation: np.ndarray

    def optimistic(self, deviations: float = 1.0) -> np.ndarray:
        """Lower confidence bound, shape (n,)."""
        return self.mean - deviations * self.deviation


def features(vectors: LocalVectors, soap: SoapSettings, excess_o_per_area: float) -> np.ndarray:
    """What the surrogate knows of a structure.

    Parameters
    ----------
    vectors : LocalVectors
        Of the free atoms.
    soap : SoapSettings
    excess_o_per_area : float
        (N_O − 2 N_metal) per Å².

    Returns
    -------
    numpy.ndarray, shape (n_species * n_features + 1,)
        Mean SOAP vector of each species, and the excess of oxygen.
    """
    return np.append(mean_vector(vectors, soap).astype(float), excess_o_per_area)


class HeightSurrogate:
    """Height of the minimum above the envelope of the known, from an unrelaxed structure.

    Parameters
    ----------
    examples : array, shape (n, n_features)
        Of `features`.
    heights : array, shape (n,)
        Of the minima that these relaxed into, in eV/Å².
    former : HeightSurrogate, optional
        Taught by fewer examples: its components and its kernel's parameters are kept while there are not `RETUNED`
        times as many.

    Raises
    ------
    ValueError
        For fewer than `FEWEST` examples, or values that are not finite.
    """

    def __init__(self, examples: np.ndarray, heights: np.ndarray, former: "HeightSurrogate | None" = None) -> None:
        examples, heights = np.asarray(examples, dtype=float), np.asarray(heights, dtype=float)
        if len(examples) < FEWEST or len(examples) != len(heights):
            raise ValueError(f"`examples` are {len(examples)} with {len(heights)} heights; {FEWEST} are the fewest")
        if not (np.isfinite(examples).all() and np.isfinite(heights).all()):
            raise ValueError("`examples` or `heights` hold values that are not finite")
        n_examples = len(examples)
        if n_examples > LARGEST_TRAINING_SET:
            kept = np.linspace(0, len(examples) - 1, LARGEST_TRAINING_SET).round().astype(int)
            examples, heights = examples[kept], heights[kept]
        self._n_tuned: int
        self._pca: PCA
        self._spread: float
        self._process: GaussianProcessRegressor
        if former is not None and n_examples < RETUNED * former._n_tuned:
            self._n_tuned, self._pca, self._spread = former._n_tuned, former._pca, former._spread
            kernel = former._process.kernel_
        else:
            self._n_tuned = n_examples
            n_components = min(COMPONENTS, len(examples), examples.shape[1] - 1)
            self._pca = PCA(n_components, svd_solver="full").fit(examples[:, :-1])
            self._spread = float(examples[:, -1].std()) or 1.0
            kernel = _tuned(self._reduced(examples), heights)
        self._process = GaussianProcessRegressor(kernel, optimizer=None, normalize_y=True)
        self._process.fit(self._reduced(examples), heights)

    def predict(self, queries: Sequence[np.ndarray]) -> Prediction:
        """Guess the heights of structures by their `features`."""
        if not len(queries):
            return Prediction(np.zeros(0), np.zeros(0))
        mean, deviation = self._process.predict(self._reduced(np.array(queries)), return_std=True)
        return Prediction(mean, deviation)

    def _reduced(self, examples: np.ndarray) -> np.ndarray:
        """(n, n_components + 1) with a spread of about 1 over all components together."""
        components = self._pca.transform(examples[:, :-1]) / np.sqrt(self._pca.explained_variance_.sum())
        return np.column_stack([components, examples[:, -1] / self._spread])


def _tuned(reduced: np.ndarray, heights: np.ndarray) -> Kernel:
    """The kernel with length scale and noise of the greatest likelihood."""
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(1.0, (0.1, 30.0)) + WhiteKernel(0.1, (1e-3, 1.0))
    few = np.linspace(0, len(reduced) - 1, min(len(reduced), MOST_TUNED)).round().astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a parameter at its bound is a fair answer
        return GaussianProcessRegressor(kernel, normalize_y=True).fit(reduced[few], heights[few]).kernel_
