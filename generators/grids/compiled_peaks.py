"""Local maxima on the CPU: a voxel is done with at the first neighbour that exceeds it."""

import numpy as np
from numba import njit

from generators.grids.compiled import COMPILED


def local_maxima(grids: np.ndarray, floors: np.ndarray, periodic: tuple[bool, bool, bool]) -> np.ndarray:
    """Voxels above a floor that none of their 26 neighbours exceeds.

    Parameters
    ----------
    grids : array of float64, shape (batch, nx, ny, nz)
    floors : array of float64, shape (batch,)
    periodic : tuple of bool, shape (3,)

    Returns
    -------
    numpy.ndarray of bool, shape (batch, nx, ny, nz)
    """
    found = np.zeros(grids.shape, dtype=np.bool_)
    _mark(found, np.ascontiguousarray(grids), floors, np.asarray(periodic))
    return found


@njit(**COMPILED)
def _mark(found, grids, floors, periodic):  # type: ignore[no-untyped-def]
    for row in range(len(grids)):
        grid = grids[row]
        nx, ny, nz = grid.shape
        for i in range(nx):
            for j in range(ny):
                for k in range(nz):
                    if grid[i, j, k] > floors[row]:
                        found[row, i, j, k] = _is_highest(grid, i, j, k, periodic)


@njit(**COMPILED)
def _is_highest(grid, i, j, k, periodic):  # type: ignore[no-untyped-def]
    nx, ny, nz = grid.shape
    for dx in (0, -1, 1):
        x = i + dx
        if (x < 0 or x >= nx) and not periodic[0]:
            continue
        for dy in (0, -1, 1):
            y = j + dy
            if (y < 0 or y >= ny) and not periodic[1]:
                continue
            for dz in (0, -1, 1):
                z = k + dz
                if (z < 0 or z >= nz) and not periodic[2]:
                    continue
                if grid[x % nx, y % ny, z % nz] > grid[i, j, k]:
                    return False
    return True
