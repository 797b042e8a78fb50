"""Full cells: symmetries of the box, planes through it, supercells, and slabs laid on their template again."""

import numpy as np
import pytest
import torch
from grid_structures import grid_of, random_structure, rutile_110_template
from hypothesis import given, settings
from hypothesis import strategies as st

from generators.grids.augmentation import cell_rotations, random_placements
from generators.grids.backmapping import backmap, reconstruction
from generators.grids.density import densities, pack
from generators.grids.matching import agreement
from generators.grids.registration import RegistrationSettings, read_cells, register, snap_to_repeat
from generators.grids.slices import plane_spec, slices
from generators.grids.spec import GridError, GridSpec
from generators.template import Template

SPECIES = ("Ru", "O")
CELL = GridSpec.for_cell((6.4, 6.24, 8.0), (16, 16, 20), SPECIES, 0.4, clip=False)
SQUARE = GridSpec.for_cell((6.4, 6.4, 8.0), (12, 12, 16), SPECIES, 0.4, clip=False)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), repeats=st.tuples(*[st.integers(1, 3)] * 3))
def test_a_supercell_has_the_repeated_grid(seed, repeats):
    numbers, positions = random_structure(seed, CELL, 8, margin=0.0)
    shifts = np.array(np.meshgrid(*map(range, repeats), indexing="ij")).reshape(3, -1).T * np.array(CELL.lengths)
    large = GridSpec.for_cell(
        np.array(CELL.lengths) * repeats, tuple(np.array(CELL.shape) * repeats), SPECIES, CELL.sigma, clip=False
    )
    repeated = (positions[None] + shifts[:, None]).reshape(-1, 3)
    expected = grid_of((numbers, positions), CELL).repeat(1, *repeats)
    found = grid_of((np.tile(numbers, len(shifts)), repeated), large)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), spec=st.sampled_from([CELL, SQUARE]))
def test_placements_are_symmetries_of_the_voxels(seed, spec):
    numbers, positions = random_structure(seed, spec, 6, margin=0.0)
    grid = grid_of((numbers, positions), spec)
    middle = np.array(spec.origin) + 0.5 * np.array(spec.lengths)
    for rotation in cell_rotations(spec):
        turned = (positions - middle) @ rotation.T + middle
        order = np.abs(rotation).argmax(axis=1)
        expected = grid.permute(0, *(1 + order).tolist())
        mirrored = [1 + axis for axis in range(3) if rotation[axis, order[axis]] < 0]
        torch.testing.assert_close(grid_of((numbers, turned), spec), expected.flip(mirrored), atol=1e-12, rtol=0)


def test_only_square_cells_are_turned_by_quarters():
    assert len(cell_rotations(CELL)) == 4
    assert len(cell_rotations(SQUARE)) == 8
    np.testing.assert_array_equal(cell_rotations(SQUARE)[0], np.eye(3))
    assert len(cell_rotations(GridSpec.for_cell((6.4, 6.4, 8.0), (12, 16, 16), SPECIES, 0.4))) == 4
    assert all(rotation[2, 2] == 1.0 for rotation in cell_rotations(SQUARE))


def test_random_placements_keep_distances_and_the_window_in_z():
    window = GridSpec((12, 12, 16), SPECIES, 0.4, (0.0, 0.0, 2.0), (6.4, 6.4, 8.0))
    structures = [random_structure(seed, window, 4 + seed % 2, margin=3.0) for seed in range(8)]
    positions, channels = pack(structures, window)
    placed = random_placements(positions, channels, window, torch.Generator().manual_seed(1))
    again = random_placements(positions, channels, window, torch.Generator().manual_seed(1))
    assert torch.equal(placed, again)
    torch.testing.assert_close(placed[..., 2], positions[..., 2])
    lengths = np.array([6.4, 6.4, 1e6])
    for (numbers, before), after in zip(structures, placed.numpy(), strict=True):
        sizes = []
        for place in (before, after[: len(numbers)]):
            offsets = place[:, None] - place[None]
            sizes.append(np.linalg.norm(offsets - lengths * np.round(offsets / lengths), axis=-1))
        np.testing.assert_allclose(*sizes, atol=1e-12)
        assert np.all((after[: len(numbers), :2] >= 0) & (after[: len(numbers), :2] < 6.4))
    assert torch.equal(placed[channels == -1], positions[channels == -1])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_through_voxel_centres_is_a_slice_of_the_grid(axis):
    structures = [random_structure(seed, CELL, 10, margin=0.0) for seed in range(3)]
    positions, channels = pack(structures, CELL)
    whole = densities(positions, channels, CELL)
    heights = [CELL.centres(axis)[3], CELL.centres(axis)[9]]
    grids, origin = slices(positions, channels, CELL, axis, heights)
    for grid, (structure, plane) in zip(grids, origin.tolist(), strict=True):
        expected = whole[structure].select(1 + axis, (3, 9)[plane])
        torch.testing.assert_close(grid, expected, atol=1e-12, rtol=0)


def test_empty_slices_are_dropped_and_planes_must_lie_in_the_box():
    window = GridSpec((12, 12, 16), SPECIES, 0.4, (0.0, 0.0, 2.0), (6.4, 6.4, 8.0))
    positions, channels = pack([(np.array([8]), np.array([[1.0, 3.2, 6.0]]))], window)
    grids, origin = slices(positions, channels, window, 1, [3.2, 0.0, 3.0])
    assert grids.shape == (2, 2, 12, 16)
    assert origin.tolist() == [[0, 0], [0, 2]]
    with pytest.raises(GridError, match=r"2\.000 to 10\.000 Å"):
        plane_spec(window, 2, 1.0)
    with pytest.raises(GridError, match="`axis` is 3"):
        plane_spec(window, 3, 1.0)
    with pytest.raises(GridError, match="`heights` is empty"):
        slices(positions, channels, window, 1, [])


def test_atoms_of_a_plane_are_read_from_it():
    plane = plane_spec(CELL, 1, 3.0)
    numbers, positions = np.array([44, 8, 8]), np.array([[1.0, 3.0, 2.0], [3.5, 3.0, 4.0], [5.0, 3.0, 7.5]])
    (decoded,) = backmap(grid_of((numbers, positions), plane)[None], plane)
    assert decoded.reason is None
    np.testing.assert_allclose(decoded.positions[np.lexsort(decoded.positions.T)], positions, atol=1e-9)


def test_what_was_read_makes_the_grid_again():
    structure = random_structure(4, CELL, 5, margin=0.0)
    grid = grid_of(structure, CELL)
    (decoded,) = backmap(0.8 * grid[None], CELL)
    torch.testing.assert_close(reconstruction(decoded, CELL), 0.8 * grid, atol=1e-6, rtol=0)


def test_agreement_pairs_within_reach_and_one_to_one():
    true = (np.array([8, 8, 44]), np.array([[0.1, 1.0, 1.0], [3.0, 3.0, 3.0], [5.0, 5.0, 5.0]]))
    found = (np.array([8, 8, 8, 44]), np.array([[6.3, 1.0, 1.0], [3.0, 3.0, 3.1], [3.0, 3.0, 2.8], [1.0, 5.0, 5.0]]))
    result = agreement(true, found, CELL)
    assert (result.n_true, result.n_found, len(result.distances)) == (3, 4, 2)
    assert result.recall == pytest.approx(2 / 3) and result.precision == 0.5
    assert sorted(result.distances) == pytest.approx([0.1, 0.2])


def slab(template: Template, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The template with a few free atoms above it."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 5))
    free = np.column_stack(
        [
            (np.arange(n) + 0.3) / n * template.cell[0],
            rng.random(n) * template.cell[1],
            rng.uniform(template.free_floor + 0.5, template.free_ceiling, n),
        ]
    )
    numbers = np.concatenate([template.frozen_numbers, np.resize([44, 8], n)])
    return numbers, np.concatenate([template.frozen_positions, free])


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_slab_anywhere_in_its_cell_is_laid_on_its_template(seed):
    template = rutile_110_template()
    rng = np.random.default_rng(seed)
    numbers, positions = slab(template, seed)
    lengths = np.array([*(template.cell[:2] * rng.uniform(0.98, 1.02, 2)), 26.0])
    mirror = np.array([*rng.choice([1.0, -1.0], 2), 1.0])
    moved = (positions * mirror + rng.random(3) * 30.0 + rng.normal(0, 0.03, positions.shape)) % [
        *template.cell[:2],
        26.0,
    ]
    moved[:, :2] *= lengths[:2] / template.cell[:2]
    order = rng.permutation(len(numbers))
    result = register(numbers[order], moved[order], lengths, template)
    assert (result.reason, result.matched, result.n_stray) == (None, 1.0, 0)
    # noise of 0.03 Å per coordinate on 24 frozen atoms; the mean is taken out
    assert result.rmsd < 0.08
    assert sorted(result.numbers) == sorted(numbers[template.n_frozen :])
    # an operation of the template may have been applied, which leaves distances to the frozen atoms as they were
    spec = GridSpec.for_cell(template.cell, (1, 1, 1), SPECIES, 0.4)
    images = [
        agreement(
            (numbers[template.n_frozen :], positions[template.n_frozen :] @ rotation.T + translation),
            (result.numbers, result.positions),
            spec,
        )
        for rotation, translation in zip(template.rotations, template.translations, strict=True)
    ]
    assert max(image.recall for image in images) == 1.0


def test_slabs_that_do_not_fit_have_reasons():
    template = rutile_110_template()
    numbers, positions = slab(template, 1)
    lengths = np.array([*template.cell[:2], 26.0])
    assert register(numbers, positions, lengths * [1.08, 1.0, 1.0], template).reason == "lattice_mismatch"
    loose = RegistrationSettings(lattice_tolerance=0.1)
    assert register(numbers, positions * [1.08, 1.0, 1.0], lengths * [1.08, 1.0, 1.0], template, loose).reason is None
    below = np.concatenate([positions, [[1.0, 1.0, 0.5]]])
    stray = register(np.append(numbers, 8), below, lengths, template)
    assert (stray.reason, stray.n_stray) == ("stray_atoms", 1)
    noise = np.random.default_rng(0).random(positions.shape) * lengths
    assert register(numbers, noise, lengths, template).reason == "not_registered"
    assert register(np.empty(0, int), np.empty((0, 3)), lengths, template).reason == "not_registered"


def test_a_lost_frozen_atom_is_the_templates_again():
    template = rutile_110_template()
    numbers, positions = slab(template, 2)
    result = register(np.delete(numbers, 3), np.delete(positions, 3, axis=0), [*template.cell[:2], 30.0], template)
    assert result.reason is None
    assert result.matched == pytest.approx(1 - 1 / template.n_frozen)
    assert len(result.numbers) == len(numbers) - template.n_frozen


def test_a_grid_of_a_full_cell_with_its_own_lengths_becomes_free_atoms_on_the_template():
    template = rutile_110_template()
    numbers, positions = slab(template, 3)
    lengths = np.array([*(template.cell[:2] * [1.01, 0.99]), 18.0])
    stretched = positions * [1.01, 0.99, 1.0] + [2.0, 1.0, 11.0]
    spec = GridSpec.for_cell((6.0, 6.0, 16.0), (16, 16, 32), SPECIES, 0.45)
    grid = grid_of((numbers, stretched), GridSpec.for_cell(lengths, spec.shape, SPECIES, 0.45))
    ((decoded, result),) = read_cells(grid[None], spec, lengths[None], template)
    assert (decoded.reason, result.reason, result.matched) == (None, None, 1.0)
    # snapping undoes the stretch of the lattice, up to the rounding of the fit
    assert result.rmsd < 1e-6
    np.testing.assert_allclose(result.strain, [0.01, -0.01], atol=1e-9)
    assert sorted(result.numbers) == sorted(numbers[template.n_frozen :])
    with pytest.raises(GridError, match="`lengths`"):
        read_cells(grid[None], spec, lengths, template)


def test_lengths_snap_to_the_nearest_repeat_within_the_tolerance():
    assert snap_to_repeat(np.array([12.9, 3.05]), np.array([6.4, 3.12]), 0.05) == ((2, 1), True)
    assert snap_to_repeat(np.array([12.9, 4.5]), np.array([6.4, 3.12]), 0.05) == ((2, 1), False)
    assert snap_to_repeat(np.array([1.0, 3.12]), np.array([6.4, 3.12]), 0.05) == ((1, 1), False)
