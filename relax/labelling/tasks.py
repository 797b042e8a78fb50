"""What is to be labelled, and how it is told from another task.

A task is an `ase.Atoms` with instructions in `info`:

``config_type``   what the structure is, for the fit's error bars (``"bulk"``, ``"slab"`` …)
``family``        structures that must not be split between training and validation share it
``protocol``      ``"single"`` (default), ``"relax"`` or ``"dynamics"``
``steps``         number of force calls of a path
``snapshots``     number of frames kept of a path
``temperature``   K, of a dynamics path
``seed``          of a dynamics path
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

TASK_KEYS = ("config_type", "family", "protocol", "steps", "snapshots", "temperature", "seed")


def task_key(atoms: Atoms, import_path: str, arguments: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that change with structure, protocol or reference calculator."""
    digest = hashlib.sha256()
    for array in (atoms.numbers, atoms.pbc):
        digest.update(np.asarray(array, dtype="<i8").tobytes())
    for array in (atoms.positions, atoms.cell.array):
        digest.update((np.round(array, 8) + 0.0).astype("<f8").tobytes())
    fixed = sorted(int(i) for c in atoms.constraints for i in c.get_indices())
    task = {key: atoms.info[key] for key in TASK_KEYS if key in atoms.info}
    digest.update(json.dumps([fixed, task, import_path, dict(arguments)], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def single_task(frame: Atoms) -> Atoms:
    """A labelled frame as a task for another calculator."""
    atoms = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    atoms.info = {key: frame.info[key] for key in ("config_type", "family")}
    return atoms
