"""Small structures that the tests of this room share."""

import numpy as np
from ase import Atoms
from ase.build import surface
from ase.constraints import FixAtoms
from ase.spacegroup import crystal


def rutile() -> Atoms:
    """Rutile RuO2 with its experimental lattice (Bolzan 1997), metal first."""
    atoms = crystal(
        ["Ru", "O"],
        basis=[(0, 0, 0), (0.3053, 0.3053, 0)],
        spacegroup=136,
        cellpar=[4.4968, 4.4968, 3.1049, 90, 90, 90],
    )
    return Atoms(atoms.numbers, scaled_positions=atoms.get_scaled_positions(), cell=atoms.cell, pbc=True)


def distorted_slab(seed: int, width: float = 0.12) -> Atoms:
    """A (100) slab of 12 atoms whose lower half is frozen and whose upper half is displaced."""
    slab = surface(rutile(), (1, 0, 0), 2, vacuum=6.0, periodic=True)
    slab.pbc = (True, True, False)
    slab = slab[np.argsort(slab.positions[:, 2], kind="stable")]
    frozen = len(slab) // 2
    rng = np.random.default_rng(seed)
    slab.positions[frozen:] += rng.normal(0, width, (len(slab) - frozen, 3))
    slab.set_constraint(FixAtoms(indices=range(frozen)))
    return slab


def payload(atoms: Atoms, potential: dict, **more: object) -> dict:
    """A worker's task for a structure."""
    frozen = [int(i) for c in atoms.constraints for i in c.get_indices()]
    return {
        "potential": potential,
        "numbers": atoms.numbers,
        "positions": atoms.positions.copy(),
        "cell": atoms.cell.array,
        "pbc": atoms.pbc.tolist(),
        "frozen": frozen,
        **more,
    }
