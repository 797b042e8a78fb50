"""A GAP as an ASE calculator: in machine code where there is some for its terms, otherwise by quippy.

quippy is imported in this module only, and only when a GAP is built: loading it starts the Fortran library, which
belongs into a worker process.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from relax.compiled_gap.calculator import CompiledGap
from relax.compiled_gap.parameters import NotCompilable

ENERGY_AGREEMENT = 1e-6
"""eV per atom by which machine code and quippy may differ"""
FORCE_AGREEMENT = 3e-5
"""Share of the largest force, or of 3 eV/Å; quippy's own forces differ as much from the slopes of its energies"""
PROBES, PROBE_ATOMS, PROBE_DENSITY, PROBE_DISTANCE = 3, 10, 0.06, 1.6
"""Random periodic structures on which both are compared: how many, atoms, atoms per Å³, least distance in Å"""


class Gap(Calculator):
    """A GAP.

    Parameters
    ----------
    xml : pathlib.Path
        Checked before by `relax.potential.check_files`.
    root : xml.etree.ElementTree.Element
        What it holds.

    Attributes
    ----------
    evaluated_by : str
        ``"machine code"``, or ``"quippy"`` and why.
    extra_results : dict
        What quippy gives besides, by ``calc_args``.

    Raises
    ------
    RuntimeError
        If quippy cannot read it.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]  # type: ignore[misc]

    def __init__(self, xml: Path, root: ElementTree.Element) -> None:
        super().__init__()
        self._xml = xml
        self._quippy: Calculator | None = self._new_quippy()
        self.extra_results: dict[str, Any] = {}
        self._fast: Calculator = self._quippy
        try:
            compiled = CompiledGap(root, xml.parent, _descriptor)
            _compare(compiled, self._quippy, compiled.symbols)
        except NotCompilable as reason:
            self.evaluated_by = f"quippy, as {reason}"
        else:
            self.evaluated_by = "machine code"
            self._fast, self._quippy = compiled, None  # its memory is given back until it is asked for a variance

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
        calc_args: str = "",
    ) -> None:
        """Evaluate; with `calc_args` by quippy, which leaves in `extra_results` what they ask for."""
        inner = self.by_quippy() if calc_args else self._fast
        inner.reset()
        inner.calculate(atoms, properties, system_changes, **({"calc_args": calc_args} if calc_args else {}))
        self.atoms, self.results = inner.atoms, inner.results
        self.extra_results = getattr(inner, "extra_results", {})

    def by_quippy(self) -> Calculator:
        """The same potential, evaluated by quippy alone."""
        self._quippy = self._quippy or self._new_quippy()
        return self._quippy

    def _new_quippy(self) -> Calculator:
        from quippy.potential import Potential  # loading it starts the Fortran library

        # '' takes the XML's own potential; 'IP GAP' would silently drop its repulsive baseline
        return Potential("", param_filename=str(self._xml))


def _descriptor(text: str) -> Any:
    from quippy.descriptors import Descriptor

    return Descriptor(text).calc_descriptor


def _compare(compiled: Calculator, quippy: Calculator, symbols: Sequence[str]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(PROBES):
        atoms = _probe(symbols, rng)
        answers = []
        for calculator in (compiled, quippy):
            calculator.reset()
            calculator.calculate(atoms.copy(), ["energy", "forces", "stress"], list(all_changes))
            answers.append(calculator.results)
        energy = abs(answers[0]["energy"] - answers[1]["energy"]) / len(atoms)
        force = float(np.max(np.abs(answers[0]["forces"] - answers[1]["forces"])))
        largest = max(3.0, float(np.max(np.abs(answers[1]["forces"]))))
        if not (energy < ENERGY_AGREEMENT and force < FORCE_AGREEMENT * largest):
            raise NotCompilable(f"machine code differs from it by {energy:.1e} eV per atom and {force:.1e} eV/Å")


def _probe(symbols: Sequence[str], rng: np.random.Generator) -> Atoms:
    """A random periodic structure without atoms on each other."""
    side = (PROBE_ATOMS / PROBE_DENSITY) ** (1 / 3)
    atoms = Atoms(cell=[side, 1.1 * side, 0.9 * side], pbc=True)
    while len(atoms) < PROBE_ATOMS:
        more = atoms + Atoms(symbols[len(atoms) % len(symbols)], positions=[rng.random(3) @ atoms.cell.array])
        if len(atoms) == 0 or more.get_distances(-1, range(len(atoms)), mic=True).min() > PROBE_DISTANCE:
            atoms = more
    return atoms
