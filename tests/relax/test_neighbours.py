"""The same pairs as by ASE's list, whatever the cell."""

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st

import relax.neighbours
from relax.neighbours import near_pairs


def table(first: np.ndarray, second: np.ndarray, vectors: np.ndarray, distances: np.ndarray) -> list[list[float]]:
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), distances, atol=1e-12)
    return sorted(np.column_stack([first, second, np.round(vectors, 6) + 0.0]).tolist())


@given(
    st.integers(0, 10_000),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.floats(0.0, 0.4),
    st.floats(0.8, 6.0),
)
def test_they_are_those_of_ases_list(seed: int, pbc: list[bool], skew: float, reach: float) -> None:
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(3.0, 9.0, 3)) + skew * rng.uniform(-3.0, 3.0, (3, 3)) * (1 - np.eye(3))
    atoms = Atoms("O6", positions=rng.uniform(-0.7, 1.7, (6, 3)) @ cell, cell=cell, pbc=pbc)
    assert table(*near_pairs(atoms, reach)) == table(*neighbor_list("ijDd", atoms, reach))


def test_an_isolated_molecule_needs_no_cell() -> None:
    first, second, vectors, _ = near_pairs(Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]]), 2.0)
    assert (first.tolist(), second.tolist()) == ([0, 1], [1, 0])
    np.testing.assert_allclose(vectors[:, 2], [1.1, -1.1])


def test_large_cells_are_left_to_ase(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = Atoms("O4", positions=np.random.default_rng(0).uniform(0, 4, (4, 3)), cell=[4, 4, 4], pbc=True)
    expected = table(*near_pairs(atoms, 3.0))
    monkeypatch.setattr(relax.neighbours, "LARGEST_DENSE", 0)
    assert table(*near_pairs(atoms, 3.0)) == expected
