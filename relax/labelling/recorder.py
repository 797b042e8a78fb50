"""Labels of one task's frames."""

from typing import Any

import numpy as np
from ase import Atoms

from relax.labelling.frames import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY
from relax.labelling.limits import LabelLimits, too_close


class Recorder:
    """Frames of one task that were labelled, as plain values, and reasons of those that were left out.

    Parameters
    ----------
    key : str
        Of the task.
    limits : LabelLimits
        Frames outside are left out.
    """

    def __init__(self, key: str, limits: LabelLimits) -> None:
        self.key = key
        self.limits = limits
        self.frames: list[dict[str, Any]] = []
        self.skipped: list[str] = []

    def record(self, atoms: Atoms, step: int) -> bool:
        """Label one frame, or note why not; False if it was left out."""
        pair = too_close(atoms, self.limits)
        if pair is not None:
            self.skipped.append(f"distance {pair}")
            return False
        energy = float(atoms.get_potential_energy())
        forces = atoms.get_forces(apply_constraint=False)
        largest = float(np.max(np.linalg.norm(forces, axis=1)))
        if not np.isfinite(energy) or not largest <= self.limits.max_force:
            self.skipped.append("force")
            return False
        frame = {
            "key": self.key,
            "step": step,
            "config_type": atoms.info.get("config_type", "default"),
            "family": atoms.info.get("family", self.key),
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
            "pbc": atoms.pbc.tolist(),
            ENERGY_KEY: energy,
            FORCES_KEY: forces.tolist(),
        }
        if atoms.pbc.all() and "stress" in atoms.calc.implemented_properties:
            stress = atoms.get_stress(voigt=False, apply_constraint=False)
            frame[VIRIAL_KEY] = (-atoms.get_volume() * stress).ravel().tolist()
        self.frames.append(frame)
        return True
