"""Moves of known terminations: counts change as the kind of move says, and frozen atoms never move."""

import numpy as np
import pytest

from generators.moved_terminations import NO_SITE, MovedTerminations, MoveSettings
from generators.proposal import TrainingRecord
from searcher.structures.crystal import Crystal
from searcher.structures.templates import build_template, seed_structures

DISTANCES = {"O-O": 2.2, "O-Ru": 1.6, "Ru-Ru": 2.3}
TEMPLATE = build_template(Crystal(), "110", (1, 2))
STOICHIOMETRIC = seed_structures(Crystal(), "110", (1, 2))["110-stoichiometric"]
COUNTS = {"Ru": (4, 4), "O": (6, 12)}
N_OXYGEN = 8


def moved(settings: MoveSettings, n: int = 40, counts=COUNTS, seed: int = 0):
    source = MovedTerminations(TEMPLATE, counts, DISTANCES, settings)
    numbers, positions = TEMPLATE.free_part(STOICHIOMETRIC)
    source.fit([TrainingRecord(numbers, positions, {})], np.random.default_rng(0))
    return source.sample(n, {"asked": 1}, np.random.default_rng(seed))


def oxygen_counts(proposals) -> set[int]:
    return {int(np.count_nonzero(p.numbers == 8)) for p in proposals if p.reason is None}


@pytest.mark.parametrize("kind", ["delocalized", "cartesian"])
def test_displacements_keep_the_composition_and_move_no_atom_further_than_step_and_push(kind):
    settings = MoveSettings(moves=kind, step_length=0.5, oxygen_probability=0.0, relocation_probability=0.0)
    _, start = TEMPLATE.free_part(STOICHIOMETRIC)
    for proposal in moved(settings):
        assert proposal.condition == {"asked": 1}
        assert int(np.count_nonzero(proposal.numbers == 8)) == N_OXYGEN
        # a component moves by the step at most, and a push by LARGEST_SHIFT = 0.35 Å
        assert np.abs(proposal.positions - start).max() <= 0.5 + 0.35 + 1e-9


def test_oxygen_is_inserted_and_removed_one_at_a_time():
    settings = MoveSettings(oxygen_probability=1.0, relocation_probability=0.0)
    assert oxygen_counts(moved(settings)) == {N_OXYGEN - 1, N_OXYGEN + 1}


def test_counts_never_leave_their_range():
    settings = MoveSettings(oxygen_probability=1.0, relocation_probability=0.0)
    assert oxygen_counts(moved(settings, counts={"Ru": (4, 4), "O": (8, 9)})) == {9}
    assert oxygen_counts(moved(settings, counts={"Ru": (4, 4), "O": (8, 8)})) == {8}


def test_relocation_moves_one_oxygen_and_leaves_the_others():
    settings = MoveSettings(oxygen_probability=0.0, relocation_probability=1.0)
    _, start = TEMPLATE.free_part(STOICHIOMETRIC)
    placed = [p for p in moved(settings) if p.reason is None]
    assert placed and oxygen_counts(placed) == {N_OXYGEN}
    for proposal in placed:
        kept = sum(np.linalg.norm(start - position, axis=1).min() < 1e-9 for position in proposal.positions)
        assert kept >= len(start) - 1


def test_no_room_is_told():
    settings = MoveSettings(oxygen_probability=1.0, relocation_probability=0.0)
    crowded = MovedTerminations(TEMPLATE, COUNTS, {**DISTANCES, "O-O": 8.0}, settings)
    numbers, positions = TEMPLATE.free_part(STOICHIOMETRIC)
    crowded.fit([TrainingRecord(numbers, positions, {})], np.random.default_rng(0))
    assert NO_SITE in {p.reason for p in crowded.sample(20, {}, np.random.default_rng(1))}


def test_equal_seeds_give_equal_proposals():
    one, two = moved(MoveSettings(), seed=3), moved(MoveSettings(), seed=3)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(one, two, strict=True))


def test_parents_are_drawn_by_weight():
    source = MovedTerminations(
        TEMPLATE, COUNTS, DISTANCES, MoveSettings(step_length=0.01, oxygen_probability=0.0, relocation_probability=0.0)
    )
    numbers, positions = TEMPLATE.free_part(STOICHIOMETRIC)
    raised = positions + np.array([0.0, 0.0, 0.2])
    records = [TrainingRecord(numbers, positions, {}, 1.0), TrainingRecord(numbers, raised, {}, 3.0)]
    source.fit(records, np.random.default_rng(0))
    found = source.sample(400, {}, np.random.default_rng(2))
    share = np.mean([p.positions[:, 2].mean() > positions[:, 2].mean() + 0.1 for p in found])
    assert share == pytest.approx(0.75, abs=0.09)  # four standard deviations of a binomial of 400


def test_nothing_to_move_is_refused():
    source = MovedTerminations(TEMPLATE, COUNTS, DISTANCES)
    with pytest.raises(ValueError, match="0 terminations"):
        source.fit([], np.random.default_rng(0))
    with pytest.raises(ValueError, match="`moves` is 'up'"):
        MoveSettings(moves="up")
    with pytest.raises(ValueError, match="exceed 1 together"):
        MoveSettings(oxygen_probability=0.7, relocation_probability=0.7)
