"""Weights to start from, together with everything they were trained on, which counts as known."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from searcher.errors import InputError
from searcher.structures.files import read_structures, write_compressed

WEIGHTS = "weights.safetensors"
RECORD = "warm_start.json"
STRUCTURES = "structures.extxyz.xz"


@dataclass(frozen=True)
class PretrainingMinimum:
    """A relaxed structure the weights have seen, with the recorded part of its relaxation."""

    id: str
    atoms: Atoms
    energy: float
    """eV"""
    path: tuple[tuple[int, Atoms, float], ...]
    """(force call, structure, energy in eV above the minimum)"""


@dataclass(frozen=True)
class WarmStart:
    """A folder that `network.warm_start` may name."""

    folder: Path
    template: str
    potential: str
    minima: tuple[PretrainingMinimum, ...]

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS


def load_warm_start(folder: Path) -> WarmStart:
    """Read a warm start.

    Raises
    ------
    InputError
        If the folder, or a file of it, is missing or damaged.
    """
    for name in (WEIGHTS, RECORD, STRUCTURES):
        if not (folder / name).is_file():
            raise InputError(f"`network.warm_start`: `{folder / name}` does not exist; `searcher train` writes it")
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        template, potential = str(record["template"]), str(record["potential"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"`network.warm_start`: `{folder / RECORD}` is damaged ({error})") from None
    return WarmStart(folder, template, potential, _minima(folder / STRUCTURES))


def write_warm_start(folder: Path, record: dict[str, Any], minima: Sequence[PretrainingMinimum]) -> None:
    """Write the record and the structures beside the weights."""
    frames = []
    for minimum in minima:
        for call, atoms, excess in ((-1, minimum.atoms, 0.0), *minimum.path):
            frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            frame.info = {"minimum": minimum.id, "call": call, "slab_energy_eV": minimum.energy, "excess_eV": excess}
            frames.append(frame)
    write_compressed(folder / STRUCTURES, frames)
    (folder / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _minima(path: Path) -> tuple[PretrainingMinimum, ...]:
    grouped: dict[str, list[Atoms]] = {}
    for atoms in read_structures(path):
        grouped.setdefault(str(atoms.info["minimum"]), []).append(atoms)
    minima = []
    for name, frames in grouped.items():
        first, *rest = frames
        steps = tuple((int(f.info["call"]), f, float(f.info["excess_eV"])) for f in rest)
        minima.append(PretrainingMinimum(name, first, float(first.info["slab_energy_eV"]), steps))
    return tuple(minima)
