"""RuO2(110) slabs with energies from published figures."""

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from searcher.structures.crystal import Crystal

ENERGY_BULK, HALF_O2 = -24.0, -4.9  # eV, arbitrary: they cancel
BINDING = {"ru": 2.3, "br": 0.0, "cus": -1.0}  # eV per face, against ½O2 and O_br; Kim 2001
EXCESS = {"ru": -1, "br": 0, "cus": 1}  # O per (1×1) face
GAMMA_BRIDGE = 0.071  # eV/Å²


def with_energy(atoms: Atoms, energy: float) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


def reference_structures(shift_metal: float = 0.0, shift_oxygen: float = 0.0) -> list[tuple[str, Atoms]]:
    """Bulk of two formula units and O2, with energies shifted per atom."""
    bulk = with_energy(Crystal().bulk(), 2 * (ENERGY_BULK + shift_metal + 2 * shift_oxygen))
    oxygen = Atoms("O2", positions=[[0, 0, 0], [0, 0, 1.21]], cell=[9, 10, 11], pbc=True)
    return [("bulk", bulk), ("O2", with_energy(oxygen, 2 * (HALF_O2 + shift_oxygen)))]


def published(build_slab, repeat=(1, 1), shift_metal=0.0, shift_oxygen=0.0) -> list[tuple[str, Atoms]]:
    """Symmetric slabs of the three planar (110) terminations with energies from published γ and binding energies."""
    slabs = []
    for name, binding in BINDING.items():
        atoms = build_slab(name, 5, bottom=name) * (*repeat, 1)
        cells = repeat[0] * repeat[1]
        area = float(atoms.cell[0, 0] * atoms.cell[1, 1])
        n_metal = int(np.count_nonzero(atoms.numbers == 44))
        energy = n_metal * ENERGY_BULK + 2 * area * GAMMA_BRIDGE
        energy += 2 * cells * (EXCESS[name] * HALF_O2 + binding)
        energy += n_metal * shift_metal + (len(atoms) - n_metal) * shift_oxygen
        slabs.append((name, with_energy(atoms, energy)))
    return slabs
