"""Is a fitted potential good enough to search with? The figures that decide it, each beside what is asked."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from relax.checks import check_output
from relax.labelling import ENERGY_KEY, FORCES_KEY
from relax.potential import CountingCalculator, PotentialSpec, build_calculator, potential_hash, sparse_files
from relax.relaxation import RelaxationSettings, relax
from relax.surface_figures import SlabsForLattice, SurfaceFigures, surface_figures

SURFACE_TYPES = ("slab", "insertion")
TIMED_ATOMS = 18
"""Frames with fewer atoms say nothing of the cost per atom."""
CURVE_START = 0.8
"""Å: from here to `CURVE_ENDS` the dimer curves must rise towards shorter distances."""
CURVE_ENDS = {("O", "O"): 1.1, ("O", "Ru"): 1.5, ("Ru", "Ru"): 1.6}
"""Å, below each reference curve's minimum (1.21, 1.60 and 1.9 Å)"""


@dataclass(frozen=True)
class PotentialFigures:
    """What `check` measured.

    Attributes
    ----------
    potential_hash : str
    energy_rmse, force_rmse : mapping of str to float
        eV/atom and eV/Å per component on held-out frames, per `config_type` and for ``"surfaces"`` together.
    frames : mapping of str to int
        Held-out frames behind each error.
    surfaces : SurfaceFigures
        Of the potential.
    reference : SurfaceFigures
        Of the labeller.
    repulsive : mapping of str to bool
        Per pair: force pushes apart at every distance from 0.8 Å to near the bond.
    milliseconds_per_atom : float
        Processor time of a force call.
    megabytes : float
        XML and sparseX files.
    survived, converged : int
        Of `proposals` clumsy proposals: without a fault, and converged.
    proposals : int
    """

    potential_hash: str
    energy_rmse: Mapping[str, float]
    force_rmse: Mapping[str, float]
    frames: Mapping[str, int]
    surfaces: SurfaceFigures
    reference: SurfaceFigures
    repulsive: Mapping[str, bool]
    milliseconds_per_atom: float
    megabytes: float
    survived: int
    converged: int
    proposals: int

    def shortcomings(self) -> list[str]:
        """One line per figure that misses what is asked of a potential to search with."""
        own, reference = self.surfaces, self.reference
        lattice = max(
            abs(own.references.a / reference.references.a - 1), abs(own.references.c / reference.references.c - 1)
        )
        gamma = abs(own.gamma["stoichiometric"] - reference.gamma["stoichiometric"])
        limits = [
            ("energy error of held-out slabs, meV/atom", 1e3 * self.energy_rmse["slab"], 15.0),
            ("force error of held-out slabs, eV/Å", self.force_rmse["slab"], 0.35),
            ("lattice lengths against the labeller, %", 100 * lattice, 1.0),
            ("γ of the stoichiometric face against the labeller, meV/Å²", 1e3 * gamma, 10.0),
            ("ms per atom and force call", self.milliseconds_per_atom, 3.0),
            ("size, MB", self.megabytes, 15.0),
            ("proposals that failed", float(self.proposals - self.survived), 0.0),
            ("pairs with a hole", float(sum(not ok for ok in self.repulsive.values())), 0.0),
        ]
        for poorer, richer in CROSSOVERS:
            shift = abs(own.crossover(poorer, richer) - reference.crossover(poorer, richer))
            limits.append((f"crossover {poorer} to {richer} against the labeller, eV", shift, 0.2))
        return [
            f"{name}: {value:.3g}, asked for at most {limit:g}" for name, value, limit in limits if not value <= limit
        ]


CROSSOVERS = (("O-poor", "stoichiometric"), ("stoichiometric", "O-rich"))


def check(
    spec: PotentialSpec,
    validation_data: Sequence[Atoms],
    labeller_reference: SurfaceFigures,
    bulk_atoms: Atoms,
    slabs_for: SlabsForLattice,
    proposals: Sequence[Atoms],
) -> PotentialFigures:
    """Measure a potential. Builds it in this process: call it in a worker if it is a GAP.

    Parameters
    ----------
    spec : PotentialSpec
    validation_data : sequence of ase.Atoms
        Labelled frames of families that the fit has not seen.
    labeller_reference : SurfaceFigures
        What the labeller says of the same crystal and slabs.
    bulk_atoms, slabs_for
        As for `relax.surface_figures.surface_figures`.
    proposals : sequence of ase.Atoms
        Clumsy proposals, frozen atoms held by `FixAtoms`, that must relax without a fault.

    Raises
    ------
    PotentialError
        If the potential cannot be built or its crystal does not relax.
    """
    calculator = build_calculator(spec)
    energy_rmse, force_rmse, frames = _errors(calculator, validation_data)
    results = [relax(atoms, calculator, RelaxationSettings()) for atoms in proposals]
    faults = [r.reason for r in results if r.reason not in (None, "max_calls")]
    return PotentialFigures(
        potential_hash=potential_hash(spec),
        energy_rmse=energy_rmse,
        force_rmse=force_rmse,
        frames=frames,
        surfaces=surface_figures(calculator, potential_hash(spec), bulk_atoms, slabs_for),
        reference=labeller_reference,
        repulsive={"-".join(pair): _repulsive(calculator, pair, end) for pair, end in CURVE_ENDS.items()},
        milliseconds_per_atom=_cost(calculator, validation_data),
        megabytes=potential_size(spec) / 1e6,
        survived=len(results) - len(faults),
        converged=sum(r.converged for r in results),
        proposals=len(results),
    )


def potential_size(spec: PotentialSpec) -> int:
    """Bytes of a GAP's files; 0 for a calculator, which has none of ours."""
    if spec.kind == "calculator":
        return 0
    xml = Path(spec.path)
    return xml.stat().st_size + sum((xml.parent / name).stat().st_size for name in sparse_files(spec))


def _errors(
    calculator: CountingCalculator, data: Sequence[Atoms]
) -> tuple[dict[str, float], dict[str, float], dict[str, int]]:
    energies: dict[str, list[float]] = {}
    forces: dict[str, list[np.ndarray]] = {}
    for atoms in data:
        own = atoms.copy()
        own.calc = calculator
        energy_error = (own.get_potential_energy() - atoms.info[ENERGY_KEY]) / len(atoms)
        force_error = (own.get_forces(apply_constraint=False) - atoms.arrays[FORCES_KEY]).ravel()
        kind = str(atoms.info["config_type"])
        for name in (kind, *(["surfaces"] if kind in SURFACE_TYPES else [])):
            energies.setdefault(name, []).append(float(energy_error))
            forces.setdefault(name, []).append(force_error)
    return (
        {name: _rms(np.array(values)) for name, values in energies.items()},
        {name: _rms(np.concatenate(values)) for name, values in forces.items()},
        {name: len(values) for name, values in energies.items()},
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _repulsive(calculator: CountingCalculator, pair: tuple[str, str], end: float) -> bool:
    """Whether two atoms push each other apart at every distance between 0.8 Å and `end`."""
    for distance in np.arange(CURVE_START, end + 1e-9, 0.02):
        dimer = Atoms(list(pair), positions=[[4, 7, 7], [4 + distance, 7, 7]], cell=[14.0, 14.5, 15.0], pbc=True)
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
