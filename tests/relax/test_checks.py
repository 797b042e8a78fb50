"""Every reason code for a structure that must not reach a potential, and for an answer not to believe."""

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from relax_structures import distorted_slab

from relax.checks import CheckLimits, check_input, check_output, overlapping


def _move(atoms: Atoms, to: object) -> None:
    atoms.positions[-1] = to


def _shrink(atoms: Atoms) -> None:
    atoms.set_cell([2.1, 2.1, 4.0])


FAULTS: list[tuple[str, Callable[[Atoms], object]]] = [
    ("not_finite", lambda atoms: _move(atoms, np.nan)),
    ("overlap", lambda atoms: _move(atoms, atoms.positions[0] + 0.1)),
    ("outside_cell", lambda atoms: _move(atoms, [0, 0, 500.0])),
    ("bad_cell", lambda atoms: atoms.set_cell([0.0, 3.0, 20.0])),
    ("bad_cell", lambda atoms: atoms.set_cell([1e6, 3.0, 20.0])),
    ("too_dense", _shrink),
    ("unknown_species", lambda atoms: atoms.numbers.__setitem__(0, 77)),
]


@pytest.mark.fault(10, "atoms at NaN, unknown elements and others", "refused before the call, with a reason")
@pytest.mark.parametrize(("reason", "spoil"), FAULTS)
def test_a_spoiled_structure_has_its_reason(reason: str, spoil: Callable[[Atoms], object]) -> None:
    atoms = distorted_slab(seed=1, width=0.05)
    assert check_input(atoms, ("O", "Ru")) is None
    spoil(atoms)
    assert check_input(atoms, ("O", "Ru")) == reason


def test_overlap_is_seen_across_the_lateral_boundary() -> None:
    atoms = Atoms("O2", positions=[[0.1, 2, 5], [3.9, 2, 5]], cell=[4, 4, 12], pbc=(True, True, False))
    assert check_input(atoms) == "overlap"


def test_an_empty_structure_has_its_reason() -> None:
    assert check_input(Atoms(cell=[5, 5, 5])) == "empty"


def test_answers_are_believed_only_if_finite_and_bounded() -> None:
    calm = np.zeros((2, 3))
    assert check_output(-1.0, calm) is None
    assert check_output(np.nan, calm) == "energy_not_finite"
    assert check_output(-1.0, calm + np.inf) == "force_too_large"
    assert check_output(-1.0, calm + 1e4) == "force_too_large"


@pytest.mark.parametrize("seed", range(20))
def test_overlaps_are_those_of_a_neighbour_list(seed: int) -> None:
    rng = np.random.default_rng(seed)
    limits = CheckLimits(overlap={"O-O": 0.8, "O-Ru": 1.0, "Ru-Ru": 1.5}, overlap_otherwise=0.8)
    atoms = Atoms("RuO2" * 4, rng.uniform(-3, 9, (12, 3)), cell=[3.1, 6.4, 12.0], pbc=(True, True, False))
    if seed % 2:
        atoms.set_cell([[3.1, 0, 0], [0.8, 6.4, 0], [0, 0, 12.0]])  # not orthorhombic: the other way to count
    first, second, distances = neighbor_list("ijd", atoms, 1.5)
    floors = {(8, 8): 0.8, (8, 44): 1.0, (44, 8): 1.0, (44, 44): 1.5}
    wanted = any(
        d < floors[atoms.numbers[i], atoms.numbers[j]] for i, j, d in zip(first, second, distances, strict=True)
    )
    assert overlapping(atoms, limits) == wanted
