"""Where energies come from: a GAP by its file, or any ASE calculator by its import path."""

import hashlib
import importlib
import importlib.metadata
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal
from xml.etree import ElementTree

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols

from relax.plain_xml import trap_in

SHIPPED = ("ruo2",)
SECTION = "potential."
"""Where a campaign's settings of a potential stand"""
LARGEST_XML = 200_000_000
"""Bytes; a GAP's XML without its training data has a few hundred thousand."""


class PotentialError(ValueError):
    """A potential that does not exist, is damaged or cannot be made."""


@dataclass(frozen=True)
class PotentialSpec:
    """How to make a potential, in plain values that travel to another process.

    Attributes
    ----------
    kind : "gap" or "calculator"
    path : str
        XML file of a GAP, for example ``"relax/potentials/ruo2/gap.xml"``.
    import_path : str
        ``"module:Callable"`` that returns an ASE calculator, for example ``"relax.analytic:AnalyticRuO"``.
    arguments : mapping
        Keyword arguments of that callable, of JSON types.
    """

    kind: Literal["gap", "calculator"]
    path: str = ""
    import_path: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in ("gap", "calculator"):
            raise PotentialError(f"`potential.kind` is {self.kind!r} but must be 'gap' or 'calculator'")
        if self.kind == "gap" and not self.path:
            raise PotentialError("`potential.gap` is empty but a GAP needs its XML file")
        if self.kind == "calculator" and not self.import_path:
            raise PotentialError("`potential.import_path` is empty but must look like 'module:Callable'")

    def as_dict(self) -> dict[str, Any]:
        """Plain values that `PotentialSpec(**values)` turns back."""
        return {**asdict(self), "arguments": dict(self.arguments)}


def gap_spec(name_or_path: str | Path) -> PotentialSpec:
    """A GAP by its XML file, or a shipped one by its name (``"ruo2"``)."""
    if str(name_or_path) in SHIPPED:
        return PotentialSpec("gap", path=str(files("relax") / "potentials" / str(name_or_path) / "gap.xml"))
    return PotentialSpec("gap", path=str(name_or_path))


def check_files(spec: PotentialSpec) -> None:
    """Make sure of everything that would otherwise end a worker without a word.

    A truncated XML ends a Python process with exit code 0, and one with entities keeps the reader busy for minutes.

    Raises
    ------
    PotentialError
        If a file is missing or damaged, or an import path leads nowhere.
    """
    if spec.kind == "calculator":
        _load_callable(spec.import_path, SECTION)
        return
    xml = Path(spec.path)
    for name in sparse_files(spec):
        beside = xml.parent / name
        if not beside.is_file():
            raise PotentialError(f"`potential.gap` {xml}: `{name}` is missing beside it; copy all of its sparseX files")
    if not species(spec):
        raise PotentialError(f"`potential.gap` {xml} names no element; is it the XML that `gap_fit` wrote?")


def sparse_files(spec: PotentialSpec) -> list[str]:
    """Names of the sparseX files that a GAP's XML refers to, sorted."""
    names = {e.get("sparseX_filename") for e in _root(spec).iter() if e.get("sparseX_filename")}
    bad = sorted(str(name) for name in names if Path(str(name)).name != name)
    if bad:
        raise PotentialError(f"`potential.gap` {spec.path} refers to {bad[0]!r}; sparseX files must lie beside the XML")
    return sorted(str(name) for name in names)


def species(spec: PotentialSpec) -> tuple[str, ...]:
    """Elements that a GAP was fitted to, in alphabetical order; empty for a calculator, which does not say.

    Raises
    ------
    PotentialError
        If the XML cannot be read.
    """
    if spec.kind == "calculator":
        return ()
    numbers = {int(e.get("atomic_num") or 0) for e in _root(spec).iter("per_type_data")}
    for descriptor in _root(spec).iter("descriptor"):
        for found in re.findall(r"\bZ\d?=\{*([\d ]+)", descriptor.text or ""):
            numbers.update(int(z) for z in found.split())
    return tuple(sorted(chemical_symbols[z] for z in numbers if 0 < z < len(chemical_symbols)))


def potential_hash(spec: PotentialSpec) -> str:
    """Sixteen hexadecimal digits of what decides the energies.

    For a GAP the contents of XML and sparseX files, wherever they lie; for a calculator import path, arguments and
    the version of its package.

    Raises
    ------
    PotentialError
        If a file cannot be read or the arguments are not JSON.
    """
    check_files(spec)
    digest = hashlib.sha256()
    if spec.kind == "gap":
        xml = Path(spec.path)
        contents = [xml.read_bytes(), *((xml.parent / name).read_bytes() for name in sparse_files(spec))]
        for content in contents:
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()[:16]
    try:
        arguments = json.dumps(dict(spec.arguments), sort_keys=True)
    except TypeError as error:
        raise PotentialError(
            f"`potential.arguments` must hold numbers, strings, lists and mappings: {error}"
        ) from error
    digest.update(f"{spec.import_path}|{arguments}|{_package_version(spec.import_path)}".encode())
    return digest.hexdigest()[:16]


def file_stamp(spec: PotentialSpec) -> tuple[object, ...]:
    """What changes whenever a GAP's files are written, without reading them: size, time and place on disk of each.

    Raises
    ------
    PotentialError
        If a file is missing.
    """
    if spec.kind == "calculator":
        return (spec.import_path, json.dumps(dict(spec.arguments), sort_keys=True))
    stamps: list[object] = []
    for path in (Path(spec.path), *(Path(spec.path).parent / name for name in sparse_files(spec))):
        try:
            found = path.stat()
        except OSError as error:
            raise PotentialError(f"`potential.gap` {path} cannot be read: {error.strerror}") from error
        stamps.append((str(path), *_stamp(found)))
    return tuple(stamps)


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    """Of a file: a copy that keeps the old time has a new time of change."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def build_calculator(spec: PotentialSpec) -> "CountingCalculator":
    """Make the potential. A GAP may only be built in a worker process: its library can end or hang the process.

    Raises
    ------
    PotentialError
        If `check_files` finds a fault or the calculator refuses its arguments.
    """
    check_files(spec)
    if spec.kind == "calculator":
        return CountingCalculator(build_from_import_path(spec.import_path, spec.arguments, SECTION))
    from relax.gap import Gap  # it compiles machine code and belongs into a worker process

    try:
        return CountingCalculator(Gap(Path(spec.path).resolve(), _root(spec)))
    except RuntimeError as error:
        message = " ".join(re.sub(r"[^\x20-\x7e]", " ", str(error)).split())[:200]
        raise PotentialError(f"`potential.gap` {spec.path}: quippy cannot read it ({message})") from error


def build_from_import_path(import_path: str, arguments: Mapping[str, Any], section: str = "") -> Calculator:
    """Make an ASE calculator from ``"module:Callable"``.

    Parameters
    ----------
    arguments : mapping
        Keyword arguments of that callable.
    section : str
        Begins the names of settings in messages, for example ``"potential."``.

    Raises
    ------
    PotentialError
        If the path is not of that form, the module or the callable in it does not exist, or the arguments do not fit.
    """
    load = _load_callable(import_path, section)
    try:
        return load(**arguments)
    except TypeError as error:
        raise PotentialError(f"`{section}arguments` do not fit {import_path!r}: {error}") from error


def gap_calculator(path: str, digest: str) -> "CountingCalculator":
    """A GAP for callers that make calculators from an import path; only in worker processes.

    Raises
    ------
    PotentialError
        If the files do not hash to `digest`, which tells one GAP from another under the same path.
    """
    spec = gap_spec(path)
    if (found := potential_hash(spec)) != digest:
        raise PotentialError(f"`path` {path} hashes to {found} but {digest} was asked for: its files were changed")
    return build_calculator(spec)


class CountingCalculator(Calculator):
    """Passes on to another ASE calculator and counts the evaluations that really take place.

    Attributes
    ----------
    force_calls : int
        Evaluations since it was made; set it to 0 at will. Asking twice for the same atoms counts once.
    evaluated_by : str
        What evaluates a GAP, see `relax.gap.Gap`; otherwise the calculator's name.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]  # type: ignore[misc]

    def __init__(self, inner: Calculator) -> None:
        super().__init__()
        self.inner = inner
        self.force_calls = 0
        self.evaluated_by: str = getattr(inner, "evaluated_by", type(inner).__name__)

    def of_references(self) -> "CountingCalculator":
        """What measures lattice and reference energies: of a GAP quippy, to whose last digits templates are made."""
        by_quippy = getattr(self.inner, "by_quippy", None)
        return self if by_quippy is None else CountingCalculator(by_quippy())

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate energy and forces, and stress if it is asked for."""
        super().calculate(atoms, properties, system_changes)
        self.force_calls += 1
        self.inner.reset()
        wanted = ["energy", "forces", *(["stress"] if "stress" in properties else [])]
        assert self.atoms is not None  # set by the base class just above
        self.inner.calculate(self.atoms.copy(), wanted, list(all_changes))
        self.results = {name: self.inner.results[name] for name in wanted}
        self.results["free_energy"] = self.results["energy"]

    def local_variance(self, atoms: Atoms) -> np.ndarray:
        """Predicted variance of each atom's energy by a GAP; costs about two force calls.

        Returns
        -------
        numpy.ndarray, shape (n_atoms,)
            In eV².

        Raises
        ------
        PotentialError
            If the calculator does not know it.
        """
        if not hasattr(self.inner, "extra_results"):
            raise PotentialError(f"{type(self.inner).__name__} has no `local_gap_variance`; only a GAP has")
        self.force_calls += 1
        self.inner.reset()
        self.inner.calculate(atoms.copy(), ["energy"], list(all_changes), calc_args="local_gap_variance")  # type: ignore[call-arg]
        return np.array(self.inner.extra_results["atoms"]["local_gap_variance"], dtype=float)


def _root(spec: PotentialSpec) -> ElementTree.Element:
    """The parsed XML, or an error that names the fault."""
    xml = Path(spec.path)
    if not xml.is_file():
        raise PotentialError(f"`potential.gap` {xml} does not exist; give a GAP's XML file or one of {list(SHIPPED)}")
    if xml.stat().st_size > LARGEST_XML:
        raise PotentialError(f"`potential.gap` {xml} has {xml.stat().st_size} bytes, more than {LARGEST_XML}")
    return _parsed(xml, _stamp(xml.stat()))


@lru_cache(maxsize=4)
def _parsed(xml: Path, stamp: tuple[int, ...]) -> ElementTree.Element:
    """The XML as it is with this size, time and place on disk: tasks ask for its elements again and again."""
    content = xml.read_bytes()
    trap = trap_in(content)
    if trap is not None:
        raise PotentialError(f"`potential.gap` {xml} {trap}")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise PotentialError(f"`potential.gap` {xml} is not well-formed XML ({error}); is it truncated?") from error


def _load_callable(import_path: str, section: str) -> Any:
    told = f"`{section}import_path`"
    module_name, _, name = import_path.partition(":")
    if not module_name or not name:
        raise PotentialError(f"{told} is {import_path!r} but must look like 'module:Callable'")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise PotentialError(
            f"{told} {import_path!r}: there is no module {error.name!r}; is its package installed?"
        ) from error
    if not callable(getattr(module, name, None)):
        raise PotentialError(f"{told} {import_path!r}: module {module_name!r} has no callable {name!r}")
    return getattr(module, name)


@cache
def _package_version(import_path: str) -> str:
    """Version of the distribution behind an import path; a module without one counts by its source."""
    module_name = import_path.partition(":")[0]
    top = module_name.partition(".")[0]
    distributions = importlib.metadata.packages_distributions().get(top, [])
    if distributions and top != __package__:
        return importlib.metadata.version(distributions[0])
    module = importlib.import_module(module_name)
    source = getattr(module, "__file__", None)
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16] if source else ""
