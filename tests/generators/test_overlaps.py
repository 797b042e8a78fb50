"""Pushing apart mends small overlaps and leaves everything else alone."""

import numpy as np
import pytest
from gan_setting import template

from generators.overlaps import LARGEST_SHIFT, MARGIN, DistanceTable, push_apart

LEAST = DistanceTable({"O-O": 2.2, "O-Ru": 1.6, "Ru-Ru": 2.3})


def distance(positions, i, j):
    offset = positions[i] - positions[j]
    offset[:2] -= 4.0 * np.round(offset[:2] / 4.0)
    return np.linalg.norm(offset)


def test_a_pair_is_moved_apart_symmetrically_and_no_further_than_needed():
    positions = np.array([[1.0, 1.0, 3.0], [1.0, 3.0, 3.0]])
    moved = push_apart(np.array([8, 8]), positions, template(), LEAST)
    # across the cell of 4 Å the images of the two are 2.0 Å apart as well, so nothing can be gained along y
    np.testing.assert_array_equal(moved, positions)
    positions = np.array([[1.0, 1.0, 2.5], [1.0, 1.0, 4.6]])
    moved = push_apart(np.array([8, 8]), positions, template(), LEAST)
    assert distance(moved, 0, 1) == pytest.approx(2.2 + MARGIN)
    np.testing.assert_allclose(moved.mean(axis=0), positions.mean(axis=0))


def test_pairs_count_across_the_cells_edge():
    positions = np.array([[0.1, 2.0, 3.0], [2.2, 2.0, 3.0]])  # 2.1 Å one way, 1.9 Å the other
    moved = push_apart(np.array([44, 8]), positions, template(), DistanceTable({"Ru-O": 1.95}))
    assert distance(moved, 0, 1) >= 1.95


def test_frozen_atoms_stay_and_the_free_one_takes_the_whole_way():
    positions = np.array([[0.0, 0.0, 2.45]])  # above the frozen Ru at z = 1
    moved = push_apart(np.array([8]), positions, template(), LEAST)
    np.testing.assert_allclose(moved, [[0.0, 0.0, 2.6 + MARGIN]])


def test_what_is_far_enough_stays_to_the_bit():
    positions = np.array([[1.0, 1.0, 3.0], [3.0, 3.0, 3.5]])
    np.testing.assert_array_equal(push_apart(np.array([8, 44]), positions, template(), LEAST), positions)


def test_an_atom_that_would_have_to_move_far_stays_where_it_is():
    positions = np.array([[1.0, 1.0, 3.0], [1.0, 1.0, 3.0 + 2.2 - 2.5 * LARGEST_SHIFT]])
    np.testing.assert_array_equal(push_apart(np.array([8, 8]), positions, template(), LEAST), positions)


def test_nothing_to_push():
    assert push_apart(np.empty(0, dtype=int), np.empty((0, 3)), template(), LEAST).shape == (0, 3)
