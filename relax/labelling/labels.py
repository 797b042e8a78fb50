"""Labels of many tasks, one checksummed line each: made by worker processes, gone on with, read."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError, CalculatorSetupError
from pebble import ProcessPool

from relax.labelling.frames import labelled_atoms
from relax.labelling.limits import LabelLimits
from relax.labelling.protocols import follow_protocol
from relax.labelling.recorder import Recorder
from relax.labelling.tasks import task_key
from relax.potential import PotentialError, build_from_import_path
from relax.progress import shown


@dataclass(frozen=True)
class LabelReport:
    """How many tasks were labelled now, found labelled before, and how many frames were kept and left out."""

    labelled: int
    known: int
    frames: int
    skipped: Mapping[str, int]


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
        Tasks as `relax.labelling.tasks` describes them; not changed.
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


def read_labels(path: Path) -> list[Atoms]:
    """Labelled frames, ordered by task and step, so that the order does not tell which worker was faster."""
    lines = sorted(_read_lines(path), key=lambda line: line["key"])
    return [labelled_atoms(frame) for line in lines for frame in line["frames"]]


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
    recorder = Recorder(key, reference.limits)
    failure = None
    try:
        follow_protocol(atoms, recorder)
    except CalculatorSetupError as error:
        raise PotentialError(str(error)) from error
    except CalculatorError as error:
        recorder.skipped.append("calculator")
        failure = str(error)
    line = {"key": key, "frames": recorder.frames, "skipped": recorder.skipped}
    return line if failure is None else {**line, "failure": failure}


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
