"""Laws of the moves: the step's length, what may not move, B as a derivative, oxygen where it can bind."""

import numpy as np
import pytest
from ase.data import covalent_radii
from ase.neighborlist import primitive_neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from generators.moves import (
    BOND_REACH,
    MoveError,
    cartesian_move,
    delocalized_modes,
    delocalized_move,
    find_bonds,
    insert_oxygen,
    relocate_oxygen,
    remove_oxygen,
    stretch_matrix,
)

RU, O = 44, 8  # noqa: E741
LENGTHS = np.array([6.36, 3.10, 18.0])  # Å; the lateral cell of RuO2(110), shorter than the reach of a bond
NUMBERS = np.array([RU, RU, O, O, RU, RU, O, O, O])
POSITIONS = np.array(
    [
        [0.0, 0.0, 2.0],
        [3.18, 1.55, 2.0],
        [1.27, 0.0, 3.3],
        [5.09, 0.0, 3.2],
        [0.0, 1.55, 5.2],
        [3.18, 0.0, 5.2],
        [1.9, 1.55, 5.3],
        [4.4, 1.55, 5.1],
        [3.18, 1.55, 6.5],
    ]
)
MOVING = np.arange(4, 9)


def lengths_of(bonds, shift):
    """Bond lengths after a displacement (n_atoms, 3), the images staying the same."""
    return np.linalg.norm(bonds.vectors + shift[bonds.second] - shift[bonds.first], axis=1)


def test_stretch_matrix_is_the_derivative_of_the_bond_lengths():
    bonds = find_bonds(NUMBERS, POSITIONS, LENGTHS)
    matrix = stretch_matrix(bonds, MOVING, len(NUMBERS))
    shift = np.zeros_like(POSITIONS)
    epsilon = 1e-5  # Å; the error of a central difference, ε²/q², is then 1e-10
    for column in range(matrix.shape[1]):
        atom, axis = MOVING[column // 3], column % 3
        shift[atom, axis] = epsilon
        slope = (lengths_of(bonds, shift) - lengths_of(bonds, -shift)) / (2 * epsilon)
        shift[atom, axis] = 0.0
        np.testing.assert_allclose(matrix[:, column], slope, atol=1e-8)  # round-off of 1e-15/ε and a margin


def test_bonds_reach_over_the_cell_and_count_every_image():
    bonds = find_bonds(np.array([RU, O]), np.array([[0.0, 0.0, 5.0], [0.0, 0.1, 6.5]]), LENGTHS)
    reach = 1.46 + 0.66 + BOND_REACH  # Å; covalent radii of Ru and O (Cordero et al. 2008)
    images = [np.hypot(1.5, 0.1 + n * LENGTHS[1]) for n in range(-3, 4)]
    expected = sorted(d for d in images if d < reach)
    np.testing.assert_allclose(sorted(np.linalg.norm(bonds.vectors, axis=1)), expected, atol=1e-9)
    assert len(expected) > 1


@given(st.integers(0, 10_000), st.floats(2.5, 12.0), st.floats(2.5, 12.0))
def test_bonds_are_those_of_ases_list(seed, x, y):
    rng = np.random.default_rng(seed)
    lengths = np.array([x, y, 18.0])
    numbers = rng.choice([RU, O], 9)
    positions = rng.uniform(-0.5, 1.5, (9, 3)) * lengths  # not all inside of the cell
    bonds = find_bonds(numbers, positions, lengths)
    radii = covalent_radii[numbers] + BOND_REACH / 2
    first, second, vectors = primitive_neighbor_list("ijD", (True, True, False), np.diag(lengths), positions, radii)
    once = first < second
    rows = [
        sorted(np.column_stack([i, j, np.round(v, 6) + 0.0]).tolist())
        for i, j, v in ((bonds.first, bonds.second, bonds.vectors), (first[once], second[once], vectors[once]))
    ]
    assert rows[0] == rows[1]


def test_rows_are_unit_vectors_that_sum_to_zero_if_both_atoms_move():
    bonds = find_bonds(NUMBERS, POSITIONS, LENGTHS)
    rows = stretch_matrix(bonds, np.arange(len(NUMBERS)), len(NUMBERS)).reshape(len(bonds.first), -1, 3)
    np.testing.assert_allclose(rows.sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose((rows**2).sum(axis=(1, 2)), 2.0, atol=1e-12)


def test_modes_have_a_largest_component_of_one_and_leave_rigid_shifts_out():
    everything = np.arange(len(NUMBERS))
    modes = delocalized_modes(stretch_matrix(find_bonds(NUMBERS, POSITIONS, LENGTHS), everything, len(NUMBERS)))
    np.testing.assert_allclose(np.abs(modes).max(axis=1), 1.0, atol=1e-12)
    assert len(modes) == 3 * len(NUMBERS) - 3  # three rigid shifts change no bond
    np.testing.assert_allclose(modes.reshape(len(modes), -1, 3).sum(axis=1), 0.0, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["delocalized", "cartesian"])
def test_largest_component_is_the_step_and_nothing_else_moves(kind, seed):
    rng = np.random.default_rng(seed)
    if kind == "delocalized":
        moved = delocalized_move(NUMBERS, POSITIONS, LENGTHS, MOVING, rng, step=1.2)
    else:
        moved = cartesian_move(POSITIONS, MOVING, rng, step=1.2)
    shift = moved - POSITIONS
    assert np.abs(shift[MOVING]).max() == pytest.approx(1.2, abs=1e-12)
    assert not np.any(shift[:4])


def test_a_delocalized_move_lies_in_the_span_of_a_quarter_of_the_modes():
    modes = delocalized_modes(stretch_matrix(find_bonds(NUMBERS, POSITIONS, LENGTHS), MOVING, len(NUMBERS)))
    modes = modes / np.linalg.norm(modes, axis=1)[:, None]
    moved = delocalized_move(NUMBERS, POSITIONS, LENGTHS, MOVING, np.random.default_rng(3), fraction=0.25)
    shares = modes @ (moved - POSITIONS)[MOVING].reshape(-1)  # eigenvectors are orthogonal
    assert np.count_nonzero(np.abs(shares) > 1e-9) == round(0.25 * len(modes))


def test_equal_generators_give_equal_moves():
    one, two = (delocalized_move(NUMBERS, POSITIONS, LENGTHS, MOVING, np.random.default_rng(7)) for _ in range(2))
    assert (one == two).all()


@pytest.mark.parametrize("seed", range(5))
def test_inserted_oxygen_can_bind_and_keeps_its_distance(seed):
    numbers, positions = insert_oxygen(NUMBERS, POSITIONS, LENGTHS, (4.5, 8.0), np.random.default_rng(seed))
    assert numbers[-1] == O and (numbers[:-1] == NUMBERS).all() and (positions[:-1] == POSITIONS).all()
    offsets = positions[:-1] - positions[-1]
    offsets[:, :2] -= LENGTHS[:2] * np.round(offsets[:, :2] / LENGTHS[:2])
    distances = np.linalg.norm(offsets, axis=1)
    assert distances[NUMBERS == O].min() >= 2.2
    assert 1.6 <= distances[NUMBERS == RU].min() <= 2.4
    assert 4.5 <= positions[-1, 2] <= 8.0


def test_oxygen_without_room_is_told():
    assert insert_oxygen(NUMBERS, POSITIONS, LENGTHS, (12.0, 14.0), np.random.default_rng(0)) is None


@pytest.mark.parametrize("seed", range(5))
def test_relocated_oxygen_stands_elsewhere_and_nothing_else_changes(seed):
    for _ in range(100):
        found = relocate_oxygen(
            NUMBERS, POSITIONS, LENGTHS, MOVING, (4.0, 8.0), np.random.default_rng(seed), o_o_min=2.0, least=1.5
        )
        if found is not None:
            break
        seed += 100
    numbers, positions = found
    assert sorted(numbers) == sorted(NUMBERS)
    stayed = [row for row in range(len(NUMBERS)) if np.any(np.all(POSITIONS[row] == positions, axis=1))]
    (gone,) = set(range(len(NUMBERS))) - set(stayed)
    assert NUMBERS[gone] == O and gone in MOVING
    way = positions[-1] - POSITIONS[gone]
    way[:2] -= LENGTHS[:2] * np.round(way[:2] / LENGTHS[:2])
    assert np.linalg.norm(way) >= 1.5


def test_only_removable_oxygen_goes():
    rng = np.random.default_rng(0)
    for _ in range(20):
        numbers, positions = remove_oxygen(NUMBERS, POSITIONS, MOVING, rng)
        assert (numbers == RU).sum() == 4 and (numbers == O).sum() == 4
        assert (positions[:4] == POSITIONS[:4]).all()
    assert remove_oxygen(NUMBERS, POSITIONS, np.array([4, 5]), rng) is None


def test_impossible_arguments_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(MoveError, match="`moving` is empty"):
        cartesian_move(POSITIONS, np.array([]), rng)
    with pytest.raises(MoveError, match="`step` is 0"):
        delocalized_move(NUMBERS, POSITIONS, LENGTHS, MOVING, rng, step=0.0)
    with pytest.raises(MoveError, match=r"`fraction` is 1\.5"):
        delocalized_move(NUMBERS, POSITIONS, LENGTHS, MOVING, rng, fraction=1.5)
    with pytest.raises(MoveError, match="in one place"):
        delocalized_move(np.array([RU, O]), np.zeros((2, 3)), LENGTHS, np.array([1]), rng)
    with pytest.raises(MoveError, match="without any bond"):
        delocalized_move(np.array([RU]), np.zeros((1, 3)), LENGTHS, np.array([0]), rng)
