"""κ: published figures for RuO2(110) and the laws it must keep."""

import numpy as np
import pytest

from searcher.scoring.descriptors import LocalVectors, SoapSettings, local_vectors
from searcher.scoring.known_set import KnownSet
from searcher.scoring.novelty import (
    Fingerprint,
    greedy_unique,
    pair_kappa,
    same_termination,
    same_termination_matrix,
)

SETTINGS = SoapSettings()
RELAXED_O_CUS = 1.70  # Å above its Ru
TABLE = 5e-3  # the published κ are given to this
ROUND_OFF = 3e-3  # 1 − k sums 680 products of single precision: off by 1e-6 or so, of which κ is the root of the double


def vectors(atoms):
    return local_vectors(atoms, SETTINGS)


def fingerprint(atoms):
    local = vectors(atoms)
    counts = atoms.symbols.formula.count()
    area = float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1])))
    return Fingerprint(local, local, (counts["O"] - 2 * counts["Ru"]) / area)


def half_o_cus(build_slab):
    slab = build_slab("cus", o_cus_height=RELAXED_O_CUS) * (2, 1, 1)
    del slab[[int(slab.positions[:, 2].argmax())]]
    return slab


def random_vectors(rng, n_oxygen, n_metal, n_features=24):
    # Around a common direction, as SOAP vectors are, so that κ takes values from 0 to 1.
    def rows(n):
        values = rng.random((n, n_features)) + 0.5
        return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)

    parts = {"O": n_oxygen, "Ru": n_metal}
    return LocalVectors(
        vectors={symbol: rows(n) for symbol, n in parts.items() if n},
        indices={symbol: np.arange(n) for symbol, n in parts.items() if n},
    )


def test_identical_structure_and_supercell_are_known(build_slab):
    slab = build_slab()
    known = vectors(slab)
    assert pair_kappa(known, known) == pytest.approx(0.0, abs=ROUND_OFF)
    assert pair_kappa(vectors(slab * (2, 1, 1)), known) == pytest.approx(0.0, abs=ROUND_OFF)
    assert pair_kappa(known, vectors(slab * (2, 1, 1))) == pytest.approx(0.0, abs=ROUND_OFF)


def test_lateral_translation_changes_nothing(build_slab):
    slab = build_slab()
    moved = slab.copy()
    moved.positions += [1.234, 0.77, 3.0]
    assert pair_kappa(vectors(moved), vectors(slab)) == pytest.approx(0.0, abs=ROUND_OFF)


@pytest.mark.parametrize(("raised_by", "expected"), [(0.1, 0.021), (0.2, 0.043)])
def test_raised_bridging_oxygen(build_slab, raised_by, expected):
    slab = build_slab()
    raised = slab.copy()
    raised.positions[raised.positions[:, 2].argmax(), 2] += raised_by
    assert pair_kappa(vectors(raised), vectors(slab)) == pytest.approx(expected, abs=TABLE)


@pytest.mark.parametrize(("standard_deviation", "expected"), [(0.03, 0.013), (0.05, 0.028), (0.10, 0.058)])
def test_noise_is_not_novel(build_slab, standard_deviation, expected):
    slab = build_slab()
    known = vectors(slab)
    kappas = []
    for seed in range(8):
        noisy = slab.copy()
        noisy.positions += np.random.default_rng(seed).normal(0.0, standard_deviation, (len(slab), 3))
        kappas.append(pair_kappa(vectors(noisy), known))
    # A worst atom's distance varies by a third from draw to draw, and the table states one draw.
    assert min(kappas) - TABLE <= expected <= max(kappas) + TABLE
    assert np.median(kappas) == pytest.approx(expected, rel=0.35)


def test_other_terminations_are_novel(build_slab):
    known = vectors(build_slab())
    o_cus = build_slab("cus", o_cus_height=RELAXED_O_CUS)
    assert pair_kappa(vectors(half_o_cus(build_slab)), known) == pytest.approx(0.152, abs=TABLE)
    assert pair_kappa(vectors(o_cus), known) == pytest.approx(0.190, abs=TABLE)
    assert pair_kappa(vectors(build_slab("ru")), known) == pytest.approx(0.190, abs=TABLE)


def test_kappa_is_directional(build_slab):
    two_faces = build_slab("cus", o_cus_height=RELAXED_O_CUS)
    one_face = build_slab()
    # The slab with O_cus on one face only still has an O_br face, where everything of the O_br slab is found.
    assert pair_kappa(vectors(one_face), vectors(two_faces)) < 0.01
    assert pair_kappa(vectors(two_faces), vectors(one_face)) > 0.15
    assert not same_termination(fingerprint(one_face), fingerprint(two_faces))


def test_same_termination_needs_equal_excess(build_slab):
    slab = fingerprint(build_slab())
    assert same_termination(slab, fingerprint(build_slab() * (2, 1, 1)))
    richer = Fingerprint(slab.free, slab.whole, slab.excess_o_per_area + 0.02)
    assert not same_termination(slab, richer)
    assert same_termination_matrix([slab, richer, slab]).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]


def test_blocked_matrix_equals_pairs(monkeypatch):
    monkeypatch.setattr("searcher.scoring.known_set.KNOWN_ROWS", 50)
    monkeypatch.setattr("searcher.scoring.known_set.QUERY_ROWS", 11)
    rng = np.random.default_rng(3)
    structures = [random_vectors(rng, int(rng.integers(0, 9)), int(rng.integers(1, 6))) for _ in range(40)]
    queries = [random_vectors(rng, int(rng.integers(1, 7)), int(rng.integers(0, 4))) for _ in range(13)]
    known = KnownSet()
    for number, local in enumerate(structures):
        known.add(f"s{number}", local, 0.0)
    matrix = known.kappa_matrix(queries)
    expected = [[pair_kappa(query, local) for local in structures] for query in queries]
    np.testing.assert_allclose(matrix, expected, atol=ROUND_OFF)
    for query, row in zip(queries, matrix, strict=True):
        np.testing.assert_allclose(known.kappa_all(query), row, atol=ROUND_OFF)
        kappa, nearest = known.kappa(query)
        assert kappa == pytest.approx(float(row.min()), abs=ROUND_OFF)
        assert nearest == f"s{int(row.argmin())}"


def test_missing_species_has_nothing_in_common():
    rng = np.random.default_rng(0)
    known = KnownSet()
    known.add("oxygen only", random_vectors(rng, 4, 0), 0.0)
    assert known.kappa_all(random_vectors(rng, 2, 1))[0] == pytest.approx(np.sqrt(2.0))


def test_query_without_atoms_holds_nothing_new():
    known = KnownSet()
    known.add("a", random_vectors(np.random.default_rng(0), 4, 2), 0.0)
    assert known.kappa(LocalVectors({}, {})) == (0.0, "a")


def test_everything_is_novel_while_nothing_is_known():
    assert KnownSet().kappa(random_vectors(np.random.default_rng(0), 2, 1)) == (float("inf"), None)


def test_known_set_refuses_what_cannot_be_compared():
    rng = np.random.default_rng(0)
    known = KnownSet()
    known.add("a", random_vectors(rng, 4, 2), 0.0)
    with pytest.raises(ValueError, match="already known"):
        known.add("a", random_vectors(rng, 4, 2), 0.0)
    with pytest.raises(ValueError, match="other SOAP settings"):
        known.add("b", random_vectors(rng, 4, 2, n_features=10), 0.0)
    with pytest.raises(ValueError, match="no atom"):
        known.add("c", LocalVectors({}, {}), 0.0)
    assert known.ids == ("a",)
    assert "a" in known


def test_greedy_unique_keeps_the_first_of_each():
    rng = np.random.default_rng(1)
    first, second = random_vectors(rng, 4, 2), random_vectors(rng, 4, 2)
    assert greedy_unique([first, second, first, LocalVectors({}, {}), second]) == [0, 1]
    assert greedy_unique([second, first, first], excess_o_per_area=[0.0, 0.0, 0.1]) == [0, 1, 2]
    assert greedy_unique([]) == []


def test_restriction_to_free_atoms_ignores_the_frozen_part(build_slab):
    slab, other_bottom = build_slab(), build_slab(bottom="ru")
    whole = vectors(other_bottom)
    upper = np.flatnonzero(other_bottom.positions[:, 2] > other_bottom.positions[:, 2].mean())
    assert pair_kappa(whole, vectors(slab)) > 0.15
    # A changed bottom face six Å below leaves the upper half as it was.
    assert pair_kappa(whole.subset(upper), vectors(slab)) < 0.03
