"""The set of structures to label: reproducible, varied, and such that a learned labeller can judge most of it."""

from collections import Counter

import numpy as np
import pytest

from relax.labelling.limits import LabelLimits, too_close
from relax.labelling.tasks import task_key
from searcher.errors import InputError
from searcher.potential_release import part_of
from searcher.structures.crystal import Crystal, orient
from searcher.structures.distorted_slabs import random_insertion
from searcher.structures.faces import symmetric_slabs
from searcher.structures.potential_set import SetSizes, build_potential_set

SMALL = SetSizes(bulk=6, bulk_hot=1, metal=4, slab=20, slab_hot=2, wild_slab=2, insertions=2, other_insertions=1)


def test_equal_seeds_give_equal_tasks_and_every_kind_is_there() -> None:
    one, two, other = (build_potential_set(seed, Crystal(), SMALL) for seed in (1, 1, 2))
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first.positions, second.positions)
        assert first.info == second.info
    assert any(len(a) != len(b) or np.any(a.positions != b.positions) for a, b in zip(one, other, strict=True))
    kinds = Counter(atoms.info["config_type"] for atoms in one)
    assert kinds.keys() == {"isolated_atom", "dimer", "molecule", "bulk", "metal", "slab", "insertion"}
    facets = {atoms.info["family"].split("-")[1] for atoms in one if atoms.info["family"].startswith("slab-1")}
    assert facets >= {"100", "101", "110", "111"}
    labellable = [too_close(atoms, LabelLimits()) is None for atoms in one if atoms.info["config_type"] != "dimer"]
    # rattling and adatoms bring a few atoms too close; if more than a quarter were lost, the set would be too wild
    assert np.mean(labellable) > 0.75


def test_a_random_insertion_keeps_the_slab_frozen_and_the_metal_count() -> None:
    atoms = random_insertion(orient(Crystal(), "110"), np.random.default_rng(3))
    frozen = atoms.constraints[0].index
    assert len(frozen) == 24  # two trilayers of the (2×1) cell
    free = atoms[np.setdiff1d(np.arange(len(atoms)), frozen)]
    counts = Counter(free.get_chemical_symbols())
    assert counts["Ru"] == 4
    assert 4 <= counts["O"] <= 12
    assert free.positions[:, 2].min() > atoms.positions[frozen, 2].max()


def test_symmetric_slabs_have_the_composition_of_their_termination() -> None:
    excess = {"O-poor": -2, "stoichiometric": 0, "O-rich": 2}  # both faces of the (1×1) cell
    for name, slab in symmetric_slabs(Crystal()).items():
        counts = Counter(slab.get_chemical_symbols())
        assert counts["O"] - 2 * counts["Ru"] == excess[name]
        heights = slab.positions[:, 2] - slab.positions[:, 2].mean()
        np.testing.assert_allclose(np.sort(heights), np.sort(-heights), atol=1e-8)


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="negative"):
        build_potential_set(1, Crystal(), SetSizes(slab=-1))


def test_a_share_of_the_set_is_labelled_again_by_nobody_who_goes_on() -> None:
    keys = [
        {task_key(atoms, "m:C", {}) for atoms in build_potential_set(1, Crystal(), part_of(SMALL, share))}
        for share in (0.1, 0.5, 1.0)
    ]
    assert keys[0] < keys[1] < keys[2]
    for share in (0.0, -0.5, 1.01):
        with pytest.raises(InputError, match="`share`"):
            part_of(SMALL, share)
