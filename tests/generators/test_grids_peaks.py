"""Maxima of grids: each atom once, its centre from three voxels per axis."""

import numpy as np
import pytest
import torch

from generators.grids.compiled_peaks import local_maxima
from generators.grids.density import densities, pack
from generators.grids.peaks import _local_maxima, find_peaks
from generators.grids.spec import GridSpec

SPEC = GridSpec((16, 16, 16), ("O",), 0.4, (0.0, 0.0, 5.0), (6.4, 6.24, 7.2), clip=False)


def peaks_of(positions: np.ndarray, spec: GridSpec = SPEC, minimum: float = 0.3):
    grids = densities(*pack([(np.full(len(positions), 8), positions)], spec), spec)[:, 0]
    return find_peaks(grids, spec, torch.tensor([minimum], dtype=torch.float64))


def test_a_single_gaussian_is_found_exactly():
    position = np.array([[3.07, 2.9, 8.77]])
    peaks = peaks_of(position)
    # tails of periodic images, exp(-(6.24 - h)²/2σ²), are far below rounding
    np.testing.assert_allclose(peaks.positions.numpy(), position, atol=1e-12)
    np.testing.assert_allclose(peaks.heights.numpy(), [1.0], atol=1e-12)


@pytest.mark.parametrize("offset", [(0.5, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.5, 0.5), (0.0, 0.0, 0.5)])
def test_an_atom_half_way_between_voxels_is_one_peak(offset):
    position = (np.array(SPEC.origin) + (4.5 + np.array(offset)) * SPEC.spacing)[None]
    peaks = peaks_of(position)
    assert len(peaks.grid) == 1
    np.testing.assert_allclose(peaks.positions.numpy(), position, atol=1e-7)


def test_an_atom_on_the_periodic_face_is_one_peak():
    peaks = peaks_of(np.array([[0.0, 6.24, 8.6]]))
    assert len(peaks.grid) == 1
    offset = peaks.positions[0, :2].numpy() / SPEC.lengths[:2]
    np.testing.assert_allclose(offset - np.round(offset), 0.0, atol=1e-7)


def test_a_clipped_plateau_is_one_peak():
    positions = np.array([[3.0, 3.0, 8.6]])
    grids = (3.0 * densities(*pack([(np.array([8]), positions)], SPEC), SPEC)[:, 0]).clamp(max=1.0)
    peaks = find_peaks(grids, SPEC, torch.tensor([0.3], dtype=torch.float64))
    assert len(peaks.grid) == 1
    assert np.linalg.norm(peaks.positions[0].numpy() - positions[0]) < np.linalg.norm(SPEC.spacing)


def test_peaks_come_by_grid_and_falling_height():
    near_ends = np.array([[1.0, 1.0, 6.5], [4.2, 4.0, 8.6], [1.2, 4.3, 10.6]])
    grids = densities(*pack([(np.full(3, 8), near_ends), (np.array([8]), near_ends[:1])], SPEC), SPEC)[:, 0]
    grids[0] *= torch.linspace(0.5, 1.0, 16, dtype=torch.float64)
    peaks = find_peaks(grids, SPEC, torch.tensor([0.3, 0.3], dtype=torch.float64))
    assert peaks.grid.tolist() == [0, 0, 0, 1]
    assert peaks.ranks().tolist() == [0, 1, 2, 0]
    assert bool((peaks.heights[:3].diff() < 0).all())


def test_an_empty_grid_has_no_peaks():
    assert len(find_peaks(torch.zeros(2, 16, 16, 16), SPEC, torch.full((2,), 0.3, dtype=torch.float64)).grid) == 0


@pytest.mark.parametrize("periodic", [(True, True, True), (True, True, False), (False, False, False)])
@pytest.mark.parametrize("shape", [(2, 7, 6, 5), (1, 1, 6, 5), (1, 2, 2, 2)])
def test_maxima_on_the_cpu_are_those_of_the_filter(periodic, shape):
    grids = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    floor = torch.full((shape[0],), 0.4, dtype=torch.float64)
    found = torch.from_numpy(local_maxima(grids.numpy(), floor.numpy(), periodic))
    assert torch.equal(found, _local_maxima(grids, floor, periodic)) and found.any()
