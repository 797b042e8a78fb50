"""Energies of structures from files, and what they are measured against."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relax.oxide import RUTHENIUM
from relax.potential import PotentialSpec, gap_spec
from relax.references import References
from relax.worker import evaluate_task, plain_arrays, reference_task
from searcher.campaign.workers.executor import Executor
from searcher.errors import EnvironmentProblem, InputError
from searcher.scoring.thermodynamics import Line, gamma_one_sided, gamma_symmetric
from searcher.structures.crystal import Crystal, metal_structure
from searcher.structures.slabs import FileStructure
from searcher.structures.templates import bottom_slab

CHUNK = 16
RECORDED_REFERENCES = ("energy_bulk_eV", "half_energy_o2_eV")
RECORDED_BOTTOM = "gamma_bottom_eV_per_A2"
RECORDED_LINES = (
    ("gamma_zero_eV_per_A2", "gamma_slope_per_A2", 1.0),
    ("gamma_meV_per_A2_at_0_eV", "gamma_slope_per_A2", 1e-3),
)


@dataclass(frozen=True)
class EnergyReferences:
    """Bulk and oxygen that surface energies are measured against, in eV.

    Attributes
    ----------
    energy_bulk : float
        Per formula unit.
    half_energy_o2 : float
    formation_energy : float or None
        Of the oxide per formula unit.
    source : str
        ``given``, ``files``, ``recorded`` or ``potential``.
    """

    energy_bulk: float
    half_energy_o2: float
    formation_energy: float | None
    source: str


def parse_potential(text: str, arguments: dict[str, Any] | None = None) -> PotentialSpec:
    """A potential as the command line names it: ``ruo2``, a GAP's XML file, or ``module:callable``."""
    if ":" in text and not text.endswith(".xml"):
        return PotentialSpec("calculator", import_path=text, arguments=arguments or {})
    return gap_spec(text)


class Energies:
    """Energies from files where they stand there, else from a potential that is only asked when it must be.

    Parameters
    ----------
    executor : callable without arguments that returns an Executor
        Called once, when something must be computed.
    potential : PotentialSpec
    o2_reference : {"raw", "fitted"}
        Of the potential's references.
    given : tuple of two floats, optional
        Energy of bulk per formula unit and ½E(O2) in eV.
    """

    def __init__(
        self,
        executor: Callable[[], Executor],
        potential: PotentialSpec,
        o2_reference: str = "raw",
        given: tuple[float, float] | None = None,
    ) -> None:
        self._make_executor = executor
        self._executor: Executor | None = None
        self.potential = potential
        self._o2_reference = o2_reference
        self._given = given
        self._measured: dict[str, References] = {}
        self._bottoms: dict[tuple[str, str], float] = {}
        self.used_potential = False

    def close(self) -> None:
        if self._executor is not None:
            self._executor.close()

    @property
    def executor(self) -> Executor:
        if self._executor is None:
            self._executor = self._make_executor()
        return self._executor

    def references(self, structures: Iterable[FileStructure]) -> EnergyReferences:
        """What γ is measured against: what was given, else bulk and O2 in the files, else the potential's own.

        Raises
        ------
        InputError
            If files hold only one of bulk and O2.
        """
        structures = list(structures)
        if self._given is not None:
            return EnergyReferences(*self._given, None, "given")
        from_files = _from_files(structures)
        if from_files is not None:
            return from_files
        metal = _metal(structures)
        if self._o2_reference == "fitted" and metal != RUTHENIUM:
            raise InputError(
                f"`--o2-reference fitted` needs the measured formation enthalpy of {metal}O2, and only that of RuO2 is "
                "known here; a campaign takes it as `material.formation_enthalpy`"
            )
        found = self.measured(metal)
        half_o2 = found.half_o2("fitted" if self._o2_reference == "fitted" else "raw")
        return EnergyReferences(found.energy_bulk, half_o2, found.formation_energy(half_o2), "potential")

    def measured(self, metal: str) -> References:
        """Crystal, metal and molecule by the potential."""
        if metal not in self._measured:
            bulk = Crystal(metal).bulk()
            payload = {
                "potential": self.potential.as_dict(),
                "bulk": plain_arrays(bulk),
                "metal_structure": metal_structure(metal),
            }
            self._measured[metal] = References(**self._single(reference_task, payload))
        return self._measured[metal]

    def of(self, structures: Sequence[FileStructure]) -> list[tuple[float | None, str]]:
        """Energy in eV and its source, ``file``, ``potential`` or ``none``, of each structure."""
        missing = [number for number, s in enumerate(structures) if s.energy is None]
        chunks = [missing[i : i + CHUNK] for i in range(0, len(missing), CHUNK)]
        found: list[tuple[float | None, str]] = [(s.energy, "file") for s in structures]
        payloads = [
            {"potential": self.potential.as_dict(), "structures": [plain_arrays(structures[n].atoms) for n in chunk]}
            for chunk in chunks
        ]
        if not payloads:
            return found
        self.used_potential = True
        for outcome in self.executor.map(evaluate_task, payloads):
            if outcome.result is None:
                raise EnvironmentProblem(f"the potential gives no energies: {outcome.failure}, {outcome.message}")
            for number, energy in zip(chunks[outcome.index], outcome.result["energies"], strict=True):
                usable = bool(np.isfinite(energy))
                found[number] = (float(energy), "potential") if usable else (None, "none")
        return found

    def line(
        self, structure: FileStructure, energy: float, references: EnergyReferences, gamma_bottom: float | None
    ) -> Line | None:
        """γ(Δμ_O) of a slab in eV/Å²; None where its composition or its facet leaves it undefined."""
        if not _one_metal(structure):
            return None
        if structure.faces != "one-sided":
            return gamma_symmetric(energy, structure.counts, references, structure.area)
        bottom = gamma_bottom if gamma_bottom is not None else structure.info.get(RECORDED_BOTTOM)
        if bottom is None and structure.facet is not None:
            bottom = self._bottom(structure.facet, _metal([structure]))
        if bottom is None:
            return None
        return gamma_one_sided(energy, structure.counts, references, structure.area, float(bottom))

    def o2_schemes(self) -> dict[str, float]:
        """½E(O2) in eV by either scheme, where the potential's references were measured, of RuO2 alone."""
        if set(self._measured) != {RUTHENIUM}:
            return {}
        found = self._measured[RUTHENIUM]
        return {"raw": found.half_o2("raw"), "fitted": found.half_o2("fitted")}

    def crystal(self, structures: Sequence[FileStructure]) -> Crystal | None:
        """The oxide of the structures' metal on the lattice that the potential gave it; RuO2 without that as measured.

        None where there are several metals, or where nothing is known of the lattice.
        """
        metals = {symbol for structure in structures for symbol in structure.counts} - {"O"}
        if len(metals) != 1:
            return None
        metal = metals.pop()
        if (found := self._measured.get(metal)) is not None:
            return Crystal(metal, found.a, found.c, found.u)
        return Crystal() if metal == RUTHENIUM else None

    def _bottom(self, facet: str, metal: str) -> float:
        """γ of the template's bottom in eV/Å² by the potential."""
        if (facet, metal) not in self._bottoms:
            found = self.measured(metal)
            slab = bottom_slab(Crystal(metal, found.a, found.c, found.u), facet)
            payload = {"potential": self.potential.as_dict(), "structures": [plain_arrays(slab)]}
            energy = float(self._single(evaluate_task, payload)["energies"][0])
            n_metal = int(np.count_nonzero(slab.numbers != 8))
            area = float(slab.cell[0, 0] * slab.cell[1, 1])
            self._bottoms[facet, metal] = (energy - n_metal * found.energy_bulk) / (2 * area)
        return self._bottoms[facet, metal]

    def _single(self, task: Callable[[dict[str, Any]], dict[str, Any]], payload: dict[str, Any]) -> dict[str, Any]:
        self.used_potential = True
        outcome = next(iter(self.executor.map(task, [payload])))
        if outcome.result is None:
            raise EnvironmentProblem(f"the potential gives no reference energies: {outcome.failure}, {outcome.message}")
        return outcome.result


def recorded_line(structure: FileStructure) -> Line | None:
    """γ(Δμ_O) as `searcher seeds` and `searcher export` wrote it beside a structure."""
    for zero, slope, scale in RECORDED_LINES:
        if zero in structure.info and slope in structure.info:
            return Line(scale * float(structure.info[zero]), float(structure.info[slope]))
    return None


def recorded_references(structure: FileStructure) -> EnergyReferences | None:
    """Bulk and oxygen that `searcher export` wrote beside a structure."""
    if not all(key in structure.info for key in RECORDED_REFERENCES):
        return None
    bulk, oxygen = (float(structure.info[key]) for key in RECORDED_REFERENCES)
    return EnergyReferences(bulk, oxygen, None, "recorded")


def lines_of(
    structures: Sequence[FileStructure],
    energies: Energies,
    references: Callable[[], EnergyReferences],
    gamma_bottom: float | None = None,
) -> list[tuple[Line | None, str]]:
    """γ(Δμ_O) in eV/Å² and where the energy comes from, for each slab.

    A structure that records its references with its energy, as exports do, is measured against these. A γ that a file
    records stands where the file has no energy. `references` is asked only if something else is needed.
    """
    recorded = {n: line for n, s in enumerate(structures) if s.energy is None and (line := recorded_line(s))}
    asked = [n for n in range(len(structures)) if n not in recorded]
    found: list[tuple[Line | None, str]] = [(recorded.get(n), "recorded") for n in range(len(structures))]
    for number, (energy, source) in zip(asked, energies.of([structures[n] for n in asked]), strict=True):
        structure = structures[number]
        own = recorded_references(structure) if source == "file" else None
        line = None if energy is None else energies.line(structure, energy, own or references(), gamma_bottom)
        found[number] = (line, source)
    return found


def _from_files(structures: Sequence[FileStructure]) -> EnergyReferences | None:
    bulk = [s.energy / (len(s.atoms) / 3) for s in structures if s.role == "bulk" and s.energy is not None]
    oxygen = [s.energy / 2 for s in structures if s.role == "oxygen" and s.energy is not None]
    metal = [s.energy / len(s.atoms) for s in structures if s.role == "metal" and s.energy is not None]
    if not bulk and not oxygen:
        return None
    if not bulk or not oxygen:
        raise InputError(
            f"the files hold an energy of {'bulk' if bulk else 'O2'} but none of {'O2' if bulk else 'bulk'}: both are "
            "needed; give both structures with their energies, or `--energy-bulk` and `--half-energy-o2`"
        )
    formation = min(bulk) - min(metal) - 2 * min(oxygen) if metal else None
    return EnergyReferences(min(bulk), min(oxygen), formation, "files")


def _one_metal(structure: FileStructure) -> bool:
    return len([symbol for symbol in structure.counts if symbol != "O"]) == 1


def _metal(structures: Sequence[FileStructure]) -> str:
    metals = sorted({symbol for s in structures for symbol in s.counts if symbol != "O"})
    if len(metals) != 1:
        raise InputError(
            f"the structures hold the metals {', '.join(metals) or 'none'}: exactly one is needed beside oxygen"
        )
    return metals[0]
