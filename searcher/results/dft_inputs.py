"""Inputs for DFT codes, by ASE's writers: terminations, and what their surface energies are measured against."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.vasp.create_input import format_kpoints
from ase.io import write
from ase.io.espresso import write_espresso_in
from ase.io.vasp_parsers.incar_writer import write_incar

from searcher.errors import InputError

KPOINT_LENGTH = 24.0  # Å: a cell of length L gets at least this over L k-points, as in the checks of the potential
JOBS = "jobs.json"
ENCUT = 450.0  # eV
ECUTWFC, ECUTRHO = 60.0, 480.0  # Ry
FMAX = 0.03  # eV/Å
ESPRESSO_FMAX = FMAX / 25.711  # Ry/bohr
BOX = (14.0, 14.5, 15.0)  # Å, for the molecule
O2_BOND = 1.21  # Å

Role = Literal["slab", "bulk", "oxygen", "bottom"]


@dataclass(frozen=True)
class Job:
    """One calculation.

    Attributes
    ----------
    id : str
        A candidate's, or what kind of reference it is.
    role : {"slab", "bulk", "oxygen", "bottom"}
    folder : str
        Beside ``jobs.json``.
    symmetric : bool
        The slab has two equal faces.
    """

    id: str
    role: Role
    folder: str
    symmetric: bool = False


def k_points(atoms: Atoms, length: float = KPOINT_LENGTH) -> tuple[int, int, int]:
    """Γ-centred grid of equal density in all cells.

    Parameters
    ----------
    atoms : ase.Atoms
        Along an axis that is not periodic one point.
    length : float
        Number of points times cell length in Å.
    """
    sides = zip(atoms.cell.lengths(), atoms.pbc, strict=True)
    numbers = [math.ceil(length / side - 1e-6) if periodic else 1 for side, periodic in sides]
    return (numbers[0], numbers[1], numbers[2])


def oxygen_molecule() -> Atoms:
    """O2 with its two unpaired electrons in a box of unequal sides; not periodic."""
    molecule = Atoms("O2", positions=[[0, 0, 0], [0, 0, O2_BOND]], cell=BOX, pbc=False)
    molecule.center()
    molecule.set_initial_magnetic_moments([1.0, 1.0])
    return molecule


def write_jobs(
    out: Path,
    code: str,
    structures: Mapping[str, tuple[Job, Atoms]],
    campaign: Mapping[str, Any],
    length: float = KPOINT_LENGTH,
) -> None:
    """Write a folder per calculation and ``jobs.json``, which `searcher import` reads.

    Parameters
    ----------
    out : pathlib.Path
        Made if it is missing.
    code : {"vasp", "espresso", "gpaw"}
    structures : mapping of name to (Job, structure)
    campaign : mapping
        What is told of the campaign.
    length : float
        For `k_points`, in Å.

    Raises
    ------
    InputError
        If the code is unknown or the length is not positive.
    """
    if code not in WRITERS:
        raise InputError(f"`formats` holds {code}; DFT inputs are known for {', '.join(WRITERS)}")
    if not length > 0:
        raise InputError(f"`--kpoint-length` is {length} Å but must be positive; 24 is the default")
    out.mkdir(parents=True, exist_ok=True)
    for name, (job, atoms) in structures.items():
        folder = out / name
        folder.mkdir(exist_ok=True)
        WRITERS[code](folder, atoms, k_points(atoms, length), job.role)
    jobs = [{**asdict(job), "formula": atoms.get_chemical_formula()} for job, atoms in structures.values()]
    record = {"code": code, **campaign, "jobs": jobs}
    (out / JOBS).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _periodic(atoms: Atoms) -> Atoms:
    copied = atoms.copy()
    copied.calc = None
    copied.info = {}
    copied.pbc = True
    return copied


def _is_slab(role: Role) -> bool:
    return role in ("slab", "bottom")


def _moves(role: Role) -> bool:
    return role in ("slab", "oxygen")


def _vasp(folder: Path, atoms: Atoms, kpts: tuple[int, int, int], role: Role) -> None:
    settings: dict[str, Any] = {
        "prec": "Accurate", "encut": ENCUT, "ediff": 1e-6, "gga": "PE", "ismear": 0, "sigma": 0.05, "lreal": ".FALSE.",
        "ispin": 2 if role == "oxygen" else 1, "ibrion": 2 if _moves(role) else -1, "nsw": 300 if _moves(role) else 0,
        "ediffg": -FMAX, "isif": 2, "lwave": ".FALSE.", "lcharg": ".FALSE.",
    }  # fmt: skip
    if role == "oxygen":
        settings["magmom"] = [1.0, 1.0]
    if _is_slab(role):
        settings |= {"ldipol": ".TRUE.", "idipol": 3}
    write_incar(folder, settings)
    (folder / "KPOINTS").write_text(format_kpoints(kpts=kpts, atoms=atoms, gamma=True), encoding="utf-8")
    write(folder / "POSCAR", _periodic(atoms), format="vasp", direct=True)


def _espresso(folder: Path, atoms: Atoms, kpts: tuple[int, int, int], role: Role) -> None:
    symbols = sorted(set(atoms.get_chemical_symbols()))
    system: dict[str, Any] = {"ecutwfc": ECUTWFC, "ecutrho": ECUTRHO, "occupations": "smearing"}
    system |= {"smearing": "mv", "degauss": 0.01, "input_dft": "PBE"}
    control: dict[str, Any] = {"calculation": "relax" if _moves(role) else "scf", "prefix": "searcher"}
    control |= {"pseudo_dir": "../pseudo", "outdir": "./tmp", "tprnfor": True, "forc_conv_thr": ESPRESSO_FMAX}
    slab = _periodic(atoms)
    if role == "oxygen":
        system["nspin"] = 2
    else:
        slab.set_initial_magnetic_moments(np.zeros(len(slab)))
    if _is_slab(role):
        control |= {"tefield": True, "dipfield": True}
        top = float(slab.positions[:, 2].max())
        system |= {"edir": 3, "eamp": 0.0, "eopreg": 0.05, "emaxpos": (top + slab.cell[2, 2]) / 2 / slab.cell[2, 2]}
    with (folder / "espresso.pwi").open("w", encoding="utf-8") as stream:
        write_espresso_in(
            stream,
            slab,
            input_data={"control": control, "system": system, "electrons": {"conv_thr": 1e-9}},
            pseudopotentials={symbol: f"{symbol}.UPF" for symbol in symbols},
            kpts=kpts,
        )


GPAW = '''\
"""Run with `gpaw python run.py`, in this folder; writes result.extxyz when it is done."""

from ase.io import read, write
from ase.optimize import BFGS
from gpaw import GPAW, PW, FermiDirac

atoms = read("structure.extxyz")
atoms.calc = GPAW(
    mode=PW({encut}),
    xc="PBE",
    kpts={{"size": {kpts}, "gamma": True}},
    occupations=FermiDirac({width}),
    spinpol={spinpol},{dipole}
    txt="gpaw.txt",
)
{relax}atoms.get_potential_energy()
atoms.get_forces()
write("result.extxyz", atoms)
'''


def _gpaw(folder: Path, atoms: Atoms, kpts: tuple[int, int, int], role: Role) -> None:
    copied = atoms.copy()
    copied.calc = None
    copied.info = {}
    write(folder / "structure.extxyz", copied, format="extxyz")
    text = GPAW.format(
        encut=ENCUT,
        kpts=kpts,
        width=0.05,
        spinpol=role == "oxygen",
        dipole='\n    poissonsolver={"dipolelayer": "xy"},' if _is_slab(role) else "",
        relax=f'BFGS(atoms, trajectory="relaxation.traj").run(fmax={FMAX})\n' if _moves(role) else "",
    )
    (folder / "run.py").write_text(text, encoding="utf-8")


WRITERS: dict[str, Callable[[Path, Atoms, tuple[int, int, int], Role], None]] = {
    "vasp": _vasp,
    "espresso": _espresso,
    "gpaw": _gpaw,
}
"""by the name of the code"""
