"""The index for large archives gives what looking at everything gives."""

import numpy as np
import pytest

from searcher.scoring.archive_index import ArchiveIndex
from searcher.scoring.descriptors import LocalVectors, SoapSettings, local_vectors
from searcher.scoring.novelty import KnownSet
from searcher.structures.crystal import Crystal
from searcher.structures.templates import seed_structures

# κ is the root of a difference of single precision numbers, summed in another order here
ROUND_OFF = 1.5e-3


def rows(rng, n, centre):
    values = np.abs(centre + rng.normal(0, 0.25, (n, centre.shape[-1])))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def archive(rng, n_known, n_features=60):
    """Structures around a few centres, some without metal."""
    centres = rng.random((6, n_features))
    known = []
    for number in range(n_known):
        parts = {"O": rows(rng, int(rng.integers(1, 9)), centres[number % 6])}
        if number % 7:
            parts["Ru"] = rows(rng, int(rng.integers(1, 5)), centres[(number + 1) % 6])
        known.append((f"k{number}", LocalVectors(parts, {s: np.arange(len(v)) for s, v in parts.items()})))
    return known


def brute_force(known, queries):
    pool = KnownSet()
    for identifier, vectors in known:
        pool.add(identifier, vectors, 0.0)
    return pool.nearest(queries)


@pytest.mark.parametrize("dimensions", [2, 12, 60])
@pytest.mark.parametrize("on_disk", [False, True])
def test_equal_to_brute_force(tmp_path, dimensions, on_disk):
    rng = np.random.default_rng(dimensions)
    known = archive(rng, 400)
    queries = [vectors for _, vectors in archive(rng, 30)] + [known[5][1], known[6][1]]
    index = ArchiveIndex(known, tmp_path if on_disk else None, dimensions)
    for found, (kappa, identifier) in zip(index.nearest(queries), brute_force(known, queries), strict=True):
        assert found.kappa == pytest.approx(kappa, abs=ROUND_OFF)
        assert found.id == identifier


def test_real_terminations(build_slab):
    known = [
        (name, local_vectors(atoms, SoapSettings()))
        for facet in ("110", "100", "101")
        for name, atoms in seed_structures(Crystal(), facet, (1, 1)).items()
    ]
    queries = [local_vectors(build_slab(kind), SoapSettings()) for kind in ("ru", "br", "cus")]
    index = ArchiveIndex(known)
    for found, (kappa, identifier) in zip(index.nearest(queries), brute_force(known, queries), strict=True):
        assert found.kappa == pytest.approx(kappa, abs=ROUND_OFF) and found.id == identifier


def test_most_of_an_archive_is_discarded_unseen():
    rng = np.random.default_rng(3)
    known = archive(rng, 3000)
    queries = [known[10][1], known[20][1]]
    for found in ArchiveIndex(known, dimensions=40).nearest(queries):
        assert found.n_exact < 600


def test_a_missing_species_and_a_query_without_atoms():
    rng = np.random.default_rng(4)
    known = [one for one in archive(rng, 30) if "Ru" not in one[1].vectors]
    only_metal = LocalVectors({"Ru": rows(rng, 2, np.ones(60))}, {"Ru": np.arange(2)})
    index = ArchiveIndex(known)
    lonely, empty = index.nearest([only_metal, LocalVectors({}, {})])
    assert lonely.kappa == pytest.approx(np.sqrt(2.0)) and empty.kappa == 0.0


def test_what_cannot_be_an_archive_is_refused():
    with pytest.raises(ValueError, match="empty"):
        ArchiveIndex([])
    one = archive(np.random.default_rng(0), 1)[0]
    with pytest.raises(ValueError, match="twice"):
        ArchiveIndex([one, one])
    with pytest.raises(ValueError, match="no atom"):
        ArchiveIndex([("x", LocalVectors({}, {}))])
