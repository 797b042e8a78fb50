"""Labelled frames: a structure with its reference energy, forces and perhaps virial; in files and as a hash."""

import hashlib
import io
import lzma
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read, write

ENERGY_KEY = "ref_energy"
FORCES_KEY = "ref_forces"
VIRIAL_KEY = "ref_virial"


def labelled_atoms(frame: Mapping[str, Any]) -> Atoms:
    """A frame of plain values, as `Recorder` keeps it."""
    atoms = Atoms(frame["numbers"], positions=frame["positions"], cell=frame["cell"], pbc=frame["pbc"])
    atoms.info.update({name: frame[name] for name in ("key", "step", "config_type", "family", ENERGY_KEY)})
    atoms.arrays[FORCES_KEY] = np.array(frame[FORCES_KEY])
    if VIRIAL_KEY in frame:
        atoms.info[VIRIAL_KEY] = np.ravel(frame[VIRIAL_KEY])
    return atoms


def write_data(frames: Iterable[Atoms], path: Path) -> None:
    """Write labelled frames as xz-compressed extended XYZ; equal frames give equal bytes."""
    plain = path.with_suffix("")
    write(plain, list(frames), format="extxyz", write_results=False)
    path.write_bytes(lzma.compress(plain.read_bytes(), preset=9))
    plain.unlink()


def read_data(path: Path) -> list[Atoms]:
    """Labelled frames of a file that `write_data` wrote."""
    # decompressed as a whole: ASE jumps back to the start of every frame, which a compressed stream makes quadratic
    stream = io.StringIO(lzma.decompress(path.read_bytes()).decode())
    return list(read(stream, index=":", format="extxyz"))


def data_hash(data: Sequence[Atoms]) -> str:
    """SHA-256 of structures and labels, whatever file they came from."""
    digest = hashlib.sha256()
    for atoms in data:
        digest.update(atoms.numbers.astype("<i8").tobytes())
        for array in (atoms.positions, atoms.cell.array, atoms.arrays[FORCES_KEY], atoms.info[ENERGY_KEY]):
            digest.update((np.round(np.asarray(array, dtype="<f8"), 7) + 0.0).tobytes())
    return digest.hexdigest()
