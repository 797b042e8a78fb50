"""What DFT says of exported terminations: read back, beside the potential's γ, and ranked anew."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import ase.io
import numpy as np
from ase import Atoms
from ase.io import write
from rich.console import Console
from rich.table import Table

from searcher.campaign.storage.ledger import LEDGER, Ledger
from searcher.campaign.storage.locking import DriverLock
from searcher.errors import InputError
from searcher.results.dft_inputs import JOBS
from searcher.results.terminations import chosen_delta_mu_o
from searcher.scoring.thermodynamics import Line, gamma_one_sided, gamma_symmetric
from searcher.structures.files import read_structures
from searcher.structures.readers import FAULTS

FACT = "dft"
MEV = 1000.0
SENT, RUNNING, DONE, FAILED = "sent", "running", "done", "failed"
ORDER = (SENT, FAILED, RUNNING, DONE)
OUTPUTS = (
    ("vasprun.xml", "vasp-xml", "</modeling>", ""),
    ("OUTCAR", "vasp-out", "General timing and accounting", ""),
    ("espresso.pwo", "espresso-out", "JOB DONE", "convergence NOT achieved"),
    ("result.extxyz", "extxyz", "Lattice", ""),
)
"""file name, ASE's format, what stands in a finished one, what stands in a failed one"""


@dataclass(frozen=True)
class Result:
    """One calculation as it stands; energy in eV, fmax in eV/Å."""

    id: str
    role: str
    state: str
    energy: float | None = None
    fmax: float | None = None
    n_atoms: int = 0
    counts: Mapping[str, int] | None = None
    area: float | None = None
    symmetric: bool = False
    source: str = ""
    code: str = ""


@dataclass(frozen=True)
class DftReferences:
    """Energies that DFT's γ are measured against, in eV; γ of the lower face in eV/Å²."""

    energy_bulk: float
    half_energy_o2: float
    gamma_bottom: float | None


def import_results(folder: Path, sources: Sequence[Path], label: str, training: Path | None = None) -> dict[str, Any]:
    """Read results of DFT into a campaign.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's.
    sources : sequence of pathlib.Path
        Folders with a ``jobs.json`` as `searcher export` wrote them, or files of structures with energies that name
        their candidate.
    label : str
        What the calculations are called, for example ``PBE``; a repeated import replaces what has the same one.
    training : pathlib.Path, optional
        Write every finished frame with energy and forces here, for `searcher potential fit`.

    Returns
    -------
    dict
        As `comparison`.

    Raises
    ------
    InputError
        If a source holds no results, or names a candidate that the campaign does not have.
    LockedError
        While a driver works on the campaign.
    """
    found: list[tuple[Result, Atoms | None]] = []
    for source in sources:
        found += _of_jobs(source) if source.is_dir() else _of_file(source)
    if not found:
        raise InputError("the sources hold no calculation; give the folder that holds `jobs.json`, or structure files")
    found = _furthest(found)
    if not (folder / LEDGER).is_file():
        Ledger(folder / LEDGER)
    lock = DriverLock(folder)
    try:
        ledger = Ledger(folder / LEDGER)
        known = {candidate.id for candidate in ledger.candidates()}
        strangers = [r.id for r, _ in found if r.role == "slab" and r.id not in known]
        if strangers:
            raise InputError(f"`{strangers[0]}` is no candidate of `{folder}`; was it exported from another campaign?")
        record = ledger.fact(FACT, {})
        before = {(r["id"], r["role"]): r for r in record.get(label, {}).get("results", [])}
        before |= {(r.id, r.role): asdict(r) for r, _ in found}
        record[label] = {"results": list(before.values())}
        with ledger.transaction():
            ledger.set_fact(FACT, record)
        answer = comparison(ledger, label)
        ledger.close()
    finally:
        lock.release()
    if training is not None:
        frames = [atoms for result, atoms in found if result.state == DONE and atoms is not None]
        write(training, frames, format="extxyz")
    return answer


def comparison(ledger: Ledger, label: str) -> dict[str, Any]:
    """DFT beside the campaign's potential.

    Returns
    -------
    dict
        ``label``, ``delta_mu_o`` in eV, ``references`` (None until bulk and O2 are done), and ``candidates`` by DFT
        rank: ``id``, ``state``, ``gamma_potential`` and ``gamma_dft`` in meV/Å² at ``delta_mu_o``, ``rank_potential``
        and ``rank_dft`` among those that have both, ``fmax`` in eV/Å.
    """
    stored = ledger.fact(FACT, {}).get(label, {}).get("results", [])
    results = [Result(**values) for values in stored]
    references = dft_references(results)
    delta_mu_o = chosen_delta_mu_o(ledger)
    rows: list[dict[str, Any]] = []
    for result in results:
        if result.role != "slab":
            continue
        candidate = ledger.candidate(result.id)
        own = None if candidate.line is None else MEV * candidate.line.at(delta_mu_o)
        line = dft_line(result, references)
        rows.append(
            {
                "id": result.id,
                "state": result.state,
                "gamma_potential": own,
                "gamma_dft": None if line is None else MEV * line.at(delta_mu_o),
                "gamma_dft_at_0": None if line is None else MEV * line.gamma0,
                "fmax": result.fmax,
                "source": result.source,
            }
        )
    both = [row for row in rows if row["gamma_dft"] is not None and row["gamma_potential"] is not None]
    for name in ("potential", "dft"):
        for rank, row in enumerate(sorted(both, key=lambda r: (r[f"gamma_{name}"], r["id"])), start=1):
            row[f"rank_{name}"] = rank
    for row in rows:
        row.setdefault("rank_potential", None)
        row.setdefault("rank_dft", None)
    rows.sort(key=lambda row: (row["rank_dft"] or len(rows) + 1, row["id"]))
    return {
        "label": label,
        "delta_mu_o": delta_mu_o,
        "references": None if references is None else asdict(references),
        "candidates": rows,
    }


def dft_references(results: Iterable[Result]) -> DftReferences | None:
    """Bulk, O2 and lower face; None until bulk and O2 are done."""
    done = {result.role: result for result in results if result.role != "slab" and result.state == DONE}
    bulk, oxygen, bottom = (done.get(role) for role in ("bulk", "oxygen", "bottom"))
    if bulk is None or oxygen is None or bulk.energy is None or oxygen.energy is None:
        return None
    energy_bulk = bulk.energy / (bulk.n_atoms / 3)
    gamma_bottom = None
    if bottom is not None and bottom.energy is not None and bottom.counts and bottom.area:
        n_metal = sum(count for symbol, count in bottom.counts.items() if symbol != "O")
        gamma_bottom = (bottom.energy - n_metal * energy_bulk) / (2 * bottom.area)
    return DftReferences(energy_bulk, oxygen.energy / 2, gamma_bottom)


def dft_line(result: Result, references: DftReferences | None) -> Line | None:
    """γ(Δμ_O) by DFT in eV/Å²; None while something is missing."""
    if references is None or result.state != DONE or result.energy is None or not result.counts or not result.area:
        return None
    if result.symmetric:
        return gamma_symmetric(result.energy, result.counts, references, result.area)
    if references.gamma_bottom is None:
        return None
    return gamma_one_sided(result.energy, result.counts, references, result.area, references.gamma_bottom)


def print_comparison(found: Mapping[str, Any], console: Console) -> None:
    """The comparison as a table for a terminal."""
    table = Table(title=f"γ / meV Å⁻² at Δμ_O = {found['delta_mu_o']:g} eV, DFT: {found['label']}")
    for name in ("id", "state", "potential", "rank", "DFT", "rank"):
        table.add_column(name, overflow="fold")
    for row in found["candidates"]:
        values = [row["gamma_potential"], row["rank_potential"], row["gamma_dft"], row["rank_dft"]]
        shown = ["–" if v is None else str(v) if isinstance(v, int) else f"{v:.1f}" for v in values]
        table.add_row(row["id"], row["state"], *shown)
    console.print(table)
    if found["references"] is None:
        console.print("bulk or O2 are not done: γ needs both", highlight=False)


def _furthest(found: Sequence[tuple[Result, Atoms | None]]) -> list[tuple[Result, Atoms | None]]:
    """One result per calculation, the one that came furthest; energies of two codes cannot be mixed."""
    codes = sorted({result.code for result, _ in found if result.state == DONE})
    if len(codes) > 1:
        raise InputError(
            f"the sources hold finished calculations of {' and '.join(c or 'files' for c in codes)}, whose energies "
            "cannot be compared: import one at a time, each with its own `--label`"
        )
    best: dict[tuple[str, str], tuple[Result, Atoms | None]] = {}
    for result, atoms in found:
        key = (result.id, result.role)
        if key not in best or ORDER.index(result.state) > ORDER.index(best[key][0].state):
            best[key] = (result, atoms)
    return list(best.values())


def _of_jobs(folder: Path) -> list[tuple[Result, Atoms | None]]:
    """Every job of a folder, and of the folders of single codes below an export."""
    lists = sorted([folder / JOBS, *folder.glob(f"*/{JOBS}")])
    found: list[tuple[Result, Atoms | None]] = []
    for path in lists:
        if not path.is_file():
            continue
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            jobs = record["jobs"]
            code = str(record["code"])
            found += [_of_job(path.parent, job, code) for job in jobs]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InputError(f"`{path}` is no list of jobs as `searcher export` writes it ({error})") from None
    return found


def _of_job(base: Path, job: Mapping[str, Any], code: str) -> tuple[Result, Atoms | None]:
    plain = {"id": job["id"], "role": job["role"], "symmetric": bool(job.get("symmetric", False)), "code": code}
    folder = base / Path(job["folder"]).name
    for name, file_format, finished, failed in OUTPUTS:
        path = folder / name
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if failed and failed in text:
            return Result(**plain, state=FAILED, source=str(path)), None
        if finished not in text:
            return Result(**plain, state=RUNNING, source=str(path)), None
        try:
            atoms = ase.io.read(path, index=-1, format=file_format)
        except FAULTS:
            return Result(**plain, state=FAILED, source=str(path)), None
        assert isinstance(atoms, Atoms)  # one image was asked for
        formula = atoms.get_chemical_formula()
        if job.get("formula", formula) != formula:
            raise InputError(f"`{path}` holds {formula} but its input was {job['formula']}: was the wrong file copied?")
        if file_format == "vasp-xml" and not _electrons_converged(path):
            return Result(**plain, state=FAILED, source=str(path)), None
        return _result(plain, atoms, path), atoms
    return Result(**plain, state=SENT, source=str(folder)), None


def _electrons_converged(path: Path) -> bool:
    """Whether the last electronic minimisation of a finished ``vasprun.xml`` ended before its allowed steps did."""
    root = ElementTree.parse(path).getroot()
    allowed = root.findtext(".//parameters//i[@name='NELM']")
    steps = root.findall("calculation")[-1].findall("scstep")
    return allowed is None or len(steps) < int(allowed)


def _of_file(path: Path) -> list[tuple[Result, Atoms | None]]:
    found: list[tuple[Result, Atoms | None]] = []
    for number, atoms in enumerate(read_structures(path)):
        told = atoms.info
        name = next((str(told[key]) for key in ("candidate", "id") if key in told), None)
        role = str(told.get("role", "slab"))
        if name is None and role == "slab":
            raise InputError(
                f"`{path}`, structure {number} does not say which candidate it is: set `info['candidate']`"
            )
        plain = {"id": name or role, "role": role, "symmetric": bool(told.get("symmetric", False))}
        found.append((_result(plain, atoms, path), atoms))
    return found


def _result(plain: Mapping[str, Any], atoms: Atoms, path: Path) -> Result:
    results = getattr(atoms.calc, "results", {})
    energy = results.get("energy")
    if energy is None or not np.isfinite(energy):
        return Result(**plain, state=FAILED, source=str(path))
    fmax = None
    if "forces" in results and len(atoms):
        fmax = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    return Result(
        **plain,
        state=DONE,
        energy=float(energy),
        fmax=fmax,
        n_atoms=len(atoms),
        counts={symbol: len(rows) for symbol, rows in atoms.symbols.indices().items()},
        area=float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1]))),
        source=str(path),
    )
