"""What a structure from a file is: a slab with a facet and faces, or bulk, metal or molecule to refer energies to."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import spglib
from ase import Atoms
from ase.constraints import FixAtoms

from relax.overlaps import frozen_indices
from searcher.scoring.neighbours import heights
from searcher.structures.crystal import Crystal, orient

OXYGEN = 8
SLAB_VACUUM = 6.0  # Å: a crystal has no such gap, and SOAP does not look across it
BASE_HEIGHT = 1.0  # Å: z of the lowest atom of a slab that was moved into one piece
FACE_TOLERANCE = 0.1  # Å: relaxed slabs with two equal faces keep their symmetry to a few hundredths
LATTICE_TOLERANCE = 0.025  # lattices of different functionals and potentials differ by less than that
FACETS = ("001", "100", "101", "110", "111")
LARGEST_REPEAT = 4
ID_KEYS = ("id", "candidate", "name", "label", "unique_id")

Role = Literal["slab", "bulk", "metal", "oxygen"]
Faces = Literal["one-sided", "symmetric", "mean"]


@dataclass(frozen=True)
class FileStructure:
    """A structure of a file as the program sees it.

    Attributes
    ----------
    id : str
        What the file calls it, else the file's name without its ending, with it and a number if the file holds several.
    atoms : ase.Atoms
        A slab is in one piece, not periodic along z, its frozen atoms first.
    role : {"slab", "bulk", "metal", "oxygen"}
        All but slabs are energies to refer to.
    faces : {"one-sided", "symmetric", "mean"}
        One-sided: frozen layers at the bottom. Symmetric: an operation exchanges the faces. Mean: neither, so that
        only the mean γ of both faces is defined.
    n_frozen : int
    facet : str or None
        As the file says, else from the lateral cell, else unknown.
    energy : float or None
        In eV, from the file.
    """

    id: str
    atoms: Atoms
    role: Role
    faces: Faces
    n_frozen: int
    facet: str | None
    energy: float | None

    @property
    def area(self) -> float:
        """Lateral area in Å²."""
        return float(np.linalg.norm(np.cross(self.atoms.cell[0], self.atoms.cell[1])))

    @property
    def counts(self) -> dict[str, int]:
        """Atoms per element."""
        return {symbol: len(rows) for symbol, rows in self.atoms.symbols.indices().items()}

    @property
    def info(self) -> Mapping[str, Any]:
        """What the file says beside the atoms."""
        return self.atoms.info


def file_structures(named: Sequence[tuple[str, Atoms]], facet: str | None = None) -> list[FileStructure]:
    """Recognise structures.

    Parameters
    ----------
    named : sequence of (file name, structure)
    facet : str, optional
        Of all slabs, instead of what is found.
    """
    ids = structure_ids(named)
    return [_recognise(identifier, atoms, facet) for identifier, (_, atoms) in zip(ids, named, strict=True)]


def infer_facet(lengths: Sequence[float], metal: str = "Ru") -> str | None:
    """The facet whose orthogonal lateral cell, repeated, has these lengths (Å); None if none or several have."""
    if metal != "Ru":
        return None
    nearest: dict[str, float] = {}
    for name in FACETS:
        cell = orient(Crystal(), name).lengths
        for pair in (cell, cell[::-1]):
            for repeat in product(range(1, LARGEST_REPEAT + 1), repeat=2):
                mismatch = float(np.abs(np.asarray(lengths) / (pair * repeat) - 1.0).max())
                if mismatch < min(LATTICE_TOLERANCE, nearest.get(name, np.inf)):
                    nearest[name] = mismatch
    ordered = sorted(nearest, key=nearest.__getitem__)
    alone = len(ordered) == 1 or (ordered and nearest[ordered[0]] < nearest[ordered[1]] / 2)
    return ordered[0] if alone else None


def faces_are_equal(atoms: Atoms, tolerance: float = FACE_TOLERANCE) -> bool:
    """Whether a symmetry operation turns a slab (z its normal) upside down onto itself."""
    periodic = (atoms.cell.array, atoms.get_scaled_positions(wrap=True), atoms.numbers)
    found = spglib.get_symmetry(periodic, symprec=tolerance)
    return found is not None and bool((found["rotations"][:, 2, 2] == -1).any())


def structure_ids(named: Sequence[tuple[str, Atoms]]) -> list[str]:
    """A name for each structure: its own, else its file's, numbered where several would share one."""
    given = [next((str(atoms.info[key]) for key in ID_KEYS if key in atoms.info), "") for _, atoms in named]
    files = [name.rpartition(" #")[0] for name, _ in named]
    of_file = Counter(files)
    alone = [bool(file) and of_file[file] == 1 for file in files]
    names = [
        own or (Path(file).name.partition(".")[0] if single else name)
        for own, file, single, (name, _) in zip(given, files, alone, named, strict=True)
    ]
    repeated = {name for name, count in Counter(names).items() if count > 1}
    seen: dict[str, int] = {}
    ids = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        ids.append(f"{name}~{seen[name]}" if name in repeated else name)
    return ids


def _recognise(identifier: str, atoms: Atoms, facet: str | None) -> FileStructure:
    energy = _energy(atoms)
    n_oxygen = int(np.count_nonzero(atoms.numbers == OXYGEN))
    gap = _vacuum(atoms)
    role: Role = "slab"
    if n_oxygen == len(atoms) == 2:
        role = "oxygen"
    elif not n_oxygen and gap < SLAB_VACUUM:
        role = "metal"
    elif gap < SLAB_VACUUM and len(atoms) == 3 * (n_oxygen // 2) and n_oxygen % 2 == 0:
        role = "bulk"
    if role != "slab":
        return FileStructure(identifier, atoms, role, "symmetric", 0, None, energy)
    slab = _one_piece(atoms)
    n_frozen = len(frozen_indices(slab))
    told = slab.info.get("facet")
    named = facet or (str(told).strip("()").zfill(3) if told is not None else None)
    metals = sorted({str(symbol) for symbol in slab.symbols if symbol != "O"})
    if named is None and len(metals) == 1 and abs(slab.cell.angles()[2] - 90.0) < 0.5:
        named = infer_facet(slab.cell.lengths()[:2].tolist(), metals[0])
    return FileStructure(identifier, slab, role, _faces(slab, n_frozen), n_frozen, named, energy)


def _faces(slab: Atoms, n_frozen: int) -> Faces:
    if "gamma_bottom_eV_per_A2" in slab.info:
        return "one-sided"
    if faces_are_equal(slab):
        return "symmetric"
    lowest_is_frozen = n_frozen and slab.positions[:, 2].argmin() < n_frozen
    highest_is_free = slab.positions[:, 2].argmax() >= n_frozen
    return "one-sided" if lowest_is_frozen and highest_is_free else "mean"


def _energy(atoms: Atoms) -> float | None:
    results = getattr(atoms.calc, "results", {})
    energy = results.get("energy", results.get("free_energy"))
    return float(energy) if energy is not None and np.isfinite(energy) else None


def _vacuum(atoms: Atoms) -> float:
    """Widest empty range along the third cell vector in Å, endless where it is not periodic."""
    if abs(atoms.cell.volume) < 1.0 or not atoms.pbc.all():
        return np.inf
    z = np.sort(atoms.get_scaled_positions(wrap=True)[:, 2])
    gaps = np.diff([*z, z[0] + 1.0])
    return float(gaps.max() * heights(np.linalg.inv(atoms.cell.array))[2])


def _one_piece(atoms: Atoms) -> Atoms:
    """A copy in one piece along its normal, not periodic there, frozen atoms first, each part in its order."""
    slab = atoms.copy()
    slab.calc = None
    if abs(slab.cell.volume) < 1.0:
        return slab
    if slab.pbc[2]:
        fractions = slab.get_scaled_positions(wrap=True)
        order = np.sort(fractions[:, 2])
        gaps = np.diff([*order, order[0] + 1.0])
        start = order[(int(gaps.argmax()) + 1) % len(order)]
        fractions[:, 2] = (fractions[:, 2] - start + 1e-9) % 1.0
        slab.set_scaled_positions(fractions)
        normal = np.cross(slab.cell[0], slab.cell[1])
        normal /= np.linalg.norm(normal)
        height = heights(np.linalg.inv(slab.cell.array))[2] * np.sign(slab.cell[2] @ normal)
        slab.set_cell([slab.cell[0], slab.cell[1], height * normal])
        slab.positions += (BASE_HEIGHT - (slab.positions @ normal).min()) * normal
        slab.pbc = (True, True, False)
    frozen = frozen_indices(slab)
    order = np.concatenate([frozen, np.setdiff1d(np.arange(len(slab)), frozen)]).astype(int)
    slab.set_constraint()
    slab = slab[order]
    slab.set_constraint(FixAtoms(indices=range(len(frozen))) if len(frozen) else None)
    return slab
