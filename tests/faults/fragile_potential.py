"""The analytic stand-in with one poison structure: whoever is asked about it dies, hangs or explodes."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from relax.analytic import AnalyticRuO


class FragileRuO(AnalyticRuO):
    """Misbehaves for structures of `n_atoms` atoms; each time leaves a file in `folder`."""

    def __init__(self, n_atoms, how, folder):
        super().__init__()
        self.n_atoms, self.how, self.folder = n_atoms, how, Path(folder)

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if atoms is None or len(atoms) != self.n_atoms:
            return
        (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        match self.how:
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                os._exit(0)
            case "hang":
                time.sleep(3600)
            case "hole":
                self.results["energy"] = -1e9 * len(list(self.folder.iterdir()))
                self.results["forces"] = np.full((len(atoms), 3), 1e4)
            case "nan":
                self.results["energy"] = float("nan")
