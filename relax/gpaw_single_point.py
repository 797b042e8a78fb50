"""One DFT calculation by GPAW: ``python gpaw_single_point.py input.json output.json``.

Runs under whichever Python has GPAW, so it imports nothing of this project.
Mortensen et al., J. Chem. Phys. 160, 092503 (2024).
"""

import json
import math
import sys
from pathlib import Path

from ase import Atoms
from gpaw import GPAW, PW, FermiDirac, Mixer


def main(source: Path, target: Path) -> None:
    """Read a structure with settings as `relax.gpaw_process` writes them; write energies in eV and forces in eV/Å."""
    task = json.loads(source.read_text())
    settings = task["settings"]
    atoms = Atoms(task["numbers"], positions=task["positions"], cell=task["cell"], pbc=task["pbc"])
    periods = [
        math.ceil(settings["kpoint_length"] / length - 1e-9) if periodic else 1
        for length, periodic in zip(atoms.cell.lengths(), task["sampled"], strict=True)
    ]
    atoms.calc = GPAW(
        mode=PW(settings["cutoff"]),
        xc=settings["xc"],
        kpts={"size": periods, "gamma": True},
        occupations=FermiDirac(settings["smearing"]),
        mixer=Mixer(0.1, 8, 50.0),
        maxiter=settings["max_iterations"],
        spinpol=False,
        txt="-",
    )
    energy = atoms.get_potential_energy()
    answer = {
        "energy": float(energy),
        "free_energy": float(atoms.get_potential_energy(force_consistent=True)),
        "forces": atoms.get_forces().tolist(),
        "kpoints": periods,
    }
    target.write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
