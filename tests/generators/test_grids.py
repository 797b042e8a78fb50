"""Laws of the density grids, of the rule of resolution and of the augmentation."""

import numpy as np
import pytest
import torch
from grid_structures import grid_of, random_structure, rutile_110_template
from hypothesis import example, given, settings
from hypothesis import strategies as st

from generators.grids.augmentation import apply_operation, random_operations
from generators.grids.density import densities, frozen_density, integral_counts, pack
from generators.grids.resolution import CoarseGridError, GridWarning, check_resolution, sufficient_shape
from generators.grids.spec import GridError, GridSpec

SPECIES = ("Ru", "O")
SPEC = GridSpec((16, 16, 16), SPECIES, 0.4, (0.0, 0.0, 5.0), (6.4, 6.24, 7.2))


def unclipped(spec: GridSpec) -> GridSpec:
    return GridSpec.from_dict({**spec.as_dict(), "clip": False})


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n_atoms=st.integers(1, 20), shape=st.tuples(*[st.integers(11, 20)] * 3))
def test_integral_counts_the_atoms_of_each_species(seed, n_atoms, shape):
    spec = unclipped(GridSpec(shape, SPECIES, 0.46, (0.0, 0.0, 5.0), (6.4, 6.24, 7.2)))
    numbers, positions = random_structure(seed, spec, n_atoms, margin=5.0)
    counts = integral_counts(grid_of((numbers, positions), spec), spec)
    expected = [np.count_nonzero(numbers == number) for number in spec.numbers]
    # Poisson summation: 2 exp(-2π² (σ/h)²) per axis is 1.3e-4 of an atom at σ/h = 0.7; tails beyond 5σ are 1e-6
    np.testing.assert_allclose(counts.numpy(), expected, atol=4e-4 * n_atoms)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), axis=st.integers(0, 1), steps=st.integers(-20, 20))
def test_shift_by_voxels_rolls_the_grid(seed, axis, steps):
    numbers, positions = random_structure(seed, SPEC, 12, margin=3.0)
    shifted = positions.copy()
    shifted[:, axis] += steps * SPEC.spacing[axis]
    rolled = grid_of((numbers, positions), SPEC).roll(steps, dims=axis + 1)
    torch.testing.assert_close(grid_of((numbers, shifted), SPEC), rolled, atol=1e-12, rtol=0)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_rotation_of_coordinates_is_a_rotation_of_the_grid(seed):
    spec = GridSpec((12, 12, 16), SPECIES, 0.4, (0.0, 0.0, 0.0), (6.4, 6.4, 7.2))
    numbers, positions = random_structure(seed, spec, 10, margin=3.0)
    turned = np.column_stack([-positions[:, 1], positions[:, 0], positions[:, 2]])
    # voxel centres lie at (i + 1/2) h, so x → −x maps them onto each other without a shift
    expected = grid_of((numbers, positions), spec).transpose(1, 2).flip(1)
    torch.testing.assert_close(grid_of((numbers, turned), spec), expected, atol=1e-12, rtol=0)


def test_images_are_summed_where_an_axis_is_shorter_than_the_kernel():
    spec = GridSpec((6, 8, 10), ("O",), 0.7, (0.3, 0.0, 1.0), (1.5, 3.1, 6.0), (True, True, False), clip=False)
    position = np.array([1.1, 2.9, 3.7])
    x, y, z = np.meshgrid(*(spec.centres(axis) for axis in range(3)), indexing="ij")
    expected = np.zeros(spec.shape)
    for i in range(-8, 9):
        for j in range(-4, 5):
            squares = (x - position[0] + 1.5 * i) ** 2 + (y - position[1] + 3.1 * j) ** 2 + (z - position[2]) ** 2
            expected += np.exp(-0.5 * squares / spec.sigma**2)
    grid = grid_of((np.array([8]), position[None]), spec)[0]
    np.testing.assert_allclose(grid.numpy(), expected, atol=1e-13)


def test_overlapping_atoms_add_and_are_clipped_where_asked():
    positions = np.repeat(np.array([[*(SPEC.centres(axis)[8] for axis in range(3))]]), 2, axis=0)
    structure = (np.array([8, 8]), positions)
    assert grid_of(structure, SPEC).max() == 1.0
    assert float(grid_of(structure, unclipped(SPEC))[1, 8, 8, 8]) == pytest.approx(2.0, abs=1e-14)


def test_density_has_the_gradient_of_finite_differences():
    spec = GridSpec((5, 4, 6), SPECIES, 0.5, (0.0, 0.0, 0.0), (2.0, 1.8, 3.0), clip=False)
    positions = torch.tensor([[[0.2, 0.3, 1.0], [1.4, 1.1, 2.0]]], dtype=torch.float64, requires_grad=True)
    channels = torch.tensor([[0, 1]])
    assert torch.autograd.gradcheck(lambda moved: densities(moved, channels, spec), (positions,))


def test_padding_adds_nothing_and_a_batch_equals_its_structures():
    structures = [random_structure(seed, SPEC, 3 + 4 * seed, margin=3.0) for seed in range(3)]
    together = densities(*pack(structures, SPEC), SPEC)
    for structure, grid in zip(structures, together, strict=True):
        torch.testing.assert_close(grid, grid_of(structure, SPEC), atol=1e-14, rtol=0)


def test_single_precision_stays_near_double():
    positions, channels = pack([random_structure(1, SPEC, 16, margin=3.0)], SPEC)
    single = densities(positions.float(), channels, SPEC)
    assert single.dtype == torch.float32
    # float32 holds 12 Å to 1e-6 Å, times the steepest slope 1.5/Å, times atoms that meet
    torch.testing.assert_close(single.double(), densities(positions, channels, SPEC), atol=1e-5, rtol=0)


def test_window_spans_the_cell_and_the_free_range_with_margin():
    template = rutile_110_template()
    spec = GridSpec.for_window(template, (16, 16, 16), SPECIES, 0.4)
    assert spec.lengths == pytest.approx((6.4, 6.24, 4.8 + 2.4))
    assert spec.origin == pytest.approx((0.0, 0.0, template.free_floor - 1.2))
    assert spec.periodic == (True, True, False)
    assert spec.channel_of(44) == 0 and spec.channel_of(8) == 1
    assert spec.voxel_volume == pytest.approx(6.4 * 6.24 * 7.2 / 16**3)


def test_spec_survives_its_dictionary():
    assert GridSpec.from_dict(SPEC.as_dict()) == SPEC


def test_plane_group_operations_leave_the_frozen_channel_as_it_is():
    template = rutile_110_template()
    spec = GridSpec.for_window(template, (16, 16, 16), SPECIES, 0.4)
    frozen = frozen_density(template, spec)
    assert frozen.max() > 0.1
    for rotation, translation in zip(template.rotations, template.translations, strict=True):
        moved = apply_operation(template.frozen_positions, rotation, translation, template.cell)
        torch.testing.assert_close(grid_of((template.frozen_numbers, moved), spec), frozen, atol=1e-12, rtol=0)


def test_random_operations_are_those_of_the_group():
    template = rutile_110_template()
    structures = [random_structure(seed, SPEC, 4 + seed % 3, margin=3.0) for seed in range(64)]
    positions, channels = pack(structures, SPEC)
    rotations, translations = torch.as_tensor(template.rotations), torch.as_tensor(template.translations)
    cell = torch.as_tensor(template.cell)
    turned = random_operations(positions, channels, rotations, translations, cell, torch.Generator().manual_seed(3))
    again = random_operations(positions, channels, rotations, translations, cell, torch.Generator().manual_seed(3))
    assert torch.equal(turned, again)
    assert torch.equal(turned[channels == -1], positions[channels == -1])
    used = set()
    for (_, before), after in zip(structures, turned.numpy(), strict=True):
        images = [
            apply_operation(before, rotation, translation, template.cell)
            for rotation, translation in zip(template.rotations, template.translations, strict=True)
        ]
        errors = [np.abs(image - after[: len(before)]).max() for image in images]
        assert min(errors) < 1e-12
        used.add(int(np.argmin(errors)))
    # 64 draws miss one of eight operations with probability 8 (7/8)^64 = 0.2 %; the seed is fixed
    assert used == set(range(8))


def test_resolution_rule_names_what_is_wrong_and_what_would_do():
    check_resolution(SPEC, 2.2)
    coarse = GridSpec((32, 32, 32), SPECIES, 0.5, (0.0, 0.0, 0.0), (6.4, 6.24, 25.0))
    with pytest.raises(CoarseGridError, match=r"0\.781 Å along z.*2\.200 Å.*\(12, 12, 44\).*0\.500 Å would do"):
        check_resolution(coarse, 2.2)
    with pytest.raises(CoarseGridError, match=r"nearer than 4σ = 1\.600"):
        check_resolution(SPEC, 1.2)
    with pytest.raises(CoarseGridError, match=r"σ/voxel 0\.50 along x"):
        check_resolution(GridSpec((16, 16, 16), SPECIES, 0.2, (0, 0, 0), (6.4, 6.24, 7.2)), 2.2)


def test_resolution_rule_warns_about_overrides_and_waste():
    coarse = GridSpec((8, 8, 8), SPECIES, 0.5, (0.0, 0.0, 0.0), (6.4, 6.24, 7.2))
    with pytest.warns(GridWarning, match="cannot tell atoms apart"):
        check_resolution(coarse, 2.2, allow_coarse=True)
    with pytest.warns(GridWarning, match="costly"):
        check_resolution(GridSpec((32, 32, 32), SPECIES, 0.5, (0, 0, 0), (6.4, 6.24, 7.2)), 2.2)


@settings(max_examples=30, deadline=None)
@given(lengths=st.tuples(*[st.floats(2.0, 40.0)] * 3), sigma=st.floats(0.2, 0.55))
def test_suggested_shape_passes_the_rule(lengths, sigma):
    spec = GridSpec((4, 4, 4), SPECIES, sigma, (0.0, 0.0, 0.0), lengths)
    better = GridSpec(sufficient_shape(spec, sigma), SPECIES, sigma, (0.0, 0.0, 0.0), lengths)
    check_resolution(better, 4 * sigma)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("lengths", (0.0, 6.24, 7.2), "does the structure have a cell"),
        ("lengths", (np.nan, 6.24, 7.2), "`lengths`"),
        ("sigma", 0.0, "`sigma` is 0.0 Å"),
        ("shape", (16, 0, 16), "`shape`"),
        ("shape", (16, 16), "three entries"),
        ("species", ("Ru", "Xx"), "Xx"),
        ("species", (), "`species`"),
        ("species", ("O", "O"), "once"),
        ("origin", (0.0, np.inf, 0.0), "`origin`"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(field, value, message):
    with pytest.raises(GridError, match=message):
        GridSpec.from_dict({**SPEC.as_dict(), field: value})


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        ([], "empty"),
        ([(np.array([], dtype=int), np.zeros((0, 3)))], "no atoms"),
        ([(np.array([8]), np.array([[np.nan, 0.0, 6.0]]))], "finite"),
        ([(np.array([8]), np.zeros((2, 3)))], "shape"),
        ([(np.array([77]), np.zeros((1, 3)))], r"\[77\].*Ru, O"),
    ],
)
def test_structures_that_cannot_be_gridded_are_refused(structures, message):
    with pytest.raises(GridError, match=message):
        pack(structures, SPEC)


def test_tensors_that_do_not_fit_are_refused():
    with pytest.raises(GridError, match="`positions`"):
        densities(torch.zeros(3, 3), torch.zeros(3, dtype=torch.long), SPEC)
    with pytest.raises(GridError, match="`channels`"):
        densities(torch.zeros(1, 3, 3), torch.zeros(1, 2, dtype=torch.long), SPEC)
    with pytest.raises(GridError, match="77"):
        SPEC.channel_of(77)


@settings(max_examples=40, deadline=None)
@example(seed=2007, shape=(1, 1, 1), lengths=(1.0, 5.0, 9.0), periodic=(True, False, True), sigma=0.21875, single=True)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 20)] * 3),
    lengths=st.tuples(*[st.floats(1.0, 9.0)] * 3),
    periodic=st.tuples(*[st.booleans()] * 3),
    sigma=st.floats(0.2, 0.8),
    single=st.booleans(),
)
def test_visiting_only_voxels_that_an_atom_reaches_changes_nothing(seed, shape, lengths, periodic, sigma, single):
    spec = GridSpec(shape, SPECIES, sigma, (0.3, -1.0, 2.0), lengths, periodic, clip=seed % 2 == 0)
    rng = np.random.default_rng(seed)
    positions = torch.as_tensor(rng.uniform(-6.0, 12.0, (2, 6, 3)), dtype=torch.float32 if single else torch.float64)
    channels = torch.as_tensor(rng.integers(-1, 2, (2, 6)))
    # a matrix product over all voxels, as it is taken where gradients are asked for
    expected = densities(positions.double().requires_grad_(), channels, spec).detach()
    # single precision leaves out what lies beyond 5σ, exp(−12.5) = 4e-6 for each of six atoms and their images
    found = densities(positions, channels, spec)
    torch.testing.assert_close(found.double(), expected, atol=5e-5 if single else 1e-13, rtol=0)
