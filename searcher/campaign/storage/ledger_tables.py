"""The ledger's tables, and how slabs and candidates stand in them."""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from ase import Atoms

from searcher.campaign.storage.candidate import Candidate, Gate, slab

SCHEMA_VERSION = 3
POTENTIAL = """
CREATE TABLE potential (
    version INTEGER PRIMARY KEY, hash TEXT NOT NULL, since INTEGER NOT NULL, spec TEXT NOT NULL, record TEXT NOT NULL
)
"""
FRAME = """
CREATE TABLE frame (
    candidate TEXT NOT NULL REFERENCES candidate(id), call INTEGER NOT NULL, potential TEXT NOT NULL,
    energy REAL NOT NULL, data BLOB NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (candidate, call)
)
"""
SCHEMA = f"""
CREATE TABLE fact (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE structure (
    key TEXT PRIMARY KEY, n_atoms INTEGER NOT NULL, n_frozen INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE TABLE candidate (
    id TEXT PRIMARY KEY, iteration INTEGER NOT NULL, arm TEXT NOT NULL, "index" INTEGER NOT NULL, seed INTEGER NOT NULL,
    passed INTEGER NOT NULL, verdict TEXT NOT NULL, reason TEXT, condition TEXT NOT NULL, confidence REAL,
    proposed TEXT REFERENCES structure(key), relaxed TEXT REFERENCES structure(key),
    force_calls INTEGER NOT NULL, fmax REAL, gamma_zero REAL, gamma_slope REAL, energy_class INTEGER,
    kappa REAL, nearest TEXT, above_envelope REAL, label TEXT
);
CREATE INDEX candidate_by_arm ON candidate (iteration, arm);
CREATE TABLE energy (
    candidate TEXT NOT NULL REFERENCES candidate(id), potential TEXT NOT NULL, energy REAL NOT NULL,
    PRIMARY KEY (candidate, potential)
);
CREATE TABLE snapshot (
    candidate TEXT NOT NULL REFERENCES candidate(id), call INTEGER NOT NULL, structure TEXT NOT NULL,
    energy REAL NOT NULL, PRIMARY KEY (candidate, call)
);
CREATE TABLE stage (
    iteration INTEGER NOT NULL, name TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (iteration, name)
);
CREATE TABLE metric (
    iteration INTEGER NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (iteration, name, step)
);
{POTENTIAL};
{FRAME};
"""
MIGRATIONS: dict[int, tuple[str, ...]] = {1: (POTENTIAL,), 2: (FRAME,)}
"""Statements that lead from a schema version to the next one."""

MISSING_STRUCTURES = """
SELECT proposed FROM candidate WHERE proposed IS NOT NULL UNION SELECT relaxed FROM candidate WHERE relaxed IS NOT NULL
UNION SELECT structure FROM snapshot EXCEPT SELECT key FROM structure ORDER BY 1
"""
"""Keys that candidates and their paths name and that are not there."""
COLUMNS = tuple(f.name for f in fields(Candidate))
BYTES_PER_ATOM, CELL_BYTES = 4 + 3 * 8 + 4, 9 * 8


def encode_slab(atoms: Atoms) -> bytes:
    arrays = (
        np.asarray(atoms.numbers, dtype="<i4"),
        np.asarray(atoms.positions, dtype="<f8"),
        np.asarray(atoms.cell.array, dtype="<f8"),
        np.asarray(atoms.get_tags(), dtype="<i4"),
    )
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def decode_slab(data: bytes) -> Atoms:
    """The slab of what `encode_slab` made; how many atoms there are and which are frozen is in the data itself."""
    n_atoms = (len(data) - CELL_BYTES) // BYTES_PER_ATOM
    numbers = np.frombuffer(data, "<i4", n_atoms)
    positions = np.frombuffer(data, "<f8", 3 * n_atoms, 4 * n_atoms).reshape(-1, 3)
    cell = np.frombuffer(data, "<f8", 9, 28 * n_atoms).reshape(3, 3)
    tags = np.frombuffer(data, "<i4", n_atoms, 28 * n_atoms + CELL_BYTES)
    return slab(numbers.copy(), positions.copy(), cell.copy(), int(np.count_nonzero(tags == 0)))


def encode_frame(positions: np.ndarray, forces: np.ndarray) -> bytes:
    return np.asarray(positions, dtype="<f8").tobytes() + np.asarray(forces, dtype="<f8").tobytes()


def decode_frame(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Positions in Å and forces in eV/Å, each (n_atoms, 3)."""
    positions, forces = np.frombuffer(data, "<f8").reshape(2, -1, 3)
    return positions.copy(), forces.copy()


def candidate_row(candidate: Candidate) -> tuple[Any, ...]:
    values = {name: getattr(candidate, name) for name in COLUMNS}
    values["passed"] = int(candidate.passed)
    values["condition"] = json.dumps(dict(candidate.condition), sort_keys=True)
    return tuple(values.values())


def candidate_of(row: Sequence[Any]) -> Candidate:
    values = dict(zip(COLUMNS, row, strict=True))
    values["passed"] = Gate(values["passed"])
    values["condition"] = json.loads(values["condition"])
    return Candidate(**values)
