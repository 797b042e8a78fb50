"""What bounds discard and single precision hurries over is what looking at every pair exactly gives."""

import numpy as np
import pytest

from searcher.scoring.descriptors import LocalVectors, SoapSettings, local_vectors
from searcher.scoring.known_set import KnownSet
from searcher.scoring.novelty import pair_kappa
from searcher.structures.crystal import Crystal
from searcher.structures.templates import seed_structures


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


def known_set(known, *settings):
    pool = KnownSet(*settings)
    for identifier, vectors in known:
        pool.add(identifier, vectors, 0.0)
    return pool


def every_pair(known, queries):
    return np.array([[pair_kappa(query, vectors) for _, vectors in known] for query in queries])


@pytest.mark.parametrize("dimensions", [2, 12, 60])
@pytest.mark.parametrize("on_disk", [False, True])
def test_the_nearest_of_many_while_their_number_grows(tmp_path, dimensions, on_disk):
    rng = np.random.default_rng(dimensions)
    known = archive(rng, 400)
    queries = [vectors for _, vectors in archive(rng, 30)] + [known[5][1], known[6][1]]
    kappas = every_pair(known, queries)
    pool = KnownSet(tmp_path if on_disk else None, dimensions)
    for first, last in ((0, 3), (3, 90), (90, 100), (100, 300), (300, 301), (301, 400)):
        for identifier, vectors in known[first:last]:
            pool.add(identifier, vectors, 0.0)
        found = pool.nearest(queries)
        np.testing.assert_allclose([kappa for kappa, _ in found], kappas[:, :last].min(axis=1), atol=1e-9)
        assert [name for _, name in found] == [f"k{i}" for i in kappas[:, :last].argmin(axis=1)]


@pytest.mark.parametrize("dimensions", [2, 12, 60])
@pytest.mark.parametrize("threshold", [1e-3, 0.3, 0.6])
def test_which_pairs_are_alike(dimensions, threshold):
    rng = np.random.default_rng(7)
    known = archive(rng, 300)
    queries = [vectors for _, vectors in archive(rng, 40)] + [known[5][1], LocalVectors({}, {})]
    alike = every_pair(known, queries) <= threshold
    assert alike.any() and not alike.all()
    np.testing.assert_array_equal(known_set(known, None, dimensions).alike(queries, threshold), alike)


def test_real_terminations(build_slab):
    known = [
        (name, local_vectors(atoms, SoapSettings()))
        for facet in ("110", "100", "101")
        for name, atoms in seed_structures(Crystal(), facet, (2, 2)).items()
    ]
    queries = [local_vectors(build_slab(kind), SoapSettings()) for kind in ("ru", "br", "cus")]
    kappas = every_pair(known, queries)
    pool = known_set(known)
    assert [kappa for kappa, _ in pool.nearest(queries)] == pytest.approx(kappas.min(axis=1), abs=1e-6)
    np.testing.assert_array_equal(pool.alike(queries, 0.075), kappas <= 0.075)
    assert pool.nearest([known[3][1]])[0][0] < 1e-6


def test_most_of_an_archive_is_discarded_unseen():
    rng = np.random.default_rng(3)
    known = archive(rng, 3000)
    pool = known_set(known, None, 40)
    pool.nearest([known[10][1], known[20][1]])
    assert pool.n_exact < 600


def test_files_hold_the_vectors_in_the_place_of_memory(tmp_path):
    known = archive(np.random.default_rng(5), 1000)
    in_memory, on_disk = known_set(known, None, 4), known_set(known, tmp_path, 4)
    for pool in (in_memory, on_disk):
        pool.nearest([known[0][1]])
    assert on_disk.resident_bytes < 0.2 * in_memory.resident_bytes


def test_a_missing_species_and_a_query_without_atoms():
    rng = np.random.default_rng(4)
    known = [one for one in archive(rng, 30) if "Ru" not in one[1].vectors]
    only_metal = LocalVectors({"Ru": rows(rng, 2, np.ones(60))}, {"Ru": np.arange(2)})
    (lonely, _), (empty, _) = known_set(known).nearest([only_metal, LocalVectors({}, {})])
    assert lonely == pytest.approx(np.sqrt(2.0)) and empty == 0.0
