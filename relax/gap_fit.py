"""Fit a Gaussian approximation potential with the `gap_fit` program of the quippy-ase wheel.

Bartók, Payne, Kondor, Csányi, Phys. Rev. Lett. 104, 136403 (2010); SOAP: Bartók, Kondor, Csányi,
Phys. Rev. B 87, 184115 (2013).
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.io import write

from relax.labelling import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY
from relax.lifetime import end_with_parent
from relax.oxide import RUTHENIUM, carried_over
from relax.pair_core import glue_xml

CRYSTAL_TYPES = ("bulk", "metal")
"""config_types whose virial says something about strain; a slab's vacuum makes it worthless"""

ALWAYS_FITTED = ("isolated_atom", "dimer", "molecule")
HELD_OUT_ONE_IN = {"thermal": 4, "default": 10}
"""About one family in so many judges a fit, per `config_type`; more of those that stand for every facet"""


SPARSE_DIGITS = 12
"""Of a representative environment; moves an energy by 1e-8 eV/atom, a force by 6e-8 eV/Å (10 digits: 2e-6, 8e-6)"""


class FitError(ValueError):
    """Data or settings that no potential can be fitted to, or a `gap_fit` that failed."""


@dataclass(frozen=True)
class FitSettings:
    """Everything that decides the fit besides the data.

    Attributes
    ----------
    n_sparse : mapping of str to int
        Representative environments per element.
    n_max, l_max, r_cut, atom_sigma, zeta, soap_delta
        SOAP: basis, cutoff in Å, width in Å, kernel power, energy scale in eV.
    transition_width : float
        Å over which SOAP's cutoff acts.
    pair_r_cut, pair_delta, pair_theta, pair_sparse
        Pair term: cutoff in Å, energy scale in eV, length scale in Å, points per pair.
    core_cutoffs : mapping of str to float
        Å below which the repulsive baseline acts, per pair of symbols.
    errors : mapping of str to (float, float, float)
        Expected errors per `config_type`: energy in eV/atom, force in eV/Å, virial in eV/atom.
    force_error_share : float
        Added to an atom's force error as a share of its |F|, so that violent frames do not rule the fit.
    seed : int
        Of `gap_fit`'s own choice of representative environments.
    """

    n_sparse: Mapping[str, int] = field(default_factory=lambda: {"O": 1500, "Ru": 1000})
    n_max: int = 8
    l_max: int = 4
    r_cut: float = 4.5
    transition_width: float = 0.5
    atom_sigma: float = 0.4
    sigma_scaling: float = 0.05
    radial_enhancement: int = 1
    zeta: int = 2
    soap_delta: float = 1.0
    pair_r_cut: float = 5.0
    pair_delta: float = 3.0
    pair_theta: float = 0.8
    pair_sparse: int = 20
    core_cutoffs: Mapping[str, float] = field(default_factory=lambda: {"O-O": 1.0, "O-Ru": 1.45, "Ru-Ru": 2.0})
    errors: Mapping[str, tuple[float, float, float]] = field(
        default_factory=lambda: {
            "default": (0.005, 0.15, 0.1),
            "isolated_atom": (0.0001, 0.1, 0.1),
            "dimer": (0.03, 0.3, 1.0),
            "molecule": (0.0005, 0.02, 1.0),
            "bulk": (0.001, 0.05, 0.01),
            "metal": (0.003, 0.1, 0.03),
            "slab": (0.0015, 0.04, 1.0),
            "insertion": (0.003, 0.05, 1.0),
            "thermal": (0.001, 0.03, 1.0),
            "searched": (0.0015, 0.04, 1.0),
        }
    )
    force_error_share: float = 0.03
    seed: int = 1

    @classmethod
    def for_data(cls, data: Sequence[Atoms]) -> "FitSettings":
        """The settings for the oxide of the metal that labelled frames hold.

        Raises
        ------
        FitError
            If they hold several metals.
        """
        metals = {symbol for atoms in data for symbol in atoms.symbols.species()} - {"O"}
        if len(metals) > 1:
            raise FitError(f"the frames hold the metals {sorted(metals)}; a potential is fitted to one oxide's")
        metal, of_ruo2 = next(iter(metals), RUTHENIUM), cls()
        n_sparse = {metal if symbol == RUTHENIUM else symbol: number for symbol, number in of_ruo2.n_sparse.items()}
        return replace(of_ruo2, n_sparse=n_sparse, core_cutoffs=carried_over(of_ruo2.core_cutoffs, metal))


def fit(data: Sequence[Atoms], settings: FitSettings, out: Path) -> Path:
    """Fit a potential; equal data and settings give equal files.

    Parameters
    ----------
    data : sequence of ase.Atoms
        Labelled frames as `relax.labelling` makes them.
    settings : FitSettings
    out : pathlib.Path
        Folder that receives `gap.xml`, its sparseX files and `settings.json`; files of an older fit are replaced.

    Returns
    -------
    pathlib.Path
        The XML file.

    Raises
    ------
    FitError
        If an element has no isolated atom or no number of sparse points, or `gap_fit` fails.
    """
    _check_data(data, settings)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder / "train.xyz", [_training_frame(a, settings) for a in data], format="extxyz", write_results=False)
        (folder / "core.xml").write_text(glue_xml(settings.core_cutoffs))
        _run_gap_fit(gap_fit_arguments(data, settings), folder)
        files = rename_by_content(folder / "gap.xml")
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("gap.xml*"):
            old.unlink()
        for name, content in files.items():
            (out / name).write_bytes(content)
    record = {
        "settings": asdict(settings),
        "training_frames": len(data),
        "training_data_sha256": data_hash(data),
        "quippy_ase": version("quippy-ase"),
    }
    (out / "settings.json").write_text(json.dumps(record, indent=2) + "\n")
    return out / "gap.xml"


def hold_out(data: Sequence[Atoms]) -> tuple[list[Atoms], list[Atoms]]:
    """Split frames into those to fit and those to judge the fit by, whole families at a time.

    A frame of a path is all but a copy of its neighbours; split apart they would make any fit look good. Atoms and
    dimers are always fitted.

    Parameters
    ----------
    data : sequence of ase.Atoms
        Whether a family is held out follows from a hash of its name, so that more data move no family.

    Returns
    -------
    training, validation : list of ase.Atoms
    """
    training: list[Atoms] = []
    validation: list[Atoms] = []
    for atoms in data:
        kind = str(atoms.info["config_type"])
        one_in = HELD_OUT_ONE_IN.get(kind, HELD_OUT_ONE_IN["default"])
        chosen = int(hashlib.sha256(str(atoms.info["family"]).encode()).hexdigest(), 16) % one_in == 0
        held = chosen and kind not in ALWAYS_FITTED
        (validation if held else training).append(atoms)
    return training, validation


def data_hash(data: Sequence[Atoms]) -> str:
    """SHA-256 of structures and labels, whatever file they came from."""
    digest = hashlib.sha256()
    for atoms in data:
        digest.update(atoms.numbers.astype("<i8").tobytes())
        for array in (atoms.positions, atoms.cell.array, atoms.arrays[FORCES_KEY], atoms.info[ENERGY_KEY]):
            digest.update((np.round(np.asarray(array, dtype="<f8"), 7) + 0.0).tobytes())
    return digest.hexdigest()


def gap_fit_arguments(data: Sequence[Atoms], settings: FitSettings) -> list[str]:
    """Arguments of `gap_fit` for `train.xyz` and `core.xml` in its working folder."""
    present = {str(a.info.get("config_type", "default")) for a in data}
    types = [name for name in settings.errors if name in present and name != "default"]
    errors = ":".join(f"{name}:" + ":".join(str(x) for x in (*settings.errors[name], 0.0)) for name in types)
    default = " ".join(str(x) for x in (*settings.errors["default"], 0.0))
    atomic_energies = _atomic_energies(data)
    energies = ":".join(f"{symbol}:{energy!r}" for symbol, energy in atomic_energies.items())
    return [
        "at_file=train.xyz",
        "gp_file=gap.xml",
        f"gap={{{_descriptors(settings)}}}",
        f"e0={{{energies}}}",
        f"default_sigma={{{default}}}",
        f"config_type_sigma={{{errors}}}",
        f"energy_parameter_name={ENERGY_KEY}",
        f"force_parameter_name={FORCES_KEY}",
        f"virial_parameter_name={VIRIAL_KEY}",
        "sigma_parameter_name=fit_error",
        "core_param_file=core.xml",
        "core_ip_args={IP Glue}",
        "sparse_jitter=1.0e-8",
        "do_copy_at_file=F",
        "sparse_separate_file=T",
        f"rnd_seed={settings.seed}",
    ]


def rename_by_content(xml: Path) -> dict[str, bytes]:
    """File names and contents of a potential without the time stamp that `gap_fit` puts into labels and names.

    Representative environments keep `SPARSE_DIGITS` digits.

    Parameters
    ----------
    xml : pathlib.Path
        As `gap_fit` wrote it, with its sparseX files beside it.

    Returns
    -------
    dict of str to bytes
        `gap.xml` first, then the sparseX files named by their content.
    """
    text = xml.read_text()
    text = re.sub(r"<command_line>.*?</command_line>", "", text, flags=re.DOTALL)
    label = re.search(r"GAP_\d+_[\d_]+", text)
    if label is None:
        raise FitError(f"{xml.name}: `gap_fit` wrote no label; its output format has changed")
    files = {}
    for name in sorted(set(re.findall(r'sparseX_filename="([^"]+)"', text))):
        written = (xml.parent / name).read_bytes()
        content = _shortened(written)
        text = text.replace(hashlib.md5(written).hexdigest(), hashlib.md5(content).hexdigest())  # quippy compares it
        new_name = f"gap.xml.sparseX.{hashlib.sha256(content).hexdigest()[:16]}"
        text = text.replace(f'"{name}"', f'"{new_name}"')
        files[new_name] = content
    text = text.replace(label.group(), "GAP")
    return {"gap.xml": text.encode(), **files}


def _shortened(sparse_points: bytes) -> bytes:
    """Representative environments with `SPARSE_DIGITS` of their 21 digits: a third less to keep and to read."""
    return "".join(f"{float(x):.{SPARSE_DIGITS - 1}e}\n" for x in sparse_points.split()).encode()


def _check_data(data: Sequence[Atoms], settings: FitSettings) -> None:
    present = {symbol for atoms in data for symbol in atoms.get_chemical_symbols()}
    if missing := present - set(settings.n_sparse):
        raise FitError(f"`n_sparse` has no number for {sorted(missing)}, which the data contain")
    if missing := present - set(_atomic_energies(data)):
        raise FitError(f"the data have no `isolated_atom` of {sorted(missing)}, which sets its reference energy")


def _atomic_energies(data: Sequence[Atoms]) -> dict[str, float]:
    return {
        atoms.get_chemical_symbols()[0]: float(atoms.info[ENERGY_KEY])
        for atoms in data
        if atoms.info.get("config_type") == "isolated_atom"
    }


def _training_frame(atoms: Atoms, settings: FitSettings) -> Atoms:
    frame = atoms.copy()
    config_type = str(atoms.info.get("config_type", "default"))
    _, force_error, _ = settings.errors.get(config_type, settings.errors["default"])
    frame.info = {"config_type": config_type, ENERGY_KEY: atoms.info[ENERGY_KEY]}
    if config_type in CRYSTAL_TYPES and VIRIAL_KEY in atoms.info:
        frame.info[VIRIAL_KEY] = np.ravel(atoms.info[VIRIAL_KEY])
    size = np.linalg.norm(atoms.arrays[FORCES_KEY], axis=1)  # (n_atoms,)
    frame.arrays["force_atom_fit_error"] = force_error + settings.force_error_share * size
    return frame


def _descriptors(settings: FitSettings) -> str:
    species = sorted(atomic_numbers[symbol] for symbol in settings.n_sparse)
    pair = (
        f"distance_2b cutoff={settings.pair_r_cut} cutoff_transition_width=1.5 covariance_type=ard_se "
        f"delta={settings.pair_delta} theta_uniform={settings.pair_theta} sparse_method=uniform "
        f"n_sparse={settings.pair_sparse} add_species=T"
    )
    soaps = [_soap(settings, atomic_numbers[symbol], species) for symbol in sorted(settings.n_sparse)]
    return " : ".join([pair, *soaps])


def _soap(settings: FitSettings, centre: int, species: Sequence[int]) -> str:
    """One element's environment descriptor. Inner lists carry two braces, because the whole argument has one."""
    per_species = {
        name: "{{" + " ".join([str(value)] * len(species)) + "}}"
        for name, value in {
            "alpha_max": settings.n_max,
            "atom_sigma_r": settings.atom_sigma,
            "atom_sigma_t": settings.atom_sigma,
            "atom_sigma_r_scaling": settings.sigma_scaling,
            "atom_sigma_t_scaling": settings.sigma_scaling,
            "amplitude_scaling": 1.0,
            "central_weight": 1.0,
        }.items()
    }
    lists = " ".join(f"{name}={values}" for name, values in per_species.items())
    return (
        f"soap_turbo l_max={settings.l_max} {lists} rcut_hard={settings.r_cut} "
        f"rcut_soft={settings.r_cut - settings.transition_width} basis=poly3gauss scaling_mode=polynomial "
        f"radial_enhancement={settings.radial_enhancement} compress_mode=trivial n_species={len(species)} "
        f"species_Z={{{{{' '.join(str(z) for z in species)}}}}} central_index={species.index(centre) + 1} "
        f"zeta={settings.zeta} delta={settings.soap_delta} covariance_type=dot_product sparse_method=cur_points "
        f"n_sparse={settings.n_sparse[chemical_symbols[centre]]} add_species=F"
    )


def gap_fit_program() -> str:
    """The program itself: the script of its name starts it as a process of its own, which outlives the script.

    Raises
    ------
    FitError
        If there is none.
    """
    package = find_spec("quippy")
    beside = None if package is None or package.origin is None else Path(package.origin).with_name("gap_fit")
    program = str(beside) if beside is not None and beside.exists() else shutil.which("gap_fit")
    if program is None:
        raise FitError("`gap_fit` was not found; it comes with the quippy-ase package")
    return program


def _run_gap_fit(arguments: Sequence[str], folder: Path) -> None:
    """Run `gap_fit` on one thread: more threads change the last bits of the fit."""
    program = gap_fit_program()
    with (folder / "log").open("w") as log:
        code = subprocess.run(
            [program, *arguments],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
            preexec_fn=end_with_parent,  # it takes minutes and gigabytes, and must not go on for nobody
        ).returncode
    if code or not (folder / "gap.xml").exists():
        last = (folder / "log").read_text(errors="replace").splitlines()[-3:]
        raise FitError(f"`gap_fit` ended with code {code}: {' | '.join(last)}")
