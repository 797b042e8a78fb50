"""A map on which similar terminations lie together: averaged SOAP vectors of the free atoms on their principal axes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from searcher.campaign.executor import Executor
from searcher.campaign.fingerprints import Fingerprints
from searcher.campaign.ledger import Ledger
from searcher.files import replacing
from searcher.scoring.descriptors import SoapSettings, mean_vector

CACHE = "soap_map.npz"
"""file in a campaign's folder: averaged vectors by structure key"""


def mean_vectors(folder: Path, ledger: Ledger, keys: Sequence[str], executor: Executor | None) -> dict[str, np.ndarray]:
    """Averaged vector of each structure's free atoms.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's; what is computed is kept there.
    ledger : Ledger
    keys : sequence of str
        Of structures.
    executor : Executor, optional
        Where SOAP vectors are computed; without one, only what is kept is given.

    Returns
    -------
    dict of str to numpy.ndarray
        By key, float32.
    """
    kept = _read(folder / CACHE)
    missing = [key for key in dict.fromkeys(keys) if key not in kept]
    if executor is not None and missing:
        metal = ledger.fact("config", {}).get("material", {}).get("metal", "Ru")
        settings = SoapSettings(species=("O", metal))
        structures = {key: ledger.structure(key) for key in missing}
        for key, vectors in Fingerprints(executor, settings).of(structures).items():
            if vectors is not None:
                free = np.flatnonzero(structures[key].get_tags() != 0)
                kept[key] = mean_vector(vectors.subset(free), settings)
        _write(folder / CACHE, kept)
    return {key: kept[key] for key in keys if key in kept}


def principal_axes(vectors: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Coordinates on the two axes of largest variance, by key; signs are such that the largest loading is positive."""
    if len(vectors) < 3:
        return {}
    rows = np.array(list(vectors.values()), dtype=float)
    rows -= rows.mean(axis=0)
    _, _, axes = np.linalg.svd(rows, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    return {key: (float(x), float(y)) for key, (x, y) in zip(vectors, rows @ axes.T, strict=True)}


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as data:
        return dict(zip(data["keys"].tolist(), data["vectors"], strict=True))


def _write(path: Path, kept: Mapping[str, np.ndarray]) -> None:
    with replacing(path) as draft, draft.open("wb") as stream:
        np.savez(stream, keys=np.array(list(kept)), vectors=np.array(list(kept.values()), dtype=np.float32))
