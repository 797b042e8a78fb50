"""Backmapping inverts the forward model: exactly without noise, at the Cramér–Rao bound with it."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from generators.grids.backmapping import BackmappingSettings, Decoded, backmap
from generators.grids.density import axis_profiles, densities, pack
from generators.grids.least_squares import (
    Gaussians,
    _fit_batch,
    _fit_compiled,
    _residuals_everywhere,
    evaluate,
    normal_matrix,
    residuals_and_weights,
)
from generators.grids.spec import GridError, GridSpec

SPEC = GridSpec((16, 16, 16), ("Ru", "O"), 0.4, (0.0, 0.0, 5.0), (6.4, 6.24, 7.2))
LEAST = {88: 2.6, 52: 1.7, 16: 2.2}
"""Å by the sum of two atomic numbers: the closest pairs of a valid termination."""


def termination(seed: int, spec: GridSpec = SPEC, n_ru: int = 4, n_o: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Atoms above minimum distances, 3σ from the ends of the window."""
    rng = np.random.default_rng(seed)
    lengths, margin = np.array(spec.lengths), np.array([0.0, 0.0, 3 * spec.sigma])
    numbers, positions = [], []
    wanted = [44] * n_ru + [8] * n_o
    tries = 0
    while len(numbers) < len(wanted) and tries < 4000:
        tries += 1
        position = np.array(spec.origin) + margin + rng.random(3) * (lengths - 2 * margin)
        number = wanted[len(numbers)]
        offsets = position - np.array(positions).reshape(-1, 3)
        offsets -= np.array(spec.periodic) * lengths * np.round(offsets / lengths)
        least = np.array([LEAST[number + other] for other in numbers])
        if np.all(np.linalg.norm(offsets, axis=1) >= least):
            numbers.append(number)
            positions.append(position)
    return np.array(numbers), np.array(positions)


def errors_of(decoded: Decoded, structure: tuple[np.ndarray, np.ndarray], spec: GridSpec = SPEC) -> np.ndarray:
    """Distance in Å from each true atom to the nearest decoded one of its species; counts must agree."""
    numbers, positions = structure
    assert sorted(decoded.numbers) == sorted(numbers)
    lengths = np.array(spec.lengths)
    nearest = []
    for number in set(numbers):
        offsets = positions[numbers == number][:, None] - decoded.positions[decoded.numbers == number][None]
        offsets -= np.array(spec.periodic) * lengths * np.round(offsets / lengths)
        distances = np.linalg.norm(offsets, axis=-1)
        assert len(set(distances.argmin(axis=1))) == len(distances)
        nearest.append(distances.min(axis=1))
    return np.concatenate(nearest)


def grids_of(structures: list[tuple[np.ndarray, np.ndarray]], spec: GridSpec = SPEC) -> torch.Tensor:
    return densities(*pack(structures, spec), spec)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), n_ru=st.integers(0, 5), n_o=st.integers(1, 12))
def test_backmapping_is_the_inverse_of_gridding(seed, n_ru, n_o):
    structure = termination(seed, n_ru=n_ru, n_o=n_o)
    (decoded,) = backmap(grids_of([structure]), SPEC)
    # double precision: the demanded 1e-6 Å is met with six digits to spare
    assert errors_of(decoded, structure).max() < 1e-9
    assert decoded.reason is None
    assert decoded.r2 == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(decoded.amplitudes, 1.0, atol=1e-8)
    np.testing.assert_allclose(decoded.confidence, 1.0, atol=1e-8)


@pytest.mark.parametrize(
    "spec",
    [
        GridSpec((8, 8, 16), ("Ru", "O"), 0.4, (0.0, 0.0, 0.0), (3.2, 3.4, 7.2)),
        GridSpec((12, 16, 12), ("Ru", "O"), 0.36, (0.1, -0.2, 2.0), (5.5, 8.9, 6.0)),
        GridSpec((32, 32, 32), ("Ru", "O"), 0.45, (0.0, 0.0, 0.0), (6.4, 12.4, 17.0), (True, True, True)),
        GridSpec((11, 11, 12), ("Ru", "O"), 0.42, (0.0, 0.0, 0.0), (6.4, 6.24, 7.0), clip=False),
    ],
    ids=["narrow", "anisotropic", "full", "coarsest"],
)
def test_inversion_holds_in_any_box(spec):
    structures = [termination(seed, spec, n_ru=2, n_o=4) for seed in range(6)]
    for decoded, structure in zip(backmap(grids_of(structures, spec), spec), structures, strict=True):
        assert errors_of(decoded, structure, spec).max() < 1e-9


def test_clipped_overlap_on_a_voxel_is_no_error():
    centre = np.array([SPEC.centres(axis)[8] for axis in range(3)])
    positions = np.array([centre, centre + np.array([1.6, 0.0, 0.0])])
    structure = (np.array([8, 8]), positions)
    grids = grids_of([structure])
    assert int((grids == 1.0).sum()) == 2
    # the clipped voxels only bound the model from below: ignoring that would cost 1e-4 Å
    assert errors_of(backmap(grids, SPEC)[0], structure).max() < 1e-7


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_noise_costs_no_more_than_the_cramer_rao_bound(noise):
    structures = [termination(seed) for seed in range(60)]
    grids = grids_of(structures)
    generator = torch.Generator().manual_seed(7)
    noisy = grids + noise * torch.randn(grids.shape, generator=generator, dtype=grids.dtype)
    squares = [
        errors_of(decoded, structure) ** 2 for decoded, structure in zip(backmap(noisy, SPEC), structures, strict=True)
    ]
    rmsd = np.sqrt(np.concatenate(squares).mean())
    # variance of a coordinate of a sampled Gaussian in white noise, s² h³ 2 / (A² π^1.5 σ), summed over three
    bound = np.sqrt(3) * noise * np.sqrt(2 * SPEC.voxel_volume / (np.pi**1.5 * SPEC.sigma))
    # 720 atoms fix the rmsd to 2 %; the demand is 1.1
    assert rmsd < 1.1 * bound
    assert rmsd > 0.9 * bound


def test_strong_noise_makes_few_spurious_atoms():
    structures = [termination(seed) for seed in range(40)]
    grids = grids_of(structures)
    noisy = grids + 0.1 * torch.randn(grids.shape, generator=torch.Generator().manual_seed(5), dtype=grids.dtype)
    found = sum(len(decoded.numbers) for decoded in backmap(noisy, SPEC))
    true = sum(len(numbers) for numbers, _ in structures)
    assert abs(found - true) <= 0.01 * true


def blurred(grids: torch.Tensor, width: float) -> torch.Tensor:
    """Grids convolved with a Gaussian of `width` in Å."""
    for axis in range(3):
        centres = torch.as_tensor(SPEC.centres(axis))
        narrow = GridSpec.from_dict({**SPEC.as_dict(), "sigma": width})
        kernel = axis_profiles(centres, narrow, axis)
        grids = torch.tensordot(grids, kernel / kernel.sum(dim=1).amax(), dims=([2], [0]))
    return grids


@pytest.mark.parametrize("damage", ["scaled", "overdriven", "blurred", "hazy", "uneven"])
def test_grids_as_generators_make_them_keep_their_atoms(damage):
    structures = [termination(seed) for seed in range(20)]
    grids = grids_of(structures)
    if damage == "scaled":
        grids = 0.6 * grids
    elif damage == "overdriven":
        grids = (1.5 * grids).clamp(max=1.0)
    elif damage == "blurred":
        grids = blurred(grids, 0.25)
    elif damage == "hazy":
        grids = 0.9 * grids + 0.02
    else:
        grids = grids * torch.linspace(0.65, 1.0, 16, dtype=grids.dtype)
    decoded = backmap(grids.float(), SPEC)
    assert all(d.reason is None for d in decoded)
    errors = np.concatenate([errors_of(d, s) for d, s in zip(decoded, structures, strict=True)])
    # the slope of the uneven case moves a centre by σ² d(ln A)/dz = 0.015 Å; blur is symmetric but for neighbours
    assert np.sqrt(np.mean(errors**2)) < 0.02


def test_faint_ghosts_are_not_atoms_and_faint_atoms_are():
    numbers, positions = termination(3)
    whole = grids_of([(numbers, positions)])
    oxygen = np.flatnonzero(numbers == 8)
    without = grids_of([(np.delete(numbers, oxygen[0]), np.delete(positions, oxygen[0], axis=0))])
    (ghost,) = backmap(without + 0.2 * (whole - without), SPEC)
    assert len(ghost.numbers) == len(numbers) - 1
    (atom,) = backmap(without + 0.7 * (whole - without), SPEC)
    assert len(atom.numbers) == len(numbers)
    assert atom.amplitudes.min() == pytest.approx(0.7, abs=1e-6)


def test_a_site_claimed_by_two_species_goes_to_the_stronger():
    position = np.array([[3.1, 3.0, 8.6]])
    grids = grids_of([(np.array([44, 8]), np.concatenate([position, position + 0.2]))])
    grids[:, 0] *= 0.8
    (decoded,) = backmap(grids, SPEC)
    assert decoded.numbers.tolist() == [8]
    np.testing.assert_allclose(decoded.positions, position + 0.2, atol=1e-6)


def test_two_atoms_of_one_species_on_one_site_are_one():
    position = np.array([3.1, 3.0, 8.6])
    grids = grids_of([(np.array([8, 8]), np.array([position, position + np.array([0.5, 0.0, 0.0])]))])
    (decoded,) = backmap(grids, SPEC)
    assert decoded.numbers.tolist() == [8]
    np.testing.assert_allclose(decoded.positions[0], position + np.array([0.25, 0.0, 0.0]), atol=0.02)


def test_where_the_integral_decides_a_smeared_atom_is_one():
    numbers, positions = termination(3)
    oxygen = np.flatnonzero(numbers == 8)[0]
    rest = grids_of([(np.delete(numbers, oxygen), np.delete(positions, oxygen, axis=0))])
    whole = grids_of([(numbers, positions)])
    displaced = positions.copy()
    displaced[oxygen] += np.array([0.9, 0.9, 0.4])  # 1.3 Å, beyond what is merged
    smeared = rest + 0.65 * (whole - rest) + 0.65 * (grids_of([(numbers, displaced)]) - rest)
    (by_integral,) = backmap(smeared, SPEC, BackmappingSettings(integral_decides=True))
    assert len(by_integral.numbers) == len(numbers)
    (by_amplitude,) = backmap(smeared, SPEC)
    assert len(by_amplitude.numbers) == len(numbers) + 1


def test_unreadable_grids_have_reasons():
    good = grids_of([termination(0)])
    broken = good.clone()
    broken[0, 1, 3, 3, 3] = torch.nan
    noise = torch.rand(good.shape, generator=torch.Generator().manual_seed(0), dtype=good.dtype)
    decoded = backmap(torch.cat([good, broken, torch.zeros_like(good), noise, torch.ones_like(good)]), SPEC)
    assert [d.reason for d in decoded] == [None, "non_finite", "empty_grid", "overcrowded", "overcrowded"]
    assert [d.reason for d in backmap(noise, SPEC)] == ["overcrowded"]  # with no other grid beside it
    assert len(decoded[2].numbers) == 0 and decoded[2].positions.shape == (0, 3)
    assert backmap(torch.zeros(0, 2, 16, 16, 16), SPEC) == []


def test_one_bad_grid_changes_nothing_for_its_neighbours():
    structures = [termination(seed) for seed in range(3)]
    grids = grids_of(structures)
    alone = backmap(grids[:1], SPEC)[0]
    grids[1] = torch.inf
    together = backmap(grids, SPEC)
    # matrix products of another batch size may differ in the last digit
    np.testing.assert_allclose(together[0].positions, alone.positions, atol=1e-12)
    assert errors_of(together[2], structures[2]).max() < 1e-9


def test_numpy_and_single_precision_are_read_too():
    structure = termination(4)
    (decoded,) = backmap(grids_of([structure]).float().numpy(), SPEC, BackmappingSettings(r2_min=0.9))
    # float32 values carry 6e-8 of a peak; the bound for such noise is 3e-8 Å
    assert errors_of(decoded, structure).max() < 1e-6


def test_grids_of_another_shape_are_refused():
    with pytest.raises(GridError, match=r"\(1, 1, 16, 16, 16\).*\(batch, 2, 16, 16, 16\)"):
        backmap(torch.zeros(1, 1, 16, 16, 16), SPEC)


def test_normal_matrix_and_gradient_are_those_of_the_dense_jacobian():
    spec = GridSpec((6, 5, 7), ("O",), 0.5, (0.0, 0.0, 0.0), (2.5, 2.2, 3.5), clip=False)
    generator = torch.Generator().manual_seed(2)
    atoms = Gaussians(
        torch.rand(1, 3, 3, generator=generator, dtype=torch.float64) * 2.0 + 0.3,
        torch.rand(1, 3, generator=generator, dtype=torch.float64) + 0.5,
        torch.ones(1, 3, dtype=torch.bool),
    )
    data = torch.rand(1, 6, 35, generator=generator, dtype=torch.float64)

    def model(parameters: torch.Tensor) -> torch.Tensor:
        x, y, z = (axis_profiles(parameters[:, axis + 1], spec, axis) for axis in range(3))
        return torch.einsum("n,nx,ny,nz->xyz", parameters[:, 0], x, y, z).reshape(6, 35)

    parameters = torch.cat([atoms.amplitudes[0, :, None], atoms.positions[0]], dim=1)
    jacobian = torch.autograd.functional.jacobian(model, parameters).reshape(6 * 35, 12)
    evaluation = evaluate(data, None, atoms, spec)
    residuals = (data[0] - model(parameters)).reshape(-1)
    torch.testing.assert_close(evaluation.gradient[0].reshape(-1), jacobian.T @ residuals)
    torch.testing.assert_close(normal_matrix(evaluation.profiles, atoms.amplitudes)[0], jacobian.T @ jacobian)


@settings(max_examples=20, deadline=None)
@example(seed=1215, lengths=(3.0, 2.5, 3.0), periodic=(False, False, False), clip=False)
@given(
    seed=st.integers(0, 10**6),
    lengths=st.tuples(*[st.floats(2.5, 9.0)] * 3),
    periodic=st.tuples(*[st.booleans()] * 3),
    clip=st.booleans(),
)
def test_fitting_grid_by_grid_where_atoms_reach_equals_fitting_all_voxels_at_once(seed, lengths, periodic, clip):
    rng = np.random.default_rng(seed)
    shape = tuple(int(np.ceil(length / 0.5)) for length in lengths)
    spec = GridSpec(shape, ("O",), 0.45, (0.2, -0.3, 1.0), lengths, periodic, clip)
    true = Gaussians(
        torch.as_tensor(spec.origin) + torch.as_tensor(rng.random((2, 4, 3)) * lengths),
        torch.as_tensor(rng.uniform(0.6, 1.0, (2, 4))),
        torch.as_tensor(rng.random((2, 4)) < 0.8),
    )
    x, y, z = (axis_profiles(true.positions[..., axis], spec, axis) for axis in range(3))
    data = torch.einsum("bn,bnx,bny,bnz->bxyz", true.amplitudes * true.present, x, y, z)
    data += 0.01 * torch.as_tensor(rng.normal(size=data.shape))
    data = data.clamp(max=1.0).flatten(2)
    clipped = data >= 1.0 if clip else None
    start = Gaussians(true.positions + torch.as_tensor(rng.normal(0, 0.03, (2, 4, 3))), true.amplitudes, true.present)
    one, other = (
        method(data, clipped, start.squeezed(4), spec, 400, 1e-9, *reach)
        for method, reach in ((_fit_compiled, [8.5]), (_fit_batch, []))
    )
    errors = [
        residuals_and_weights(data, clipped, atoms, spec, 8.5)[0].square().sum(dim=(1, 2)) for atoms in (one, other)
    ]
    # both end where a step gains less than 1e-3 of a mean square residual; steps that were refused count as iterations
    # in the batch only, hence so many
    torch.testing.assert_close(errors[0], errors[1], rtol=1e-4, atol=0)
    reached, shares = residuals_and_weights(data, clipped, one, spec, 8.5)
    everywhere, all_shares = _residuals_everywhere(data, clipped, one, spec)
    torch.testing.assert_close(reached, everywhere, atol=1e-12, rtol=0)
    torch.testing.assert_close(shares[one.present], all_shares[one.present], atol=1e-9, rtol=0)
