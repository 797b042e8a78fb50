"""SOAP vectors by workers of which some die."""

import ase.build
import numpy as np
import pytest

from searcher.campaign.workers.executor import InlineExecutor, Outcome
from searcher.campaign.workers.fingerprints import CHUNK, Fingerprints
from searcher.errors import SearchFailed
from searcher.scoring.descriptors import SoapSettings

POISON_ATOMS = 3


class Mortal(InlineExecutor):
    """Dies of every payload with a structure of `POISON_ATOMS` atoms."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def map(self, function, payloads):
        self.asked += len(payloads)
        for index, payload in enumerate(payloads):
            if any(len(numbers) == POISON_ATOMS for numbers, *_ in payload["structures"]):
                yield Outcome(index, None, "worker_died", "the worker ended with code -11")
            else:
                yield Outcome(index, function(payload))


def structures():
    slabs = {f"s{i}": ase.build.fcc111("Ru", (1, 1, 1 + i % 2), a=3.8 + 0.01 * i, vacuum=6.0) for i in range(CHUNK + 4)}
    slabs["poison"] = ase.build.fcc111("Ru", (1, 1, POISON_ATOMS), a=3.8, vacuum=6.0)
    return slabs


def test_a_structure_that_kills_workers_is_set_aside_alone():
    executor = Mortal()
    found = Fingerprints(executor, SoapSettings()).of(structures(), poison=True)
    assert found.pop("poison") is None
    assert all(vectors is not None for vectors in found.values())
    assert executor.asked == 2 + 5  # two chunks, then those beside the poison one by one


def test_a_known_structure_without_vectors_ends_the_search():
    with pytest.raises(SearchFailed, match=r"`poison`.*worker_died"):
        Fingerprints(Mortal(), SoapSettings()).of(structures())


def test_free_atoms_alone_have_the_vectors_that_they_have_among_all():
    slabs, fingerprints = structures(), Fingerprints(Mortal(), SoapSettings())
    whole, free = fingerprints.of(slabs, poison=True), fingerprints.of_free(slabs, 1)
    assert "poison" not in free and set(free) == {key for key in slabs if key != "poison"}
    for key, vectors in free.items():
        expected = whole[key].subset(range(1, len(slabs[key])))
        assert set(vectors.vectors) == set(expected.vectors)
        assert all(np.array_equal(rows, expected.vectors[symbol]) for symbol, rows in vectors.vectors.items())
        assert all(np.array_equal(rows, expected.indices[symbol]) for symbol, rows in vectors.indices.items())
