"""Is a fitted potential good enough to search with? The figures that decide it, each beside what is asked."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from relax.calibration import LEAST_FRAMES, Calibration, calibrate
from relax.checks import check_output
from relax.dynamics_check import hot_slab
from relax.labelling.frames import ENERGY_KEY, FORCES_KEY
from relax.oxide import carried_over
from relax.potential import CountingCalculator, PotentialSpec, build_calculator, potential_hash, sparse_files
from relax.potential_figures import FACET_IN_FAMILY, SURFACE_TYPES, THERMAL, Parity, PotentialFigures
from relax.progress import shown, tell
from relax.relaxation import relax
from relax.relaxation_settings import RelaxationSettings
from relax.surface_figures import SlabsForLattice, SurfaceFigures, surface_figures

HOT_K, HOT_PS, HOT_SEED = 1000.0, 5.0, 7
TIMED_ATOMS = 18
"""Frames with fewer atoms say nothing of the cost per atom."""
CURVE_START = 0.8
"""Å: from here to `CURVE_ENDS` the dimer curves must rise towards shorter distances."""
CURVE_ENDS = {"O-O": 1.1, "O-Ru": 1.5, "Ru-Ru": 1.6}
"""Å, of RuO2, below each reference curve's minimum (1.21, 1.60 and 1.9 Å)"""


def check(
    spec: PotentialSpec,
    validation_data: Sequence[Atoms],
    labeller_reference: SurfaceFigures,
    bulk_atoms: Atoms,
    slabs_for: SlabsForLattice,
    proposals: Sequence[Atoms],
    hot: Atoms | None = None,
) -> PotentialFigures:
    """Measure a potential. Builds it in this process: call it in a worker if it is a GAP.

    Parameters
    ----------
    spec : PotentialSpec
    validation_data : sequence of ase.Atoms
        Labelled frames of families that the fit has not seen.
    labeller_reference : SurfaceFigures
        What the labeller says of the same crystal and slabs; the potential relaxes them from the labeller's minima.
    bulk_atoms, slabs_for
        As for `relax.surface_figures.surface_figures`.
    proposals : sequence of ase.Atoms
        Clumsy proposals, frozen atoms held by `FixAtoms`, that must relax without a fault.
    hot : ase.Atoms, optional
        A slab that must survive 5 ps at 1000 K.

    Raises
    ------
    PotentialError
        If the potential cannot be built or its crystal does not relax.
    """
    calculator = build_calculator(spec)
    parity = _parity(calculator, validation_data, spec.kind == "gap")
    energy_rmse, force_rmse, frames = _errors(parity)
    oxide = labeller_reference.oxide
    results = [relax(a, calculator, RelaxationSettings()) for a in shown(proposals, "clumsy proposals")]
    faults = [r.reason for r in results if r.reason not in (None, "max_calls")]
    surfaces = surface_figures(
        calculator, potential_hash(spec), bulk_atoms, slabs_for, labeller_reference, oxide.metal_structure
    )
    if hot is not None:
        tell(f"a slab at {HOT_K:g} K for {HOT_PS:g} ps …")
    return PotentialFigures(
        potential_hash=potential_hash(spec),
        energy_rmse=energy_rmse,
        force_rmse=force_rmse,
        frames=frames,
        parity=parity,
        surfaces=surfaces,
        reference=labeller_reference,
        repulsive={
            pair: _repulsive(calculator, pair, end) for pair, end in carried_over(CURVE_ENDS, oxide.metal).items()
        },
        milliseconds_per_atom=_cost(calculator, validation_data),
        megabytes=potential_size(spec) / 1e6,
        survived=len(results) - len(faults),
        converged=sum(r.converged for r in results),
        proposals=len(results),
        calibration=_calibration(parity),
        hot=None if hot is None else hot_slab(hot, calculator, HOT_K, HOT_PS, np.random.default_rng(HOT_SEED)),
    )


def potential_size(spec: PotentialSpec) -> int:
    """Bytes of a GAP's files; 0 for a calculator, which has none of ours."""
    if spec.kind == "calculator":
        return 0
    xml = Path(spec.path)
    return xml.stat().st_size + sum((xml.parent / name).stat().st_size for name in sparse_files(spec))


def _parity(calculator: CountingCalculator, data: Sequence[Atoms], knows_variance: bool) -> Parity:
    energies, forces, deviations = [], [], []
    for atoms in shown(data, "held-out frames"):
        own = atoms.copy()
        own.calc = calculator
        energies.append([atoms.info[ENERGY_KEY] / len(atoms), own.get_potential_energy() / len(atoms)])
        forces.append(np.stack([atoms.arrays[FORCES_KEY], own.get_forces(apply_constraint=False)], axis=-1))
        variances = calculator.local_variance(own) if knows_variance else np.array([np.nan])
        deviations.append(np.sqrt(np.sum(np.maximum(variances, 0.0))))
    return Parity(
        [str(atoms.info["config_type"]) for atoms in data],
        [str(atoms.info["family"]) for atoms in data],
        np.array(energies).reshape(-1, 2),
        forces,
        np.array(deviations),
    )


def _calibration(parity: Parity) -> Calibration | None:
    """Of surfaces only: what a search asks about."""
    rows = [i for i, kind in enumerate(parity.kinds) if kind in SURFACE_TYPES and np.isfinite(parity.deviations[i])]
    if len(rows) < LEAST_FRAMES or len({parity.families[i] for i in rows}) < 2:
        return None
    sizes = [len(parity.forces[i]) for i in rows]
    errors = [float(np.diff(parity.energies[i])[0]) * size for i, size in zip(rows, sizes, strict=True)]
    return calibrate([float(parity.deviations[i]) for i in rows], errors, sizes, [parity.families[i] for i in rows])


def _errors(parity: Parity) -> tuple[dict[str, float], dict[str, float], dict[str, int]]:
    members: dict[str, list[int]] = {}
    for index, (kind, family) in enumerate(zip(parity.kinds, parity.families, strict=True)):
        names = [kind, *(["surfaces"] if kind in SURFACE_TYPES else [])]
        if kind == THERMAL and (facet := FACET_IN_FAMILY.search(family)):
            names.append(f"{THERMAL} {facet[1]}")
        for name in names:
            members.setdefault(name, []).append(index)
    energy_errors = np.diff(parity.energies, axis=1)[:, 0]  # (n_frames,)
    return (
        {name: _rms(energy_errors[rows]) for name, rows in members.items()},
        {
            name: _rms(np.concatenate([np.diff(parity.forces[i]).ravel() for i in rows]))
            for name, rows in members.items()
        },
        {name: len(rows) for name, rows in members.items()},
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _repulsive(calculator: CountingCalculator, pair: str, end: float) -> bool:
    """Whether two atoms push each other apart at every distance between 0.8 Å and `end`."""
    for distance in np.arange(CURVE_START, end + 1e-9, 0.02):
        dimer = Atoms(pair.split("-"), positions=[[4, 7, 7], [4 + distance, 7, 7]], cell=[14.0, 14.5, 15.0], pbc=True)
        dimer.calc = calculator
        forces = dimer.get_forces()
        if check_output(dimer.get_potential_energy(), np.zeros((2, 3))) is not None or not forces[1, 0] > 0:
            return False
    return True


def _cost(calculator: CountingCalculator, data: Sequence[Atoms]) -> float:
    """Milliseconds of one core per atom, the best of three rounds: others on the machine only ever slow it down."""
    frames = [atoms for atoms in data if len(atoms) >= TIMED_ATOMS][:20]
    return min(_timed(calculator.inner.get_forces, frames) for _ in range(3))


def _timed(forces_of: Callable[[Atoms], np.ndarray], frames: Sequence[Atoms]) -> float:
    start = time.process_time()
    for atoms in frames:
        forces_of(atoms)
    return 1e3 * (time.process_time() - start) / max(1, sum(len(atoms) for atoms in frames))
