"""How exactly grids give their atoms back: without noise, at the Cramér–Rao bound, coarse, and damaged.

    python benchmarks/backmapping.py

Prints a table for docs/grids.md. Structures: every termination by construction of the five facets, relaxed by the
shipped potential; copies of these rattled by 0.1 Å; and the slabs that the potential was fitted to, hot, strained and
half relaxed.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from generators.grids.backmapping import backmap
from generators.grids.density import axis_profiles, densities, pack
from generators.grids.matching import Agreement, agreement
from generators.grids.resolution import resolution_violations
from generators.grids.spec import GridSpec
from relax.potential import build_calculator, gap_spec
from relax.relaxation import relax
from relax.relaxation_settings import RelaxationSettings
from searcher.roundtrip import closest_pair
from searcher.structures.crystal import Crystal
from searcher.structures.files import read_structures
from searcher.structures.templates import TemplateSettings, build_template, seed_structures

FACETS = ("001", "100", "101", "110", "111")
SPECIES = ("O", "Ru")
FRAMES = Path(__file__).parent.parent / "relax" / "potentials" / "ruo2" / "data" / "frames.extxyz.xz"
CELL_SHAPE, CELL_SIGMA = (32, 32, 32), 0.45
WINDOW_SHAPE, WINDOW_SIGMA = (16, 16, 16), 0.4
VACUUM = 8.0
LATTICE = Crystal()


@dataclass(frozen=True)
class Case:
    """A structure on its grid."""

    spec: GridSpec
    structure: tuple[np.ndarray, np.ndarray]
    refused: bool

    @property
    def bound(self) -> float:
        """Cramér–Rao bound of an atom's distance in Å per unit of noise, relative to a peak."""
        return float(np.sqrt(3) * np.sqrt(2 * self.spec.voxel_volume / (np.pi**1.5 * self.spec.sigma)))


def relaxed_terminations(calls: int) -> list[tuple[str, Atoms]]:
    """Every termination by construction, relaxed by the shipped potential; facet and slab."""
    calculator = build_calculator(gap_spec("ruo2"))
    found = []
    for facet in FACETS:
        for atoms in seed_structures(LATTICE, facet, (1, 1), TemplateSettings(vacuum=VACUUM)).values():
            result = relax(atoms, calculator, RelaxationSettings(max_calls=calls))
            slab = atoms.copy()
            slab.set_positions(result.positions, apply_constraint=False)
            found.append((facet, slab))
    return found


def rattled(slabs: Sequence[tuple[str, Atoms]], copies: int, rng: np.random.Generator) -> list[tuple[str, Atoms]]:
    """Copies with every atom moved by 0.1 Å per coordinate."""
    found = []
    for facet, atoms in slabs:
        for _ in range(copies):
            moved = atoms.copy()
            moved.set_positions(atoms.positions + rng.normal(0.0, 0.1, atoms.positions.shape), apply_constraint=False)
            found.append((facet, moved))
    return found


def cell_case(atoms: Atoms) -> Case:
    spec = GridSpec.for_cell(atoms.cell.lengths(), CELL_SHAPE, SPECIES, CELL_SIGMA)
    return _case(spec, atoms.numbers, atoms.positions)


def window_case(facet: str, atoms: Atoms) -> Case:
    """The free atoms in the template's window, which is stretched where relaxation carried one beyond it."""
    template = build_template(LATTICE, facet, (1, 1), TemplateSettings(vacuum=VACUUM))
    numbers, positions = template.free_part(atoms)
    z = positions[:, 2]
    template = replace(
        template,
        free_floor=min(template.free_floor, float(z.min())),
        free_ceiling=max(template.free_ceiling, float(z.max())),
    )
    return _case(GridSpec.for_window(template, WINDOW_SHAPE, SPECIES, WINDOW_SIGMA), numbers, positions)


def _case(spec: GridSpec, numbers: np.ndarray, positions: np.ndarray) -> Case:
    refused = bool(resolution_violations(spec, closest_pair(numbers, positions, spec)))
    return Case(spec, (numbers, positions), refused)


Damage = Callable[[torch.Tensor, GridSpec], torch.Tensor]


def read_back(cases: Sequence[Case], damage: Damage | None = None) -> tuple[list[Agreement], list[bool], float]:
    """Agreement per case, whether the counts of all species are right, and seconds for all inversions."""
    found, right, seconds = [], [], 0.0
    for case in cases:
        grid = densities(*pack([case.structure], case.spec), case.spec)
        if damage is not None:
            grid = damage(grid, case.spec)
        started = time.perf_counter()
        decoded = backmap(grid, case.spec)[0]
        seconds += time.perf_counter() - started
        found.append(agreement(case.structure, (decoded.numbers, decoded.positions), case.spec))
        right.append(sorted(decoded.numbers) == sorted(case.structure[0]))
    return found, right, seconds


def white_noise(level: float, seed: int) -> Damage:
    generator = torch.Generator().manual_seed(seed)
    return lambda grid, _: grid + level * torch.randn(grid.shape, generator=generator, dtype=grid.dtype)


def blurred(grid: torch.Tensor, spec: GridSpec, width: float = 0.25) -> torch.Tensor:
    """Convolved with a Gaussian of `width` in Å."""
    narrow = replace(spec, sigma=width)
    for axis in range(3):
        kernel = axis_profiles(torch.as_tensor(spec.centres(axis)), narrow, axis)
        grid = torch.tensordot(grid, kernel / kernel.sum(dim=1).amax(), dims=([2], [0]))
    return grid


def as_generators_make_them(grid: torch.Tensor, spec: GridSpec) -> torch.Tensor:
    """Blurred by 0.15 Å, uneven in height, on a haze, with 3 % noise, clipped to 0 … 1, in single precision."""
    generator = torch.Generator().manual_seed(11)
    uneven = torch.linspace(0.75, 1.05, grid.shape[-1], dtype=grid.dtype)
    noise = 0.03 * torch.randn(grid.shape, generator=generator, dtype=grid.dtype)
    return (1.2 * uneven * blurred(grid, spec, 0.15) + 0.02 + noise).clamp(0.0, 1.0).float()


DAMAGES: dict[str, Damage] = {
    "clipped (× 1.5, cut at 1)": lambda grid, _: (1.5 * grid).clamp(max=1.0),
    "scaled (× 0.6)": lambda grid, _: 0.6 * grid,
    "blurred (0.25 Å)": blurred,
    "all at once, with haze and 3 % noise": as_generators_make_them,
}


def show(label: str, cases: Sequence[Case], result: tuple[list[Agreement], list[bool], float]) -> Agreement:
    """Print a row of the table."""
    found, right, seconds = result
    overall = Agreement.over(found)
    print(
        f"| {label} | {len(cases)} | {overall.n_true} | {overall.recall:.5f} | {overall.precision:.5f} | "
        f"{overall.rmsd:.1e} | {overall.max_error:.1e} | {100 * np.mean(right):.1f} % | "
        f"{1e3 * seconds / len(cases):.1f} |",
        flush=True,
    )
    return overall


def over_bound(cases: Sequence[Case], found: Sequence[Agreement], level: float) -> float:
    """Root mean square distance in units of each grid's Cramér–Rao bound."""
    ratios = [agreed.distances / (level * case.bound) for case, agreed in zip(cases, found, strict=True)]
    return float(np.sqrt(np.mean(np.concatenate(ratios) ** 2)))


def large_coarse(rng: np.random.Generator) -> Case:
    """1,296 atoms of the bulk crystal, rattled, at 0.86 Å a voxel."""
    atoms = LATTICE.bulk() * (6, 6, 6)
    atoms.positions += rng.normal(0.0, 0.1, atoms.positions.shape)
    lengths = atoms.cell.lengths()
    shape = tuple(round(length / 0.86) for length in lengths)
    spec = GridSpec.for_cell(lengths, (shape[0], shape[1], shape[2]), SPECIES, 0.5)
    print(f"\n1,296 atoms: shape {shape}, voxel {' × '.join(f'{edge:.3f}' for edge in spec.spacing)} Å, σ 0.5 Å")
    return _case(spec, atoms.numbers, atoms.positions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=5, help="rattled copies of each termination")
    parser.add_argument("--calls", type=int, default=120, help="force calls of a relaxation at most")
    parser.add_argument("--slabs", type=int, help="only so many terminations and slabs of the potential's")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    relaxed = relaxed_terminations(arguments.calls)[: arguments.slabs]
    slabs = [*relaxed, *rattled(relaxed, arguments.copies, rng)]
    frames = [atoms for atoms in read_structures(FRAMES) if atoms.info["config_type"] == "slab"][: arguments.slabs]
    sets = {
        "full cells, relaxed and rattled": [cell_case(atoms) for _, atoms in slabs],
        "full cells, potential's slabs": [cell_case(atoms) for atoms in frames],
        "windows, relaxed and rattled": [window_case(facet, atoms) for facet, atoms in slabs],
    }
    for name, cases in sets.items():
        edges = np.array([case.spec.spacing.max() for case in cases])
        refused = sum(case.refused for case in cases)
        print(f"{name}: {len(cases)}, longest voxel {edges.max():.2f} Å; without --allow-coarse {refused} are refused")
    print("\n| grids | number | atoms | recall | precision | RMSD / Å | max / Å | counts right | ms each |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, cases in sets.items():
        show(f"{name}, no noise", cases, read_back(cases))
    fine = {name: [case for case in cases if not case.refused] for name, cases in sets.items()}
    ratios = []
    for level in (0.02, 0.05, 0.10):
        for name, cases in fine.items():
            result = read_back(cases, white_noise(level, 1))
            show(f"{name}, noise {100 * level:.0f} %", cases, result)
            ratios.append((name, level, over_bound(cases, result[0], level)))
    for damage, apply in DAMAGES.items():
        for name, cases in fine.items():
            show(f"{name}, {damage}", cases, read_back(cases, apply))
    coarse = large_coarse(rng)
    show("1,296 atoms, no noise", [coarse], read_back([coarse]))
    show("1,296 atoms, noise 2 %", [coarse], read_back([coarse], white_noise(0.02, 1)))
    print("\n| grids | noise | RMSD / Cramér–Rao bound |")
    print("|---|---|---|")
    for name, level, ratio in ratios:
        print(f"| {name} | {100 * level:.0f} % | {ratio:.3f} |")


if __name__ == "__main__":
    main()
