"""Reference energies, forces and virials for the structures that a potential is fitted to.

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
import importlib
import io
import json
import lzma
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, CalculatorError, CalculatorSetupError, all_properties
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.neighborlist import neighbor_list
from ase.optimize import FIRE
from pebble import ProcessPool

from relax.oxide import carried_over
from relax.potential import PotentialError
from relax.progress import shown

ENERGY_KEY = "ref_energy"
FORCES_KEY = "ref_forces"
VIRIAL_KEY = "ref_virial"
TASK_KEYS = ("config_type", "family", "protocol", "steps", "snapshots", "temperature", "seed")


@dataclass(frozen=True)
class LabelLimits:
    """What is too distorted for a learned reference calculator to be believed.

    Attributes
    ----------
    minimum_distances : mapping of str to float
        Shortest distance in Å per pair of symbols in alphabetical order, for example ``"O-Ru"``.
    dimer_distances : mapping of str to float
        The same for structures whose `config_type` is ``"dimer"``.
    max_force : float
        Largest |F| of an atom in eV/Å.
    """

    minimum_distances: Mapping[str, float] = field(default_factory=lambda: {"O-O": 0.9, "O-Ru": 1.3, "Ru-Ru": 1.9})
    dimer_distances: Mapping[str, float] = field(default_factory=lambda: {"O-O": 0.9, "O-Ru": 1.3, "Ru-Ru": 1.7})
    max_force: float = 30.0

    @classmethod
    def of_metal(cls, metal: str) -> "LabelLimits":
        """The same for the oxide of another metal."""
        of_ruo2 = cls()
        return cls(carried_over(of_ruo2.minimum_distances, metal), carried_over(of_ruo2.dimer_distances, metal))


@dataclass(frozen=True)
class LabelReport:
    """How many tasks were labelled now, found labelled before, and how many frames were kept and left out."""

    labelled: int
    known: int
    frames: int
    skipped: Mapping[str, int]


def build_from_import_path(import_path: str, arguments: Mapping[str, Any]) -> Calculator:
    """Make an ASE calculator from ``"module:Callable"``.

    Raises
    ------
    PotentialError
        If the path is not of that form, the module or the name in it does not exist, or the arguments do not fit.
    """
    module_name, _, name = import_path.partition(":")
    if not module_name or not name:
        raise PotentialError(f"`import_path` is {import_path!r}; it must look like 'module:Callable'")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise PotentialError(
            f"`import_path` {import_path!r}: no module {error.name!r}; is its package installed?"
        ) from error
    if not hasattr(module, name):
        raise PotentialError(f"`import_path` {import_path!r}: module {module_name!r} has no {name!r}")
    try:
        return getattr(module, name)(**arguments)
    except TypeError as error:
        raise PotentialError(f"`arguments` do not fit {import_path!r}: {error}") from error


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


def too_close(atoms: Atoms, limits: LabelLimits) -> str | None:
    """The first pair of species nearer than `limits` allow, as ``"O-Ru"``, else None."""
    floors = limits.dimer_distances if atoms.info.get("config_type") == "dimer" else limits.minimum_distances
    first, second, distance = neighbor_list("ijd", atoms, max(floors.values()))
    symbols = np.array(atoms.get_chemical_symbols())
    for pair, floor in floors.items():
        one, two = pair.split("-")
        of_pair = (symbols[first] == one) & (symbols[second] == two)
        if np.any(distance[of_pair] < floor):
            return pair
    return None


def label(
    structures: Sequence[Atoms],
    import_path: str,
    arguments: Mapping[str, Any],
    out: Path,
    processes: int = 1,
    limits: LabelLimits | None = None,
    retry_failed: bool = False,
) -> LabelReport:
    """Label structures with any ASE calculator; interrupted, the same call goes on where it stopped.

    An interruption ends the workers at once; tasks that they were at are begun anew.

    Parameters
    ----------
    structures : sequence of ase.Atoms
        Tasks as described at the top of this module; not changed.
    import_path : str
        ``"module:Callable"`` that returns an ASE calculator.
    arguments : mapping
        Keyword arguments of that callable.
    out : pathlib.Path
        File of results, one checksummed line per task, to which new ones are appended.
    processes : int
        Worker processes, each with one calculator.
    limits : LabelLimits, optional
        Frames outside are left out, and a path ends there.
    retry_failed : bool
        Take up again what the calculator failed at; otherwise a failure is kept like any result.

    Raises
    ------
    PotentialError
        If the calculator cannot be made, or cannot work on this machine.
    """
    limits = limits or LabelLimits()
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {line["key"] for line in _read_lines(out) if not (retry_failed and line.get("failure"))}
    tasks = {task_key(atoms, import_path, arguments): atoms for atoms in structures}
    todo = [(key, atoms) for key, atoms in tasks.items() if key not in known]
    frames, skipped = 0, dict[str, int]()
    reference = _Reference(import_path, dict(arguments), limits)
    with out.open("a") as stream, _workers(processes) as pool:
        futures = [pool.schedule(_label_task, args=[key, atoms, reference]) for key, atoms in todo]
        for future in shown(as_completed(futures), "labelling", len(futures)):
            line = future.result()
            text = json.dumps(line)
            stream.write(f"{hashlib.sha256(text.encode()).hexdigest()} {text}\n")
            stream.flush()
            frames += len(line["frames"])
            for reason in line["skipped"]:
                skipped[reason] = skipped.get(reason, 0) + 1
    return LabelReport(len(todo), len(tasks) - len(todo), frames, skipped)


def single_task(frame: Atoms) -> Atoms:
    """A labelled frame as a task for another calculator."""
    atoms = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    atoms.info = {key: frame.info[key] for key in ("config_type", "family")}
    return atoms


def read_labels(path: Path) -> list[Atoms]:
    """Labelled frames, ordered by task and step, so that the order does not tell which worker was faster."""
    lines = sorted(_read_lines(path), key=lambda line: line["key"])
    return [_to_atoms(frame) for line in lines for frame in line["frames"]]


def write_data(frames: Iterable[Atoms], path: Path) -> None:
    """Write labelled frames as xz-compressed extended XYZ; equal frames give equal bytes."""
    plain = path.with_suffix("")
    write(plain, list(frames), format="extxyz", write_results=False)
    path.write_bytes(lzma.compress(plain.read_bytes(), preset=9))
    plain.unlink()


def read_data(path: Path) -> list[Atoms]:
    """Labelled frames of a file that `write_data` wrote."""
    # decompressed as a whole: ASE jumps back to the start of every frame, which a compressed stream makes quadratic
    stream = io.StringIO(lzma.decompress(path.read_bytes()).decode())
    return list(read(stream, index=":", format="extxyz"))


@contextmanager
def _workers(processes: int) -> Iterator[ProcessPool]:
    """Processes that end with the block, however it ends; an interruption does not wait for their tasks."""
    pool = ProcessPool(max_workers=processes, context=get_context("spawn"))
    try:
        yield pool
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()


@dataclass(frozen=True)
class _Reference:
    """Which calculator labels, and what is not put before it."""

    import_path: str
    arguments: Mapping[str, Any]
    limits: LabelLimits


_calculators: list[Calculator] = []
"""The one calculator of a worker process; empty in the driver."""


def _label_task(key: str, atoms: Atoms, reference: _Reference) -> dict[str, Any]:
    if not _calculators:
        _calculators.append(build_from_import_path(reference.import_path, reference.arguments))
    atoms = atoms.copy()
    atoms.calc = _calculators[0]
    recorder = _Recorder(key, reference.limits)
    failure = None
    try:
        _walk(atoms, recorder)
    except CalculatorSetupError as error:
        raise PotentialError(str(error)) from error
    except CalculatorError as error:
        recorder.skipped.append("calculator")
        failure = str(error)
    line = {"key": key, "frames": recorder.frames, "skipped": recorder.skipped}
    return line if failure is None else {**line, "failure": failure}


def _walk(atoms: Atoms, recorder: "_Recorder") -> None:
    protocol = atoms.info.get("protocol", "single")
    if protocol == "single":
        recorder.record(atoms, 0)
    elif protocol == "relax":
        _follow(FIRE(atoms, logfile=os.devnull, maxstep=0.12), atoms, recorder, growing=True)
    elif protocol == "dynamics":
        rng = np.random.default_rng(atoms.info["seed"])
        MaxwellBoltzmannDistribution(atoms, temperature_K=atoms.info["temperature"], rng=rng)
        langevin = Langevin(
            atoms,
            2.0 * units.fs,
            temperature_K=atoms.info["temperature"],
            friction=0.02 / units.fs,
            rng=rng,
        )
        _follow(langevin, atoms, recorder, growing=False)
    else:
        raise ValueError(f"`protocol` is {protocol!r}; it must be 'single', 'relax' or 'dynamics'")


def _follow(walker: Any, atoms: Atoms, recorder: "_Recorder", growing: bool) -> None:
    """Keep `snapshots` frames of `steps` steps; a relaxation changes fastest at its start, so densest there."""
    steps, count = int(atoms.info["steps"]), int(atoms.info["snapshots"])
    fraction = np.linspace(0.0, 1.0, count) ** (1.7 if growing else 1.0)
    keep = {round(float(x) * steps) for x in fraction}
    if too_close(atoms, recorder.limits) is not None:
        recorder.record(atoms, 0)
        return
    for step in range(steps + 1):
        if step in keep and not recorder.record(atoms, step) and step > 0:
            return
        if step < steps:
            walker.run(fmax=0.02, steps=1) if growing else walker.run(1)


class _Recorder:
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
        if atoms.pbc.all() and "stress" in all_properties and "stress" in atoms.calc.implemented_properties:
            stress = atoms.get_stress(voigt=False, apply_constraint=False)
            frame[VIRIAL_KEY] = (-atoms.get_volume() * stress).ravel().tolist()
        self.frames.append(frame)
        return True


def _to_atoms(frame: Mapping[str, Any]) -> Atoms:
    atoms = Atoms(frame["numbers"], positions=frame["positions"], cell=frame["cell"], pbc=frame["pbc"])
    atoms.info.update({name: frame[name] for name in ("key", "step", "config_type", "family", ENERGY_KEY)})
    atoms.arrays[FORCES_KEY] = np.array(frame[FORCES_KEY])
    if VIRIAL_KEY in frame:
        atoms.info[VIRIAL_KEY] = np.ravel(frame[VIRIAL_KEY])
    return atoms


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines whose checksum is right; the torn last line of a killed run is not."""
    if not path.exists():
        return []
    lines = []
    for raw in path.read_text().splitlines():
        checksum, _, text = raw.partition(" ")
        if hashlib.sha256(text.encode()).hexdigest() == checksum:
            lines.append(json.loads(text))
    return lines
