"""Terminations as files for other programs."""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from searcher.campaign.problem import template_settings
from searcher.campaign.storage.candidate import Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.config.recorded import recorded_config
from searcher.errors import InputError
from searcher.evaluation.diagram import ledger_crystal
from searcher.files import replacing, write_text
from searcher.results.description import describe_candidate
from searcher.results.dft_inputs import KPOINT_LENGTH, Job, oxygen_molecule, write_jobs
from searcher.results.dft_inputs import WRITERS as DFT_WRITERS
from searcher.results.export_readme import readme
from searcher.results.terminations import Termination, chosen_delta_mu_o, describe, described
from searcher.structures.symmetric import symmetrised
from searcher.structures.templates import bottom_slab

UNSAFE = re.compile(r"[^A-Za-z0-9._+-]")


def export(
    folder: Path,
    ledger: Ledger,
    out: Path,
    formats: Sequence[str] = ("extxyz", "cif", "poscar"),
    ids: Sequence[str] | None = None,
    verdict: str = Verdict.ACCEPTED,
    symmetric: bool = False,
    kpoint_length: float = KPOINT_LENGTH,
    at_temperature: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write structures, tables and a README into a folder, which is made if it is missing.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's, for messages.
    ledger : Ledger
    out : pathlib.Path
        Files of the same names in it are replaced.
    formats : sequence of {"extxyz", "cif", "poscar", "db", "vasp", "espresso", "gpaw"}
        The last three are inputs of DFT codes, with those of the references.
    ids : sequence of str, optional
        Candidates to write, whatever their verdict; otherwise all of `verdict`.
    verdict : str
    symmetric : bool
        DFT inputs of slabs with two equal faces instead of one-sided ones.
    kpoint_length : float
        Number of k-points times cell length in Å.
    at_temperature : mapping of id to mapping, optional
        As `finite_temperature.AtTemperature.records` gives it; further columns of the tables.

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
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"`formats` holds {', '.join(unknown)}; known are {', '.join(FORMATS)}")
    terminations = chosen_terminations(folder, ledger, ids, verdict)
    names = _file_names([t.id for t in terminations])
    delta_mu_o, surface = chosen_delta_mu_o(ledger), surface_record(ledger)
    out.mkdir(parents=True, exist_ok=True)
    for termination, name in zip(terminations, names, strict=True):
        atoms = annotated(termination, delta_mu_o, surface)
        for kind in (name for name in formats if name in WRITERS):
            suffix, writer = WRITERS[kind]
            with replacing(out / f"{name}{suffix}") as draft:
                writer(draft, atoms)
    write_extxyz(out / "combined.extxyz", terminations, delta_mu_o, surface)
    extra = at_temperature or {}
    _write_tables(out, terminations, delta_mu_o, extra)
    _write_descriptions(out, ledger, terminations)
    if "db" in formats:
        _write_db(out / "terminations.db", ledger, terminations)
    for code in (name for name in formats if name in DFT_CODES):
        named = dict(zip(names, terminations, strict=True))
        write_jobs(out / code, code, dft_structures(ledger, named, symmetric), _campaign_record(ledger), kpoint_length)
    suffixes = [WRITERS[kind][0] for kind in formats if kind in WRITERS]
    selection = "named one by one" if ids is not None else f"verdict: {verdict}"
    shown = {key for record in extra.values() for key in record}
    write_text(out / "README.txt", readme(ledger, selection, len(names), formats, suffixes, shown))
    return out


def write_extxyz(
    path: Path,
    terminations: Sequence[Termination],
    delta_mu_o: float,
    surface: Mapping[str, str | float] | None = None,
) -> None:
    """All structures in one file; an empty file if there are none."""
    with replacing(path) as draft:
        write(draft, [annotated(t, delta_mu_o, surface) for t in terminations], format="extxyz")


def write_accepted_db(folder: Path, ledger: Ledger) -> Path:
    """`accepted.db` in the campaign's folder, an ASE database of what was accepted; replaced as a whole."""
    return _write_db(folder / "accepted.db", ledger, described(ledger, ledger.candidates(verdict=Verdict.ACCEPTED)))


def _write_db(path: Path, ledger: Ledger, terminations: Sequence[Termination]) -> Path:
    delta_mu_o, surface = chosen_delta_mu_o(ledger), surface_record(ledger)
    with replacing(path) as draft, ase.db.connect(draft, type="db", append=False, use_lock_file=False) as database:
        for termination in terminations:
            atoms = annotated(termination, delta_mu_o, surface)
            row = {**atoms.info, "facet": f"({_facet(ledger)})"}
            atoms.info = {}
            database.write(atoms, key_value_pairs=row)
    return path


def dft_structures(
    ledger: Ledger, terminations: Mapping[str, Termination], symmetric: bool
) -> dict[str, tuple[Job, Atoms]]:
    """What DFT has to compute for the γ of some terminations: slabs, bulk, O2, and the lower face of one-sided slabs.

    All at the campaign's lattice, so that the strain against DFT's own cancels between slab and bulk.

    Parameters
    ----------
    ledger : Ledger
    terminations : mapping of file name to Termination
    symmetric : bool
        Slabs with two equal faces, not relaxed, instead of one-sided ones with frozen layers.

    Raises
    ------
    InputError
        If the campaign has no lattice yet, or a slab has no centre of inversion.
    """
    crystal = ledger_crystal(ledger)
    if crystal is None:
        raise InputError("the campaign has recorded no lattice yet: DFT inputs need its bulk and its lower face")
    found: dict[str, tuple[Job, Atoms]] = {}
    for name, one in terminations.items():
        slab = symmetrised(one.atoms, one.n_frozen) if symmetric else one.atoms
        found[name] = (Job(one.id, "slab", name, symmetric), three_dimensional_slab(slab))
    found["reference-bulk"] = (Job("bulk", "bulk", "reference-bulk"), crystal.bulk())
    found["reference-O2"] = (Job("O2", "oxygen", "reference-O2"), oxygen_molecule())
    if not symmetric:
        surface = recorded_config(ledger.fact("config", {})).surface
        bottom = bottom_slab(crystal, _facet(ledger), template_settings(surface))
        found["reference-bottom"] = (Job("bottom", "bottom", "reference-bottom"), three_dimensional_slab(bottom))
    return found


def three_dimensional_slab(atoms: Atoms) -> Atoms:
    """As `three_dimensional`, without periodicity along z, so that k-points are counted for a surface."""
    slab = three_dimensional(atoms)
    slab.pbc = (True, True, False)
    return slab


def _campaign_record(ledger: Ledger) -> dict[str, str]:
    return {"campaign": str(ledger.fact("name")), "facet": _facet(ledger), "potential": str(ledger.fact("potential"))}


def _write_descriptions(out: Path, ledger: Ledger, terminations: Sequence[Termination]) -> None:
    records = [describe_candidate(ledger, termination) for termination in terminations]
    write_text(out / "descriptions.json", json.dumps(records, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def surface_record(ledger: Ledger) -> dict[str, str | float]:
    """What a structure's energy is measured against, with units in the names: enough to recompute its γ."""
    template, references = ledger.template, ledger.fact("references") or {}
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


def chosen_terminations(
    folder: Path, ledger: Ledger, ids: Sequence[str] | None = None, verdict: str = Verdict.ACCEPTED
) -> list[Termination]:
    """Candidates by id, whatever their verdict, or all of one verdict.

    Raises
    ------
    InputError
        If a candidate has no relaxed structure.
    StorageError
        If a candidate or structure is missing or damaged.
    """
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


DFT_CODES = tuple(DFT_WRITERS)
FORMATS = (*WRITERS, "db", *DFT_CODES)


def _write_tables(
    out: Path, terminations: Sequence[Termination], delta_mu_o: float, extra: Mapping[str, Mapping[str, Any]]
) -> None:
    rows = [{**termination.row(delta_mu_o), **extra.get(termination.id, {})} for termination in terminations]
    write_text(out / "table.json", json.dumps(rows, indent=1, allow_nan=False) + "\n")
    with replacing(out / "table.csv") as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        if rows:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _facet(ledger: Ledger) -> str:
    return str(ledger.template.get("facet", "unknown"))
