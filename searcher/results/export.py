"""Terminations as files for other programs."""

import csv
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import ase.db
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from searcher.campaign.candidate import Verdict
from searcher.campaign.ledger import Ledger
from searcher.errors import InputError
from searcher.results.terminations import Termination, chosen_delta_mu_o, describe, described

UNSAFE = re.compile(r"[^A-Za-z0-9._+-]")
README = """\
Terminations of campaign `{name}`: {count} structures ({selection})
Surface: rutile oxide of {metal}, facet ({facet}), {repeat} cell, potential {potential}

{listing}

table.csv, table.json   one row per structure; units are in the column names
combined.extxyz         all structures in one file, in the order of the table

Reading the table
  gamma               surface energy of the upper face in meV/Å² (1 meV/Å² = 0.016022 J/m²) at the oxygen chemical
                      potential in column delta_mu_o_eV: per O atom, relative to half an O2 molecule at 0 K. At another
                      one it is gamma_meV_per_A2_at_0_eV + 1000 × gamma_slope_per_A2 × Δμ_O.
  excess_oxygen       N_O − 2 N_metal of the slab
  kappa, nearest      distance from the most similar structure that was known, 0 if it is the same, and its name
  above_envelope      smallest distance of gamma from the lowest known terminations over the allowed Δμ_O
  energy_class        0 is the most stable class of the campaign
  energy_eV           of the whole slab, with the potential named above, which is not DFT

Geometry
  Slabs are one-sided: the frozen atoms (tag 0 in extxyz, F F F in POSCAR) are cut from the bulk, the lower face is
  stoichiometric; z is the surface normal. extxyz keeps the periodicity of the surface (x and y). POSCAR and CIF are
  periodic in z as well, with the same vacuum; a dipole correction along z belongs to a DFT run of them. POSCAR lists
  the metal before oxygen. extxyz rounds to 1e-8 Å, CIF to 1e-5 of a cell length or better, POSCAR to 1e-16 of it.
"""


def export(
    folder: Path,
    ledger: Ledger,
    out: Path,
    formats: Sequence[str] = ("extxyz", "cif", "poscar"),
    ids: Sequence[str] | None = None,
    verdict: str = Verdict.ACCEPTED,
) -> Path:
    """Write structures, tables and a README into a folder, which is made if it is missing.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's, for messages.
    ledger : Ledger
    out : pathlib.Path
        Files of the same names in it are replaced.
    formats : sequence of {"extxyz", "cif", "poscar"}
    ids : sequence of str, optional
        Candidates to write, whatever their verdict; otherwise all of `verdict`.
    verdict : str

    Returns
    -------
    pathlib.Path
        `out`.

    Raises
    ------
    InputError
        If a format is unknown or a candidate has no relaxed structure.
    StorageError
        If a candidate or structure is missing or damaged.
    """
    unknown = [name for name in formats if name not in WRITERS]
    if unknown:
        raise InputError(f"`formats` holds {', '.join(unknown)}; known are {', '.join(WRITERS)}")
    terminations = _chosen(folder, ledger, ids, verdict)
    names = _file_names([t.id for t in terminations])
    delta_mu_o, surface = chosen_delta_mu_o(ledger), surface_record(ledger)
    out.mkdir(parents=True, exist_ok=True)
    for termination, name in zip(terminations, names, strict=True):
        atoms = annotated(termination, delta_mu_o, surface)
        for kind in formats:
            suffix, writer = WRITERS[kind]
            with _replacing(out / f"{name}{suffix}") as draft:
                writer(draft, atoms)
    write_extxyz(out / "combined.extxyz", terminations, delta_mu_o, surface)
    _write_tables(out, terminations, delta_mu_o)
    selection = "named one by one" if ids is not None else f"verdict: {verdict}"
    _write_readme(out, ledger, selection, names, formats)
    return out


def write_extxyz(
    path: Path,
    terminations: Sequence[Termination],
    delta_mu_o: float,
    surface: Mapping[str, str | float] | None = None,
) -> None:
    """All structures in one file; an empty file if there are none."""
    with _replacing(path) as draft:
        write(draft, [annotated(t, delta_mu_o, surface) for t in terminations], format="extxyz")


def write_accepted_db(folder: Path, ledger: Ledger) -> Path:
    """`accepted.db` in the campaign's folder, an ASE database of what was accepted; replaced as a whole."""
    path = folder / "accepted.db"
    delta_mu_o = chosen_delta_mu_o(ledger)
    with _replacing(path) as draft, ase.db.connect(draft, type="db", append=False, use_lock_file=False) as database:
        for termination in described(ledger, ledger.candidates(verdict=Verdict.ACCEPTED)):
            atoms = annotated(termination, delta_mu_o)
            row = {**atoms.info, "facet": f"({_facet(ledger)})"}
            atoms.info = {}
            database.write(atoms, key_value_pairs=row)
    return path


def surface_record(ledger: Ledger) -> dict[str, str | float]:
    """What a structure's energy is measured against, with units in the names: enough to recompute its γ."""
    template, references = ledger.fact("template") or {}, ledger.fact("references") or {}
    record: dict[str, str | float] = {"facet": _facet(ledger)}
    for key, name, source in (
        ("gamma_bottom_eV_per_A2", "gamma_bottom", template),
        ("energy_bulk_eV", "energy_bulk", references),
        ("half_energy_o2_eV", "half_energy_o2", references),
    ):
        if name in source:
            record[key] = float(source[name])
    return record


def annotated(termination: Termination, delta_mu_o: float, surface: Mapping[str, str | float] | None = None) -> Atoms:
    """A copy of the structure with its record in `info` and its energy as a single-point result.

    Parameters
    ----------
    termination : Termination
    delta_mu_o : float
        In eV.
    surface : mapping, optional
        As `surface_record` gives it.
    """
    atoms = termination.atoms.copy()
    row = termination.row(delta_mu_o)
    kept = (
        "arm", "iteration", "verdict", "reason", "excess_oxygen", "excess_oxygen_per_A2", "delta_mu_o_eV",
        "gamma_meV_per_A2", "gamma_meV_per_A2_at_0_eV", "gamma_slope_per_A2", "above_envelope_meV_per_A2",
        "energy_class", "kappa", "nearest",
    )  # fmt: skip
    atoms.info = {"candidate": termination.id, **{key: row[key] for key in kept if row[key] is not None}}
    atoms.info |= surface or {}
    if termination.energy is not None:
        atoms.calc = SinglePointCalculator(atoms, energy=termination.energy)
    return atoms


def three_dimensional(atoms: Atoms) -> Atoms:
    """A copy that is periodic along z as well, heavier species first, each in its former order."""
    ordered = atoms[np.argsort(-atoms.numbers, kind="stable")]
    ordered.pbc = True
    return ordered


def _chosen(folder: Path, ledger: Ledger, ids: Sequence[str] | None, verdict: str) -> list[Termination]:
    if ids is None:
        return described(ledger, ledger.candidates(verdict=verdict))
    found = []
    for candidate_id in dict.fromkeys(ids):
        termination = describe(ledger, ledger.candidate(candidate_id))
        if termination is None:
            raise InputError(f"candidate `{candidate_id}` of `{folder}` has no relaxed structure to export")
        found.append(termination)
    return found


def _file_names(ids: Sequence[str]) -> list[str]:
    """One name per id, of harmless characters and without a path; ids that would collide get a number."""
    taken: dict[str, int] = {}
    names = []
    for candidate_id in ids:
        name = UNSAFE.sub("_", candidate_id).lstrip(".-")[:120] or "structure"
        taken[name.lower()] = taken.get(name.lower(), 0) + 1
        names.append(name if taken[name.lower()] == 1 else f"{name}~{taken[name.lower()]}")
    return names


def _write_one_extxyz(path: Path, atoms: Atoms) -> None:
    write(path, atoms, format="extxyz")


def _write_cif(path: Path, atoms: Atoms) -> None:
    write(path, three_dimensional(atoms), format="cif", wrap=False)


def _write_poscar(path: Path, atoms: Atoms) -> None:
    write(path, three_dimensional(atoms), format="vasp", direct=True)


WRITERS: dict[str, tuple[str, Callable[[Path, Atoms], None]]] = {
    "extxyz": (".extxyz", _write_one_extxyz),
    "cif": (".cif", _write_cif),
    "poscar": (".poscar", _write_poscar),
}


def _write_tables(out: Path, terminations: Sequence[Termination], delta_mu_o: float) -> None:
    rows = [termination.row(delta_mu_o) for termination in terminations]
    with _replacing(out / "table.json") as draft:
        draft.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with _replacing(out / "table.csv") as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        if rows:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _write_readme(out: Path, ledger: Ledger, selection: str, names: Sequence[str], formats: Sequence[str]) -> None:
    template = ledger.fact("template") or {}
    config = ledger.fact("config", {})
    suffixes = ", ".join(WRITERS[kind][0] for kind in formats)
    text = README.format(
        name=ledger.fact("name"),
        count=len(names),
        selection=selection,
        metal=config.get("material", {}).get("metal", "unknown"),
        facet=_facet(ledger),
        repeat="×".join(str(n) for n in template.get("repeat", ())),
        potential=ledger.fact("potential"),
        listing=f"NAME{{{suffixes}}}   one structure each, NAME is the candidate's id" if formats else "",
    )
    with _replacing(out / "README.txt") as draft:
        draft.write_text(text, encoding="utf-8")


def _facet(ledger: Ledger) -> str:
    return str((ledger.fact("template") or {}).get("facet", "unknown"))


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A draft beside `path` that takes its place once it is complete."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
