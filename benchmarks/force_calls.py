"""What a force call of the shipped potential costs in machine code and by quippy, and how far their answers differ.

    OMP_NUM_THREADS=1 python benchmarks/force_calls.py

Recorded proposals are moved a little before each call; both ways take turns on equal structures, one thread each.
"""

import argparse
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read

from relax.potential import build_calculator, gap_spec

PROPOSALS = Path(__file__).parent / "proposals-110-1x2.extxyz.xz"
MOVED = 0.01
"""Å, standard deviation of each atom before each call"""
REPEATS = ((1, 1, 1), (2, 1, 1), (2, 2, 1))


def called(calculator: Calculator, atoms: Atoms) -> tuple[float, float, np.ndarray]:
    """Seconds, energy in eV and forces in eV/Å."""
    calculator.reset()
    started = time.perf_counter()
    calculator.calculate(atoms.copy(), ["energy", "forces"], list(all_changes))
    return time.perf_counter() - started, calculator.results["energy"], calculator.results["forces"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=40, help="of each way on each size")
    parser.add_argument("--potential", default="ruo2", help="a shipped one's name or an XML file")
    settings = parser.parse_args()
    spec = gap_spec(settings.potential)
    gap = build_calculator(spec)
    from quippy.potential import Potential

    quippy = Potential("", param_filename=spec.path)
    print(f"{platform.processor() or platform.machine()}, quippy-ase {version('quippy-ase')}: {gap.evaluated_by}\n")
    print(
        "| atoms | quippy, ms | here, ms | ratio | largest difference, eV per atom | eV/Å |\n|---|---|---|---|---|---|"
    )
    proposals = read(PROPOSALS, ":")
    assert isinstance(proposals, list)
    rng = np.random.default_rng(0)
    for repeat in REPEATS:
        seconds, energy, force = [], 0.0, 0.0
        for k in range(settings.calls):
            atoms = proposals[k % len(proposals)].repeat(repeat)
            atoms.positions += rng.normal(0, MOVED, atoms.positions.shape)
            (theirs, e1, f1), (ours, e2, f2) = called(quippy, atoms), called(gap, atoms)
            seconds.append((theirs, ours, len(atoms)))
            energy = max(energy, abs(e1 - e2) / len(atoms))
            force = max(force, float(np.max(np.abs(f1 - f2))))
        theirs, ours, size = np.median(np.array(seconds), axis=0)
        print(
            f"| {size:.0f} | {theirs * 1e3:.1f} | {ours * 1e3:.2f} | {theirs / ours:.0f} | {energy:.0e} | {force:.0e} |"
        )


if __name__ == "__main__":
    main()
