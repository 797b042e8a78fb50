"""Every reason code for a structure that must not reach a potential, and for an answer not to believe."""

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from relax_structures import distorted_slab

from relax.checks import check_input, check_output


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
