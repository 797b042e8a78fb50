"""Half of the cell from each of two terminations: symmetry, counts, and where each atom comes from."""

import numpy as np
import pytest

from generators.crossover import cut_and_splice, equivalent
from generators.moved_terminations import MovedTerminations, MoveSettings
from generators.proposal import TrainingRecord
from searcher.structures.crystal import Crystal
from searcher.structures.templates import build_template, seed_structures

TEMPLATE = build_template(Crystal(), "110", (1, 2))
PARTS = {name: TEMPLATE.free_part(atoms) for name, atoms in seed_structures(Crystal(), "110", (1, 2)).items()}
POOR, STOICHIOMETRIC, RICH = (PARTS[f"110-{name}"] for name in ("O-poor", "stoichiometric", "O-rich"))
COUNTS = {"Ru": (4, 4), "O": (4, 12)}
DISTANCES = {"O-O": 2.2, "O-Ru": 1.6, "Ru-Ru": 2.3}


def places(part) -> set[tuple]:
    """Atoms as (number, x, y, z), wrapped and rounded to 0.01 Å."""
    numbers, positions = part
    wrapped = positions.copy()
    wrapped[:, :2] = (wrapped[:, :2] + 0.005) % TEMPLATE.cell[:2] - 0.005
    return {(int(n), *np.round(p, 2).tolist()) for n, p in zip(numbers, wrapped + 0.0, strict=True)}


@pytest.mark.parametrize("operation", range(len(TEMPLATE.rotations)))
def test_operations_leave_a_symmetric_termination_as_it_is(operation):
    assert places(equivalent(STOICHIOMETRIC, TEMPLATE, operation)) == places(STOICHIOMETRIC)


@pytest.mark.parametrize("seed", range(8))
def test_a_termination_crossed_with_itself_is_itself(seed):
    child = cut_and_splice(STOICHIOMETRIC, STOICHIOMETRIC, TEMPLATE, np.random.default_rng(seed))
    assert places(child) == places(STOICHIOMETRIC)


@pytest.mark.parametrize("seed", range(8))
def test_every_atom_comes_from_a_parent_and_lies_in_its_half(seed):
    numbers, positions = cut_and_splice(POOR, RICH, TEMPLATE, np.random.default_rng(seed))
    assert places((numbers, positions)) <= places(POOR) | places(RICH)
    # where the poor face has no oxygen that the rich one has, the child has what one of them has
    assert len(POOR[0]) <= len(numbers) <= len(RICH[0])


def test_crossing_mixes_the_oxygen_of_two_terminations():
    source = MovedTerminations(
        TEMPLATE,
        COUNTS,
        DISTANCES,
        MoveSettings(oxygen_probability=0.0, relocation_probability=0.0, crossover_probability=1.0),
    )
    source.fit([TrainingRecord(*part, {}) for part in (POOR, RICH)], np.random.default_rng(0))
    counts = {int(np.count_nonzero(p.numbers == 8)) for p in source.sample(60, {}, np.random.default_rng(1))}
    ends = {int(np.count_nonzero(part[0] == 8)) for part in (POOR, RICH)}
    assert counts - ends and min(ends) <= min(counts) and max(counts) <= max(ends)
