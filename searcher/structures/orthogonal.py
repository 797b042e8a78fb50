"""Any slab or crystal as an orthorhombic cell: orthogonal supercell, repetition towards a square, vacuum cut."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.calculators.singlepoint import SinglePointCalculator

from searcher.errors import InputError

LARGEST_INDEX = 6
ORTHOGONAL = 2e-3
"""Largest cosine between two vectors that count as orthogonal; the cell is squared off by that much."""
EXTENSIVE = ("energy", "free_energy")
SMALLEST_GAP = 4.0
"""Å; an empty layer thinner than this is no vacuum."""


def is_orthorhombic(atoms: Atoms) -> bool:
    """Whether the cell's vectors lie along x, y and z, within what squaring off would change."""
    lengths = atoms.cell.lengths()
    if lengths.min() <= 0.0:
        return False
    return bool(np.abs(atoms.cell.array / lengths[:, None] - np.eye(3)).max() <= ORTHOGONAL)


def orthogonal_supercell(atoms: Atoms, extensive: Sequence[str] = EXTENSIVE) -> Atoms:
    """The smallest orthogonal supercell, turned so that its vectors lie along x, y and z.

    x and y span the plane of the first two cell vectors, z is its normal. Where the third vector leans and there is
    no lattice along it (``pbc`` is false or the slab has vacuum), its normal component becomes the cell's height.

    Parameters
    ----------
    atoms : ase.Atoms
        With three cell vectors.
    extensive : sequence of str
        Keys of `info` that are multiplied by the growth of the cell, as is the energy of an attached calculator;
        its forces turn with the atoms. Stress and what else it holds are dropped.

    Raises
    ------
    InputError
        If the cell is zero or flat, or has no orthogonal supercell within indices of ±6.
    """
    cell = atoms.cell.array
    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-6:
        raise InputError(
            f"`cell` is {cell.round(3).tolist()} Å but must have three independent vectors: is it a molecule?"
        )
    matrix = _orthogonal_matrix(atoms)
    n = round(float(np.linalg.det(matrix)))
    grown = make_supercell(atoms, matrix)
    frame, lengths = _frame(grown.cell.array)
    along = grown.cell.array.copy()
    along[2] = lengths[2] * frame[2]  # the normal component, where the third vector leans
    squared = Atoms(
        numbers=grown.numbers,
        positions=np.linalg.solve(along.T, grown.positions.T).T * lengths,
        cell=np.diag(lengths),
        pbc=atoms.pbc,
        info={key: value * n if key in extensive else value for key, value in atoms.info.items()},
    )
    for name, values in grown.arrays.items():
        if name not in squared.arrays:
            squared.set_array(name, values)
    squared.set_constraint(grown.constraints)
    squared.calc = _scaled_results(atoms, squared, n, frame)
    return squared


def _scaled_results(atoms: Atoms, grown: Atoms, n: int, frame: np.ndarray) -> SinglePointCalculator | None:
    """Energy times `n`, forces repeated and turned, of what an attached calculator has at hand."""
    known = getattr(atoms.calc, "results", {})
    results = {name: known[name] * n for name in EXTENSIVE if name in known}
    if "forces" in known:
        results["forces"] = np.tile(known["forces"], (n, 1)) @ frame.T
    return SinglePointCalculator(grown, **results) if results else None


def _frame(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes (3, 3) along a cell whose first two vectors are orthogonal, and its lengths along them."""
    x = cell[0] / np.linalg.norm(cell[0])
    z = np.cross(cell[0], cell[1])
    z /= np.linalg.norm(z)
    frame = np.array([x, np.cross(z, x), z])
    return frame, np.array([*np.linalg.norm(cell[:2], axis=1), cell[2] @ z])


def _orthogonal_matrix(atoms: Atoms) -> np.ndarray:
    """Whole numbers (3, 3) that make the cell orthogonal, of positive determinant."""
    cell = atoms.cell.array
    steps = range(-LARGEST_INDEX, LARGEST_INDEX + 1)
    plane = [(i, j, 0) for i, j in product(steps, steps) if (i, j) > (0, 0)]
    best: tuple[float, np.ndarray] | None = None
    for first, second in product(plane, plane):
        pair = np.array([first, second])
        if pair[0, 0] * pair[1, 1] - pair[0, 1] * pair[1, 0] <= 0:
            continue
        u, v = pair @ cell
        lengths = np.linalg.norm(u), np.linalg.norm(v)
        if abs(u @ v) <= ORTHOGONAL * lengths[0] * lengths[1]:
            # of equal areas the one nearest to a square, and of those the one that leaves the cell as it is
            size = float(lengths[0] * lengths[1] * (1 + 1e-3 * abs(np.log(lengths[0] / lengths[1]))))
            size += 1e-6 * float(np.abs(pair - np.eye(2, 3)).sum())
            if best is None or size < best[0] - 1e-9:
                best = (size, pair)
    if best is None:
        raise InputError(
            f"`cell` {_lengths_and_angles(atoms)} has no orthogonal supercell within indices of ±{LARGEST_INDEX}"
        )
    return np.array([*best[1], _along_normal(atoms, best[1])])


def _along_normal(atoms: Atoms, plane: np.ndarray) -> np.ndarray:
    """Smallest lattice vector along the plane's normal, else the third one if nothing but vacuum repeats along it."""
    cell = atoms.cell.array
    u, v = plane @ cell
    normal = np.cross(u, v)
    normal /= np.linalg.norm(normal)
    sign = 1 if cell[2] @ normal > 0 else -1
    steps = range(-2 * LARGEST_INDEX, 2 * LARGEST_INDEX + 1)
    for k in range(1, LARGEST_INDEX + 1):
        for i, j in sorted(product(steps, steps), key=lambda ij: abs(ij[0]) + abs(ij[1])):
            vector = np.array([i, j, sign * k]) @ cell
            if vector @ normal >= (1 - 0.5 * ORTHOGONAL**2) * np.linalg.norm(vector):
                return np.array([i, j, sign * k])
    if sign > 0 and (not atoms.pbc[2] or _largest_gap(atoms)[0] >= SMALLEST_GAP):
        return np.array([0, 0, 1])
    raise InputError(
        f"`cell` {_lengths_and_angles(atoms)} has no lattice vector along its normal within ±{LARGEST_INDEX}"
    )


def _lengths_and_angles(atoms: Atoms) -> str:
    return " ".join(f"{value:.3f}" for value in atoms.cell.cellpar()) + " (Å, °)"


def repeat_towards_square(atoms: Atoms, most_atoms: int = 400, extensive: Sequence[str] = EXTENSIVE) -> Atoms:
    """Repeat an orthorhombic cell along its shorter lateral side until the sides are as equal as they get.

    Parameters
    ----------
    atoms : ase.Atoms
        Orthorhombic.
    most_atoms : int
        The repetition stops before it has more.
    extensive : sequence of str
        As in `orthogonal_supercell`.

    Raises
    ------
    InputError
        If the cell is not orthorhombic.
    """
    _require_orthorhombic(atoms)
    lengths = atoms.cell.lengths()
    short = int(np.argmin(lengths[:2]))
    ratio = float(lengths[1 - short] / lengths[short])
    options = [n for n in (1, int(ratio), int(ratio) + 1) if n == 1 or n * len(atoms) <= most_atoms]
    n = min(options, key=lambda option: abs(np.log(ratio / option)))
    repeats = [1, 1, 1]
    repeats[short] = n
    repeated = atoms.repeat(tuple(repeats))
    repeated.info = {key: value * n if key in extensive else value for key, value in atoms.info.items()}
    repeated.calc = _scaled_results(atoms, repeated, n, np.eye(3))
    return repeated


def with_vacuum(atoms: Atoms, vacuum: float = 12.0) -> Atoms:
    """An orthorhombic slab, in one piece along z, between two halves of `vacuum` in Å.

    Energies and forces stay: what is cut away holds no atoms, and 12 Å are beyond the reach of short-ranged potentials.

    Raises
    ------
    InputError
        If the cell is not orthorhombic, `vacuum` is not positive, or no empty layer of 4 Å separates the slab's images.
    """
    _require_orthorhombic(atoms)
    if not (np.isfinite(vacuum) and vacuum > 0):
        raise InputError(f"`vacuum` is {vacuum} Å but must be positive")
    gap, start = _largest_gap(atoms)
    if atoms.pbc[2] and gap < SMALLEST_GAP:
        raise InputError(
            f"the largest empty layer along z is {gap:.2f} Å but vacuum has {SMALLEST_GAP} Å or more: is this a slab?"
        )
    slab = atoms.copy()
    height = slab.cell[2, 2]
    z = slab.positions[:, 2]
    z = start + (z - start) % height if slab.pbc[2] else z
    moved = slab.positions.copy()
    moved[:, 2] = z - z.min() + 0.5 * vacuum
    slab.set_positions(moved, apply_constraint=False)
    slab.set_cell([slab.cell[0], slab.cell[1], [0.0, 0.0, float(np.ptp(z)) + vacuum]])
    slab.calc = _scaled_results(atoms, slab, 1, np.eye(3))
    return slab


def _require_orthorhombic(atoms: Atoms) -> None:
    if not is_orthorhombic(atoms):
        raise InputError(f"`cell` {_lengths_and_angles(atoms)} is not orthorhombic: make an orthogonal supercell first")


def _largest_gap(atoms: Atoms) -> tuple[float, float]:
    """Height of the largest empty layer along the normal in Å, and the height at which the atoms above it begin."""
    normal = np.cross(atoms.cell[0], atoms.cell[1])
    normal /= np.linalg.norm(normal)
    period = abs(float(atoms.cell[2] @ normal))
    heights = np.sort(atoms.positions @ normal % period)
    gaps = np.diff(np.append(heights, heights[0] + period))
    last = int(np.argmax(gaps))
    return float(gaps[last]), float(heights[(last + 1) % len(heights)])
