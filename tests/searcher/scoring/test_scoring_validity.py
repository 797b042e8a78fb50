"""What passes as a termination: the thresholds, and that every image of a neighbour is counted."""

from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from searcher.scoring.neighbours import neighbour_pairs
from searcher.scoring.validity import ValidityThresholds, check_validity, relaxation_reasons
from searcher.structures.crystal import Crystal
from searcher.structures.templates import build_template

N_FROZEN = 12  # the lower two of four trilayers


def add(slab, symbol, position):
    return slab + Atoms(symbol, [position])


def top(slab):
    return int(slab.positions[:, 2].argmax())


def above_top(slab, distance, symbol="O"):
    """An atom straight above the topmost one."""
    return add(slab, symbol, slab.positions[top(slab)] + [0.0, 0.0, distance])


@pytest.mark.parametrize("face", ["ru", "br", "cus"])
@pytest.mark.parametrize("repeat", [(1, 1, 1), (2, 1, 1), (2, 3, 1)])
def test_every_planar_termination_is_valid(build_slab, face, repeat):
    slab = build_slab(face, o_cus_height=1.7)
    slab = slab * repeat
    slab = slab[np.argsort(slab.positions[:, 2], kind="stable")]
    verdict = check_validity(slab, N_FROZEN * int(np.prod(repeat)), frozen_reference=None)
    assert verdict.valid, verdict
    # Of a bare face, the former bridge Ru has four in-plane O and none above.
    assert verdict.flags == ()


def test_bulk_coordination_in_a_cell_of_three_angstrom(build_slab):
    slab = build_slab()
    pairs = neighbour_pairs(slab, 2.4)
    coordination = np.bincount(pairs.first, minlength=len(slab))
    middle = np.abs(slab.positions[:, 2] - slab.positions[:, 2].mean()) < 2.5
    assert set(coordination[middle & (slab.numbers == 44)]) == {6}
    assert set(coordination[middle & (slab.numbers == 8)]) == {3}


@pytest.mark.parametrize("cutoff", [2.4, 3.2, 7.0])
def test_neighbours_equal_an_independent_list(build_slab, cutoff):
    rng = np.random.default_rng(5)
    slab = build_slab("cus")
    slab.cell[1, 0] = 0.9  # oblique
    slab.positions += rng.normal(0.0, 0.3, (len(slab), 3)) + np.array([7.0, -3.0, 0.0])
    ours = neighbour_pairs(slab, cutoff)
    theirs = neighbor_list("ijd", slab, cutoff)
    key = np.lexsort((ours.distances, ours.second, ours.first))
    reference = np.lexsort((theirs[2], theirs[1], theirs[0]))
    np.testing.assert_array_equal(ours.first[key], theirs[0][reference])
    np.testing.assert_array_equal(ours.second[key], theirs[1][reference])
    np.testing.assert_allclose(ours.distances[key], theirs[2][reference], atol=1e-9)


@pytest.mark.parametrize(
    ("distance", "reason"),
    [
        (0.0, "o_o_overlap"),
        (1.14, "o_o_overlap"),
        (1.16, "molecular_o"),
        (1.32, "molecular_o"),
        (1.59, "molecular_o"),
        (1.61, "clustered_o"),
        (2.19, "clustered_o"),
    ],
)
def test_oxygen_pairs(build_slab, distance, reason):
    verdict = check_validity(above_top(build_slab(), distance), N_FROZEN)
    assert not verdict.valid
    assert reason in verdict.reasons
    assert {"o_o_overlap", "molecular_o", "clustered_o"} & set(verdict.reasons) == {reason}


def test_oxygen_pair_at_the_accepted_distance_is_not_clustered(build_slab):
    assert "clustered_o" not in check_validity(above_top(build_slab(), 2.21), N_FROZEN).reasons


def test_molecular_oxygen_passes_when_asked_for(build_slab):
    slab = above_top(build_slab("cus", o_cus_height=1.9), 1.32)  # an end-on superoxo
    assert "molecular_o" in check_validity(slab, N_FROZEN).reasons
    verdict = check_validity(slab, N_FROZEN, ValidityThresholds(accept_molecular_o=True))
    assert verdict.valid, verdict
    assert "molecular_o" in verdict.flags


def test_metal_too_close_to_oxygen(build_slab):
    slab = build_slab("cus", o_cus_height=1.59)
    assert check_validity(slab, N_FROZEN).reasons == ("metal_o_close",)
    assert check_validity(build_slab("cus", o_cus_height=1.61), N_FROZEN).valid


@pytest.mark.parametrize(
    ("distance", "reason", "flag"), [(2.25, True, False), (2.5, False, True), (2.65, False, False)]
)
def test_metal_pairs(build_slab, distance, reason, flag):
    verdict = check_validity(above_top(build_slab("ru"), distance, "Ru"), N_FROZEN)
    assert ("metal_metal_close" in verdict.reasons) == reason
    assert ("metallic" in verdict.flags) == flag


def test_seven_oxygen_around_one_metal(build_slab):
    slab = build_slab()
    metal = np.flatnonzero(slab.numbers == 44)
    inner = metal[np.argsort(slab.positions[metal, 2])[4]]
    # Between the six bonds of an octahedron.
    direction = np.array([0.0, 1.0, 1.0]) / np.sqrt(2.0)
    assert (
        "metal_overcoordinated"
        in check_validity(add(slab, "O", slab.positions[inner] + 2.0 * direction), N_FROZEN).reasons
    )


def test_lonely_oxygen_floats(build_slab):
    verdict = check_validity(above_top(build_slab(), 2.5), N_FROZEN)
    assert set(verdict.reasons) == {"floating_o", "disconnected"}


def test_cluster_that_hovers_is_disconnected_and_leaves_a_gap(build_slab):
    slab = build_slab()
    peak = slab.positions[:, 2].max()
    slab = add(add(slab, "Ru", [0.0, 0.0, peak + 3.0]), "O", [0.0, 0.0, peak + 4.9])
    verdict = check_validity(slab, N_FROZEN)
    assert set(verdict.reasons) == {"disconnected", "gap"}
    assert verdict.flags == ("metal_undercoordinated",)


def test_without_frozen_atoms_the_slab_is_one_piece(build_slab):
    slab = build_slab()
    assert check_validity(slab, 0).valid
    slab.positions[slab.positions[:, 2] > 8.0, 2] += 2.5
    assert "disconnected" in check_validity(slab, 0).reasons


def test_vacuum(build_slab):
    slab = build_slab()
    slab.cell[2, 2] = np.ptp(slab.positions[:, 2]) + 9.9
    assert check_validity(slab, N_FROZEN).reasons == ("vacuum",)


def test_frozen_atoms_must_stay(build_slab):
    slab = build_slab()
    reference = slab.positions[:N_FROZEN].copy()
    across = slab.copy()
    across.positions[0] += slab.cell[0]  # the same atom, one cell further
    assert check_validity(across, N_FROZEN, frozen_reference=reference).valid
    slab.positions[0, 0] += 0.01
    assert check_validity(slab, N_FROZEN, frozen_reference=reference).reasons == ("frozen_moved",)


def test_frozen_cut_is_not_judged(build_slab):
    slab = build_slab(bottom="ru")
    slab.positions[0, 2] += 0.5  # a defect of the frozen part is the template's, not the candidate's
    assert check_validity(slab, N_FROZEN).valid


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_is_a_verdict(build_slab, value):
    slab = build_slab()
    slab.positions[-1, 0] = value
    assert check_validity(slab, N_FROZEN).reasons == ("non_finite",)


def test_lost_atom_is_a_verdict(build_slab):
    for axis, sign in product((0, 2), (1, -1)):
        slab = build_slab()
        slab.positions[-1, axis] += sign * 1e4
        assert "outside_cell" in check_validity(slab, N_FROZEN).reasons


def test_verdict_does_not_depend_on_the_metal(build_slab):
    slab = above_top(build_slab(), 2.5)
    titanium = slab.copy()
    titanium.symbols[slab.numbers == 44] = "Ti"
    assert check_validity(titanium, N_FROZEN) == check_validity(slab, N_FROZEN)


def test_callers_mistakes_raise(build_slab):
    slab = build_slab()
    with pytest.raises(ValueError, match="n_frozen"):
        check_validity(slab, 99)
    with pytest.raises(ValueError, match="frozen_reference"):
        check_validity(slab, 3, frozen_reference=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="must rise"):
        ValidityThresholds(o_o_overlap=1.7)


def test_relaxation_reasons():
    forces = np.zeros((3, 3))
    assert relaxation_reasons(-1.0, forces, True) == ()
    assert relaxation_reasons(-1.0, forces, False) == ("not_converged",)
    assert relaxation_reasons(np.nan, forces, True) == ("non_finite",)
    assert relaxation_reasons(-1.0, forces + np.inf, True) == ("non_finite",)


def random_slabs(n: int = 60) -> tuple[list[Atoms], int]:
    """Random insertions, most of them invalid for many reasons."""
    template = build_template(Crystal(), "110", (1, 2))
    rng = np.random.default_rng(0)
    free = np.array([template.cell[0], template.cell[1], template.free_ceiling - template.free_floor])
    places = [rng.random((12, 3)) * free + [0.0, 0.0, template.free_floor] for _ in range(n)]
    return [template.assemble(np.array([44] * 4 + [8] * 8), positions) for positions in places], template.n_frozen


def test_the_first_reason_alone_is_the_first_of_all():
    slabs, n_frozen = random_slabs()
    for atoms in slabs:
        whole, first = check_validity(atoms, n_frozen), check_validity(atoms, n_frozen, first_only=True)
        assert first.valid == whole.valid and first.reasons == whole.reasons[:1]
