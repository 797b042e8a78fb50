"""Random insertion keeps its distances, its window and the histogram it was given."""

from collections import Counter

import numpy as np
import pytest

from generators.proposal import TrainingRecord
from generators.random_placement import NO_ROOM, PlacementError, RandomPlacement
from generators.template import Template

DISTANCES = {"O-O": 2.2, "O-Ru": 1.6, "Ru-Ru": 2.3}
COUNTS = {"O": (4, 10), "Ru": (2, 4)}


def template(lateral: float = 6.4, height: float = 4.8) -> Template:
    """Four frozen oxygen atoms just below the window."""
    places = np.array([[x, y, 5.6] for x in (0.0, lateral / 2) for y in (0.0, lateral / 2)])
    return Template(
        facet="110",
        repeat=(1, 2),
        cell=np.array([lateral, lateral, 25.0]),
        frozen_numbers=np.full(4, 8),
        frozen_positions=places,
        free_floor=6.0,
        free_ceiling=6.0 + height,
        rotations=np.eye(3)[None],
        translations=np.zeros((1, 3)),
        gamma_bottom=0.0,
    )


def record(n_ru: int, n_o: int, weight: float = 1.0) -> TrainingRecord:
    numbers = np.array([44] * n_ru + [8] * n_o)
    return TrainingRecord(numbers, np.zeros((len(numbers), 3)), {}, weight)


def test_atoms_lie_in_the_window_above_their_distances():
    surface = template()
    proposals = RandomPlacement(surface, COUNTS, DISTANCES).sample(100, {"energy_class": 2}, np.random.default_rng(0))
    assert len(proposals) == 100
    placed = [proposal for proposal in proposals if proposal.reason is None]
    assert len(placed) >= 95
    for proposal in placed:
        assert proposal.condition == {"energy_class": 2}
        assert np.all(np.diff(proposal.numbers) <= 0)
        z = proposal.positions[:, 2]
        assert z.min() >= surface.free_floor and z.max() <= surface.free_ceiling
        for symbol, number in (("O", 8), ("Ru", 44)):
            fewest, most = COUNTS[symbol]
            assert fewest <= np.count_nonzero(proposal.numbers == number) <= most
        atoms = surface.assemble(proposal.numbers, proposal.positions)
        distances = atoms.get_all_distances(mic=True)
        for i in range(surface.n_frozen, len(atoms)):
            for j in range(i):
                pair = "-".join(sorted((atoms.symbols[i], atoms.symbols[j])))
                assert distances[i, j] >= DISTANCES[pair] - 1e-9


def test_the_same_generator_gives_the_same_structures():
    placement = RandomPlacement(template(), COUNTS, DISTANCES)
    first, second = (placement.sample(5, {}, np.random.default_rng(4)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)


def test_compositions_follow_the_weighted_histogram_within_the_ranges():
    placement = RandomPlacement(template(), COUNTS, DISTANCES)
    records = [record(4, 4), record(4, 6, weight=3.0), record(1, 6, weight=50.0), record(2, 30)]
    placement.fit(records, np.random.default_rng(0))
    proposals = placement.sample(400, {}, np.random.default_rng(1))
    drawn = Counter((int(np.sum(p.numbers == 44)), int(np.sum(p.numbers == 8))) for p in proposals if p.reason is None)
    assert set(drawn) == {(4, 4), (4, 6)}
    # binomial with p = 3/4: the standard deviation of the share is 0.022
    assert drawn[(4, 6)] / sum(drawn.values()) == pytest.approx(0.75, abs=0.08)


def test_compositions_are_uniform_before_a_fit():
    placement = RandomPlacement(template(), {"Ru": (1, 2), "O": (2, 3)}, DISTANCES)
    proposals = placement.sample(800, {}, np.random.default_rng(2))
    drawn = Counter((int(np.sum(p.numbers == 44)), int(np.sum(p.numbers == 8))) for p in proposals)
    assert set(drawn) == {(1, 2), (1, 3), (2, 2), (2, 3)}
    # standard deviation of each count is 12
    assert all(abs(count - 200) < 60 for count in drawn.values())


def test_kept_metal_stays_and_oxygen_keeps_its_distance_from_it():
    placement = RandomPlacement(template(), COUNTS, DISTANCES)
    metal = np.array([[0.0, 0.0, 7.4], [3.2, 3.2, 7.4], [0.0, 3.2, 9.0]])
    oxygen = np.array([[1.0, 1.0, 8.0]])
    placement.keep_metal([TrainingRecord(np.array([8, 44, 44, 44]), np.concatenate([oxygen, metal]), {})])
    proposals = placement.sample(50, {}, np.random.default_rng(3))
    assert len({len(p.numbers) for p in proposals}) > 3
    for proposal in proposals:
        ruthenium = proposal.numbers == 44
        np.testing.assert_array_equal(proposal.positions[ruthenium], metal)
        atoms = template().assemble(proposal.numbers, proposal.positions)
        distances = atoms.get_all_distances(mic=True)[atoms.numbers == 44][:, atoms.numbers == 8]
        assert distances.min() >= DISTANCES["O-Ru"] - 1e-9


def test_metal_counts_outside_the_ranges_are_refused():
    with pytest.raises(PlacementError, match="metal atoms"):
        RandomPlacement(template(), COUNTS, DISTANCES).keep_metal([record(9, 4)])


def test_a_full_window_is_a_verdict_not_an_error():
    placement = RandomPlacement(template(height=1.0), {"O": (30, 30)}, {"O-O": 2.2})
    proposals = placement.sample(3, {}, np.random.default_rng(0))
    assert [proposal.reason for proposal in proposals] == [NO_ROOM] * 3
    assert all(len(proposal.numbers) == 0 for proposal in proposals)


def test_nothing_asked_nothing_given():
    assert RandomPlacement(template(), COUNTS, DISTANCES).sample(0, {}, np.random.default_rng(0)) == []


@pytest.mark.parametrize(
    ("counts", "distances", "message"),
    [
        ({"O": (5, 2)}, {"O-O": 2.2}, "smaller first"),
        ({"Xx": (0, 2)}, {"O-O": 2.2}, "Xx"),
        ({"O": (0, 0)}, {"O-O": 2.2}, "at least one atom"),
        ({"Ru": (1, 2)}, {"Ru-Ru": 2.3}, "None for Ru-O"),
        ({"O": (1, 2)}, {"O-O": -1.0}, "must be positive"),
        ({"O": (1, 2)}, {"O-O": 7.0}, "own image"),
    ],
)
def test_settings_that_cannot_work_are_refused(counts, distances, message):
    with pytest.raises(PlacementError, match=message):
        RandomPlacement(template(), counts, distances)


def test_a_training_set_outside_the_ranges_is_refused():
    placement = RandomPlacement(template(), COUNTS, DISTANCES)
    with pytest.raises(PlacementError, match="1 structures but none"):
        placement.fit([record(1, 1)], np.random.default_rng(0))
