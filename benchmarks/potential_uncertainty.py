"""Is a potential unsure where it is wrong? Local variance and a committee's spread against the true error.

    python benchmarks/potential_uncertainty.py FRAMES.extxyz.xz GAP.xml GAP.xml … --limit 110 --out uncertainty.png

Frames are a potential's kept ones; those that its fit held out are judged. The first GAP is judged; all of them are the
committee, for example fits with other settings or to other halves of the data. Builds the GAPs in this process.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms

from relax.calibration import Calibration, calibrate
from relax.fitting.held_out import hold_out
from relax.labelling.frames import ENERGY_KEY, read_data
from relax.potential import build_calculator, gap_spec
from relax.potential_figures import SURFACE_TYPES
from searcher.results.potential_plots import uncertainty


def main() -> None:
    """Print both calibrations and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path)
    parser.add_argument("gaps", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=110)
    parser.add_argument("--out", type=Path, default=Path("uncertainty.png"))
    arguments = parser.parse_args()
    held = [a for a in hold_out(read_data(arguments.frames))[1] if a.info["config_type"] in SURFACE_TYPES]
    frames = [held[i] for i in np.random.default_rng(0).permutation(len(held))[: arguments.limit]]
    energies, deviations = measured(frames, arguments.gaps)
    errors = energies[0] - [atoms.info[ENERGY_KEY] for atoms in frames]
    predictors = {"local variance": deviations}
    if len(arguments.gaps) > 1:
        predictors["committee spread"] = np.std(energies, axis=0, ddof=1)
    sizes, families = np.array([len(a) for a in frames]), [str(a.info["family"]) for a in frames]
    drawn = {}
    print("| predictor | frames | scale | within 1σ | within 2σ | rank correlation |\n|---|---|---|---|---|---|")
    for name, predicted in predictors.items():
        found = calibrate(predicted, errors, sizes, families)
        print(row(name, found))
        drawn[f"calibrated {name}"] = (found.scale * predicted / sizes, errors / sizes, found.rank_correlation)
    arguments.out.write_bytes(uncertainty(drawn))


def measured(frames: list[Atoms], gaps: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Energies in eV, shape (n_gaps, n_frames), and the first GAP's √(Σ local variances) in eV, shape (n_frames,)."""
    energies, deviations = [], []
    for index, path in enumerate(gaps):
        calculator = build_calculator(gap_spec(path))
        column = []
        for frame in frames:
            atoms = frame.copy()
            atoms.calc = calculator
            column.append(atoms.get_potential_energy())
            if index == 0:
                deviations.append(np.sqrt(np.maximum(calculator.local_variance(atoms), 0.0).sum()))
        energies.append(column)
    return np.array(energies), np.array(deviations)


def row(name: str, found: Calibration) -> str:
    """One line of the table."""
    return (
        f"| {name} | {found.frames} | {found.scale:.2f} | {100 * found.within_one:.0f} % | "
        f"{100 * found.within_two:.0f} % | {found.rank_correlation:.2f} |"
    )


if __name__ == "__main__":
    main()
