"""What a worker process is asked about machine code and quippy: the library may only be loaded there."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

import relax.gap
from relax.gap import Gap
from relax.potential import build_calculator, gap_spec

PROPERTIES = ("energy", "forces", "stress")


def answers(calculator: Calculator, atoms: Atoms) -> dict[str, Any]:
    atoms = atoms.copy()
    atoms.calc = calculator
    found = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    return found | ({"stress": atoms.get_stress()} if atoms.cell.rank == 3 else {})


def by_both(task: dict[str, Any]) -> dict[str, Any]:
    """Every structure by machine code and by quippy, and who was asked."""
    from quippy.potential import Potential

    gap = build_calculator(gap_spec(task["gap"]))
    quippy = Potential("", param_filename=str(Path(gap_spec(task["gap"]).path)))
    return {
        "evaluated_by": gap.evaluated_by,
        "ours": [answers(gap, atoms) for atoms in task["structures"]],
        "theirs": [answers(quippy, atoms) for atoms in task["structures"]],
    }


def by_machine_code(task: dict[str, Any]) -> list[dict[str, Any]]:
    gap = build_calculator(gap_spec(task["gap"]))
    return [answers(gap, atoms) for atoms in task["structures"]]


def when_they_disagree(task: dict[str, Any]) -> dict[str, Any]:
    """Who evaluates if no disagreement at all is allowed, and what comes out."""
    agreement, relax.gap.FORCE_AGREEMENT = relax.gap.FORCE_AGREEMENT, 0.0
    try:
        gap = build_calculator(gap_spec(task["gap"]))
    finally:
        relax.gap.FORCE_AGREEMENT = agreement
    return {"evaluated_by": gap.evaluated_by, **answers(gap, task["structures"][0])}


def variance(task: dict[str, Any]) -> dict[str, Any]:
    """Energy, then local variances, then the energy again."""
    gap = build_calculator(gap_spec(task["gap"]))
    assert isinstance(gap.inner, Gap)
    (atoms,) = task["structures"]
    before = answers(gap, atoms)["energy"]
    variances = gap.local_variance(atoms)
    return {"before": before, "after": answers(gap, atoms)["energy"], "variances": np.asarray(variances)}
