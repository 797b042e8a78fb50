"""The energies that surface energies are measured against: the bulk oxide and the oxygen molecule.

Both depend on nothing but the potential, so they are kept in a JSON file per potential hash.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from relax.oxide import metal_crystal
from relax.potential import CountingCalculator, PotentialError, PotentialSpec, build_calculator, potential_hash

FORMATION_ENTHALPY_RUO2: Final = -3.141
"""eV per formula unit at 298 K, from −303.05 kJ/mol."""
FMAX: Final = 0.005
"""eV/Å; an energy of a formula unit is then good to well below 0.1 meV."""
MAX_STEPS: Final = 300

OxygenScheme = Literal["raw", "fitted"]


@dataclass(frozen=True)
class References:
    """What a potential says of bulk, metal and molecule.

    Attributes
    ----------
    potential_hash : str
    a, c : float
        Lattice lengths of the rutile crystal in Å.
    u : float
        Internal coordinate of oxygen.
    energy_bulk : float
        eV per formula unit MO2.
    energy_metal : float
        eV per atom of the metal crystal.
    energy_o2 : float
        eV per molecule.
    evaluated_by : str
        What evaluated the potential: machine code, quippy and why, or the calculator's name.
    """

    potential_hash: str
    a: float
    c: float
    u: float
    energy_bulk: float
    energy_metal: float
    energy_o2: float
    evaluated_by: str = ""

    @property
    def formation_enthalpy(self) -> float:
        """eV per formula unit, E(MO2) − E(M) − E(O2), without vibrations."""
        return self.formation_energy(self.energy_o2 / 2)

    def formation_energy(self, half_o2: float) -> float:
        """The same with another energy per O atom to count from, in eV."""
        return self.energy_bulk - self.energy_metal - 2 * half_o2

    def half_o2(self, scheme: OxygenScheme, formation_enthalpy: float = FORMATION_ENTHALPY_RUO2) -> float:
        """Energy per O atom that Δμ_O counts from.

        Parameters
        ----------
        scheme : "raw" or "fitted"
            Half of the molecule's energy, or the value at which the oxide's formation enthalpy is `formation_enthalpy`.
        formation_enthalpy : float
            In eV per formula unit.

        Returns
        -------
        float
            In eV.

        Raises
        ------
        PotentialError
            If there is no such scheme.
        """
        if scheme == "raw":
            return self.energy_o2 / 2
        if scheme == "fitted":
            return (self.energy_bulk - self.energy_metal - formation_enthalpy) / 2
        raise PotentialError(f"`oxygen_reference` is {scheme!r} but must be 'raw' or 'fitted'")


def bulk_reference(
    spec: PotentialSpec, bulk_atoms: Atoms, cache: Path | None = None, metal_lattice: str = "hcp"
) -> References:
    """Relax crystal, metal and molecule; or read what was found before with the same potential.

    Builds the potential in this process, so call it in a worker if it is a GAP.

    Parameters
    ----------
    spec : PotentialSpec
    bulk_atoms : ase.Atoms
        Conventional rutile cell, two formula units, metal first, oxygen at (u, u, 0).
    cache : pathlib.Path, optional
        Folder of results.
    metal_lattice : str
        Crystal structure of the metal as `ase.build.bulk` names it.

    Raises
    ------
    PotentialError
        If the potential cannot be made or a relaxation does not converge.
    """
    metal = bulk_atoms.get_chemical_symbols()[0]
    digest = potential_hash(spec)
    kept = cache / f"references-{metal}-{digest}.json" if cache is not None else None
    if kept is not None and kept.is_file():
        return References(**json.loads(kept.read_text()))
    references = measure_references(build_calculator(spec), digest, bulk_atoms, metal_lattice)
    if kept is not None:
        _write_whole(kept, json.dumps(asdict(references), indent=2) + "\n")
    return references


def measure_references(
    calculator: Calculator, digest: str, bulk_atoms: Atoms, metal_lattice: str = "hcp"
) -> References:
    """`bulk_reference` for a calculator that is already built; of a GAP quippy measures, see `CountingCalculator`."""
    evaluated_by = str(getattr(calculator, "evaluated_by", type(calculator).__name__))
    if isinstance(calculator, CountingCalculator):
        calculator = calculator.of_references()
    metal = bulk_atoms.get_chemical_symbols()[0]
    crystal = relaxed_crystal(bulk_atoms, calculator)
    oxygen = int(np.flatnonzero(crystal.get_chemical_symbols() == np.array("O"))[0])
    fraction = (crystal.get_scaled_positions() - crystal.get_scaled_positions()[0])[oxygen, 0] % 1.0
    element = relaxed_crystal(metal_crystal(metal, metal_lattice), calculator)
    molecule = Atoms("O2", positions=[[6, 7, 7], [7.23, 7, 7]], cell=[14.0, 14.5, 15.0], pbc=True)
    molecule.calc = calculator
    _converge(BFGS(molecule, logfile=os.devnull), "O2 molecule")
    return References(
        potential_hash=digest,
        a=float(crystal.cell.lengths()[0]),
        c=float(crystal.cell.lengths()[2]),
        u=float(min(fraction, 1.0 - fraction)),
        energy_bulk=float(crystal.get_potential_energy()) / (len(crystal) / 3),
        energy_metal=float(element.get_potential_energy()) / len(element),
        energy_o2=float(molecule.get_potential_energy()),
        evaluated_by=evaluated_by,
    )


def relaxed_crystal(atoms: Atoms, calculator: Calculator) -> Atoms:
    """A copy with cell and positions relaxed, its space group kept.

    Raises
    ------
    PotentialError
        If it does not converge.
    """
    atoms = atoms.copy()
    atoms.set_constraint(FixSymmetry(atoms))
    atoms.calc = calculator
    optimiser = BFGS(FrechetCellFilter(atoms), logfile=os.devnull)  # type: ignore[arg-type]
    try:
        _converge(optimiser, f"crystal {atoms.get_chemical_formula()}")
    except RuntimeError as error:  # steps of the cell beyond what its symmetry can be kept in
        raise PotentialError(
            f"the crystal {atoms.get_chemical_formula()} is far from what this potential makes of it ({error}); start "
            "from lattice lengths nearer to its own"
        ) from error
    return atoms


def _converge(optimiser: BFGS, name: str) -> None:
    if not optimiser.run(fmax=FMAX, steps=MAX_STEPS):
        raise PotentialError(f"the {name} does not relax to {FMAX} eV/Å in {MAX_STEPS} steps with this potential")


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that another process never sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
        stream.write(text)
    os.replace(stream.name, path)
