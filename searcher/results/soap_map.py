"""Likeness of terminations for the eye: a map on which similar ones lie together, and groups of them."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.linalg import eigh
from scipy.spatial.distance import squareform

from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.workers.executor import Executor, Task
from searcher.errors import SearchFailed
from searcher.files import replacing
from searcher.scoring.descriptors import SoapSettings, describe_payload, mean_task, rematch_task

CACHE = "soap_map.npz"
"""file in a campaign's folder: averaged vectors and groups by structure key"""
CHUNK = 32
MOST_MATCHED = 64
"""structures of which every pair is matched, the most different ones; the others join the nearest of them"""
GROUP_DISTANCE = 0.15
"""√(2(1 − REMatch)) at which groups are told apart: between noise on one termination and two of them"""
NO_GROUP = -1


@dataclass
class Likeness:
    """What is known of structures by key.

    Attributes
    ----------
    vectors : dict of str to numpy.ndarray
        Averaged vectors of the free atoms, float32.
    groups : dict of str to int
        1 is the largest group.
    """

    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)


def likeness(folder: Path, ledger: Ledger, keys: Sequence[str], executor: Executor | None) -> Likeness:
    """Averaged vectors and groups of structures.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's; what is computed is kept there.
    ledger : Ledger
    keys : sequence of str
        Of structures.
    executor : Executor, optional
        Where SOAP vectors are computed; without one, only what is kept is given.

    Raises
    ------
    SearchFailed
        If a worker did not answer.
    """
    kept = _read(folder / CACHE)
    wanted = list(dict.fromkeys(keys))
    missing = [key for key in wanted if key not in kept.vectors]
    if executor is not None and wanted and (missing or any(key not in kept.groups for key in wanted)):
        settings = _settings(ledger)
        kept.vectors |= _mean_vectors(missing, ledger, settings, executor)
        described = {key: kept.vectors[key] for key in wanted if key in kept.vectors}
        kept.groups = dict.fromkeys(wanted, NO_GROUP) | _groups(described, ledger, settings, executor)
        _write(folder / CACHE, kept)
    return Likeness(
        {key: kept.vectors[key] for key in wanted if key in kept.vectors},
        {key: kept.groups[key] for key in wanted if kept.groups.get(key, NO_GROUP) != NO_GROUP},
    )


def principal_axes(vectors: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Coordinates on the two axes of largest variance, by key; signs are such that the largest loading is positive."""
    if len(vectors) < 3:
        return {}
    rows = np.array(list(vectors.values()), dtype=float)
    rows -= rows.mean(axis=0)
    n_features = rows.shape[1]
    if n_features < len(rows):
        _, axes = eigh(rows.T @ rows, subset_by_index=[max(0, n_features - 2), n_features - 1])
        axes = axes.T[::-1]
    else:
        axes = np.linalg.svd(rows, full_matrices=False)[2][:2]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    return {key: (float(x), float(y)) for key, (x, y) in zip(vectors, rows @ axes.T, strict=True)}


def most_different(vectors: np.ndarray, n: int) -> np.ndarray:
    """Indices (n,) of rows, each the farthest from those before it; the first is row 0."""
    rows = np.asarray(vectors, dtype=float)
    chosen = [0]
    nearest = np.linalg.norm(rows - rows[0], axis=1)
    while len(chosen) < min(n, len(rows)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(rows - rows[chosen[-1]], axis=1))
    return np.array(chosen)


def groups_of_kernel(kernel: np.ndarray, distance: float = GROUP_DISTANCE) -> np.ndarray:
    """Group (n,) of each structure by average linkage on √(2(1 − k)), counted from 1.

    Parameters
    ----------
    kernel : array, shape (n, n)
        Normalised.
    distance : float
        Groups whose members are farther apart on average stay apart.
    """
    if len(kernel) < 2:
        return np.ones(len(kernel), dtype=int)
    apart = np.sqrt(np.clip(1.0 - kernel - kernel.T + 1.0, 0.0, None))
    np.fill_diagonal(apart, 0.0)
    found: np.ndarray = fcluster(linkage(squareform(apart, checks=False), "average"), distance, "distance")
    return found


def _groups(
    vectors: Mapping[str, np.ndarray], ledger: Ledger, settings: SoapSettings, executor: Executor
) -> dict[str, int]:
    if not vectors:
        return {}
    keys, rows = list(vectors), np.array(list(vectors.values()), dtype=float)
    matched = most_different(rows, MOST_MATCHED)
    structures = [ledger.structure(keys[index]) for index in matched]
    kernel = _answer(executor, rematch_task, [_payload(structures, settings)])[0]["kernel"]
    usable = np.isfinite(kernel.diagonal())
    if not usable.any():
        return {}
    matched = matched[usable]
    of_matched = groups_of_kernel(kernel[np.ix_(usable, usable)])
    squares = (rows**2).sum(1)[:, None] + (rows[matched] ** 2).sum(1)[None] - 2.0 * rows @ rows[matched].T
    groups = of_matched[squares.argmin(axis=1)]
    groups[matched] = of_matched
    return dict(zip(keys, _by_size(groups), strict=True))


def _by_size(groups: np.ndarray) -> list[int]:
    """Renumbered: the largest group is 1, of equal ones the one that comes first."""
    names, first, counts = np.unique(groups, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    numbers = {int(names[place]): rank for rank, place in enumerate(order, start=1)}
    return [numbers[int(group)] for group in groups]


def _mean_vectors(
    keys: Sequence[str], ledger: Ledger, settings: SoapSettings, executor: Executor
) -> dict[str, np.ndarray]:
    chunks = [keys[i : i + CHUNK] for i in range(0, len(keys), CHUNK)]
    payloads = [_payload([ledger.structure(key) for key in chunk], settings) for chunk in chunks]
    answers = _answer(executor, mean_task, payloads)
    found = {k: m for c, answer in zip(chunks, answers, strict=True) for k, m in zip(c, answer["means"], strict=True)}
    return {key: mean for key, mean in found.items() if mean is not None}


def _payload(structures: Sequence[Atoms], settings: SoapSettings) -> dict[str, Any]:
    """The free atoms are what is described."""
    return describe_payload(structures, settings, [np.flatnonzero(a.get_tags() != 0).tolist() for a in structures])


def _answer(executor: Executor, task: Task, payloads: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    answers: dict[int, dict[str, Any]] = {}
    for outcome in executor.map(task, payloads):
        if outcome.result is None:
            raise SearchFailed(f"SOAP vectors could not be computed: {outcome.failure}, {outcome.message}")
        answers[outcome.index] = outcome.result
    return [answers[index] for index in range(len(payloads))]


def _settings(ledger: Ledger) -> SoapSettings:
    metal = ledger.fact("config", {}).get("material", {}).get("metal", "Ru")
    return SoapSettings(species=("O", metal))


def map_axes(vectors: np.ndarray, seed: int = 0) -> tuple[np.ndarray, str]:
    """Places (n, 2) of vectors (n, n_features) on a map, and what its axes are: UMAP where installed, else PCA.

    McInnes, Healy & Melville, arXiv:1802.03426; PCA keeps distances as they are, UMAP neighbourhoods.
    """
    if importlib.util.find_spec("umap") is not None:
        import umap

        return np.asarray(umap.UMAP(random_state=seed, n_jobs=1).fit_transform(vectors)), "UMAP"
    found = principal_axes({str(row): vector for row, vector in enumerate(vectors)})
    return np.array([found[str(row)] for row in range(len(vectors))]), "principal component"


def _read(path: Path) -> Likeness:
    if not path.is_file():
        return Likeness()
    with np.load(path, allow_pickle=False) as data:
        keys = data["keys"].tolist()
        groups = dict(zip(data["grouped"].tolist(), data["groups"].tolist(), strict=True)) if "groups" in data else {}
        return Likeness(dict(zip(keys, data["vectors"], strict=True)), groups)


def _write(path: Path, kept: Likeness) -> None:
    with replacing(path) as draft, draft.open("wb") as stream:
        np.savez(
            stream,
            keys=np.array(list(kept.vectors)),
            vectors=np.array(list(kept.vectors.values()), dtype=np.float32),
            grouped=np.array(list(kept.groups)),
            groups=np.array(list(kept.groups.values()), dtype=int),
        )
