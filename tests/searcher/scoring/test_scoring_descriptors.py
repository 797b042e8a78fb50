"""SOAP vectors: what reaches dscribe, and what comes back from a worker."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms

from searcher.scoring.descriptors import (
    SoapSettings,
    UndescribableStructure,
    collect_described,
    describe_payload,
    describe_task,
    local_vectors,
    mean_vector,
)

SETTINGS = SoapSettings()


def test_vectors_are_normalised_rows_by_species(build_slab):
    slab = build_slab()
    local = local_vectors(slab, SETTINGS)
    assert {symbol: rows.shape for symbol, rows in local.vectors.items()} == {"O": (16, 680), "Ru": (8, 680)}
    assert SETTINGS.n_features == 680
    for symbol, rows in local.vectors.items():
        assert rows.dtype == np.float32
        # Single precision of a sum of 680 squares.
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
        assert set(slab.symbols[local.indices[symbol]]) == {symbol}


def test_chosen_centers_equal_a_subset_of_all(build_slab):
    slab = build_slab()
    centers = [23, 5, 20]
    chosen = local_vectors(slab, SETTINGS, centers)
    subset = local_vectors(slab, SETTINGS).subset(centers)
    assert chosen.n_centers == subset.n_centers == 3
    for symbol in subset.vectors:
        order = np.argsort(chosen.indices[symbol])
        np.testing.assert_array_equal(chosen.indices[symbol][order], subset.indices[symbol])
        np.testing.assert_allclose(chosen.vectors[symbol][order], subset.vectors[symbol], atol=1e-6)


def test_no_centers_is_an_empty_description(build_slab):
    assert local_vectors(build_slab(), SETTINGS, []).n_centers == 0


def test_subset_refuses_what_was_not_described(build_slab):
    with pytest.raises(ValueError, match="only 1 were described"):
        local_vectors(build_slab(), SETTINGS, [0, 1]).subset([1, 2])


def test_species_order_does_not_matter():
    assert SoapSettings(species=("Ru", "O")) == SETTINGS


@pytest.mark.parametrize(
    "fields",
    [{"r_cut": 0.5}, {"n_max": 0}, {"l_max": -1}, {"sigma": 0.0}, {"species": ()}, {"species": ("O", "Xx")}],
)
def test_impossible_settings_are_refused(fields):
    with pytest.raises(ValueError, match="`"):
        SoapSettings(**fields)


def damaged(slab: Atoms, kind: str) -> Atoms:
    slab = slab.copy()
    if kind == "nan":
        slab.positions[3, 1] = np.nan
    elif kind == "infinite cell":
        slab.cell[0, 0] = np.inf
    elif kind == "flown away":
        slab.positions[3, 2] += 1e5
    elif kind == "foreign":
        slab.symbols[0] = "H"
    elif kind == "flat":
        slab.cell[0] *= 1e-3
    return slab


@pytest.mark.parametrize("kind", ["nan", "infinite cell", "flown away", "foreign", "flat"])
def test_what_would_end_the_process_is_refused_first(build_slab, kind):
    with pytest.raises(UndescribableStructure):
        local_vectors(damaged(build_slab(), kind), SETTINGS)


def test_task_survives_pickling_and_bad_neighbours(build_slab):
    slab = build_slab()
    structures = [slab, damaged(slab, "nan"), slab * (2, 1, 1)]
    payload = pickle.loads(pickle.dumps(describe_payload(structures, SETTINGS, [None, None, [0, 1]])))
    result = pickle.loads(pickle.dumps(describe_task(payload)))
    assert result["described"][1]["reason"] == "undescribable"
    whole, bad, part = collect_described(result)
    assert bad is None
    assert whole is not None and whole.n_centers == len(slab)
    assert part is not None and part.n_centers == 2
    np.testing.assert_array_equal(whole.vectors["O"], local_vectors(slab, SETTINGS).vectors["O"])


def test_mean_vector_is_the_same_for_a_supercell(build_slab):
    slab = build_slab()
    one = mean_vector(local_vectors(slab, SETTINGS), SETTINGS)
    two = mean_vector(local_vectors(slab * (2, 1, 1), SETTINGS), SETTINGS)
    assert one.shape == (2 * 680,)
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_mean_vector_of_a_missing_species_is_zero(build_slab):
    oxygen = mean_vector(local_vectors(build_slab(), SETTINGS, [0]), SETTINGS)
    assert np.count_nonzero(oxygen[680:]) == 0


def test_scoring_does_not_load_dscribe_before_it_describes():
    code = (
        "import sys, searcher.scoring.acceptance, searcher.scoring.descriptors, searcher.scoring.validity;"
        "sys.exit('dscribe' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
