"""The distinct minima that basin hopping visited, and their structure file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms

from searcher.campaign.hopping.hops import Hop
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.warm_start import PretrainingMinimum
from searcher.campaign.workers.executor import Executor
from searcher.campaign.workers.fingerprints import Fingerprints
from searcher.errors import InputError
from searcher.scoring.known_set import KnownSet
from searcher.scoring.novelty import Fingerprint, pair_kappa
from searcher.scoring.thermodynamics import Line
from searcher.structures.files import read_structures, write_compressed

DESCRIBED_AT_ONCE = 32


@dataclass(frozen=True)
class VisitedMinimum:
    """A valid minimum that a chain relaxed into, accepted by it or not.

    Attributes
    ----------
    id : str
        ``CHAIN-STEP`` of the first visit.
    label : str
        Facet and excess oxygen Γ per lateral (1×1) cell, for example ``110 Γ=+0.50``.
    atoms : ase.Atoms
        On the template.
    energy : float
        In eV.
    line : Line
        γ(Δμ_O).
    oxygen_count : int
        Free oxygen atoms.
    force_calls : int
        Of the relaxation that led there first.
    force_calls_before : int
        Of all chains together up to and with that relaxation.
    visits : int
        Relaxations that ended in this termination.
    path : tuple of (int, float, numpy.ndarray of shape (n_free, 3))
        Snapshots of the first relaxation: force call, energy in eV above the minimum, positions in Å.
    """

    id: str
    chain: int
    step: int
    delta_mu_o: float
    label: str
    atoms: Atoms
    energy: float
    line: Line
    oxygen_count: int
    force_calls: int
    force_calls_before: int
    visits: int
    path: tuple[tuple[int, float, np.ndarray], ...]

    @property
    def numbers(self) -> np.ndarray:
        """(n_atoms,)"""
        return self.atoms.numbers

    @property
    def positions(self) -> np.ndarray:
        """(n_atoms, 3) in Å"""
        return self.atoms.positions


def distinct_minima(
    problem: SurfaceProblem,
    executor: Executor,
    hops: Iterable[Hop],
    ladder: Sequence[float],
    kappa_min: float = 0.075,
) -> list[VisitedMinimum]:
    """Valid minima in the order of their first visit, no two of them the same termination.

    Parameters
    ----------
    hops : iterable of Hop
        In the order of step and chain.
    ladder : sequence of float
        Δμ_O in eV of each chain.
    kappa_min : float
        Largest κ in both directions between two that are the same.
    """
    valid, calls = [], 0
    for hop in hops:
        calls += hop.force_calls
        if hop.reason is None:
            valid.append((hop, calls))
    fingerprints = Fingerprints(executor, problem.soap)
    groups: dict[float, _Group] = {}
    for start in range(0, len(valid), DESCRIBED_AT_ONCE):
        rows = range(start, min(start + DESCRIBED_AT_ONCE, len(valid)))
        structures = {str(row): valid[row][0].atoms(problem.template) for row in rows}
        described = fingerprints.of(structures)
        fingerprints.forget(structures)
        for row in rows:
            atoms, whole = structures[str(row)], described[str(row)]
            if whole is None:
                continue
            excess = problem.excess_oxygen_per_area(atoms)
            free = whole.subset(range(problem.template.n_frozen, len(atoms)))
            groups.setdefault(round(excess, 6), _Group()).add(row, Fingerprint(free, whole, excess), kappa_min)
    visits = {row: count for group in groups.values() for row, count in group.visits.items()}
    return [_minimum(problem, *valid[row], ladder, visits[row]) for row in sorted(visits)]


class _Group:
    """Terminations of one excess of oxygen."""

    def __init__(self) -> None:
        self.known = KnownSet()
        self.kept: dict[str, Fingerprint] = {}
        self.visits: dict[int, int] = {}

    def add(self, row: int, new: Fingerprint, kappa_min: float) -> None:
        if len(self.known):
            forward = self.known.kappa_all(new.free)
            for index in np.argsort(forward, kind="stable"):
                if forward[index] > kappa_min:
                    break
                name = self.known.ids[index]
                if pair_kappa(self.kept[name].free, new.whole) <= kappa_min:
                    self.visits[int(name)] += 1
                    return
        self.known.add(str(row), new.whole, new.excess_o_per_area)
        self.kept[str(row)] = new
        self.visits[row] = 1


def _minimum(problem: SurfaceProblem, hop: Hop, calls: int, ladder: Sequence[float], visits: int) -> VisitedMinimum:
    template = problem.template
    atoms, energy = hop.atoms(template), float(hop.energy or 0.0)
    excess = problem.excess_oxygen_per_area(atoms) * template.area / float(np.prod(template.repeat))
    return VisitedMinimum(
        id=f"{hop.chain}-{hop.step:06d}",
        chain=hop.chain,
        step=hop.step,
        delta_mu_o=float(ladder[hop.chain]),
        label=f"{template.facet} Γ={excess:+.2f}",
        atoms=atoms,
        energy=energy,
        line=problem.gamma(atoms, energy),
        oxygen_count=int(np.count_nonzero(np.array(hop.numbers) == 8)),
        force_calls=hop.force_calls,
        force_calls_before=calls,
        visits=visits,
        path=tuple((call, excess_energy, np.array(positions)) for call, excess_energy, positions in hop.path),
    )


def write_minima(path: Path, minima: Sequence[VisitedMinimum], snapshots: bool = False) -> None:
    """Write minima, and on request the snapshots of their relaxations after each, as ``.extxyz.xz``.

    `info` of a frame: ``id``, ``label``, ``kind`` (``minimum`` or ``snapshot``), ``slab_energy_eV``,
    ``gamma_zero_eV_per_A2`` and ``gamma_slope_per_A2`` (of that frame's own energy), ``oxygen_count``, ``chain``,
    ``step``, ``delta_mu_o_eV``, ``force_calls``.

    Raises
    ------
    InputError
        If there is nothing to write.
    """
    if not minima:
        raise InputError("`minima` is empty: basin hopping found no valid minimum; were all hops rejected?")
    frames = []
    for minimum in minima:
        frames.append(_frame(minimum, minimum.atoms, 0.0, "minimum", minimum.force_calls))
        for call, excess, positions in minimum.path if snapshots else ():
            atoms = minimum.atoms.copy()
            atoms.positions[-len(positions) :] = positions
            frames.append(_frame(minimum, atoms, excess, "snapshot", call))
    write_compressed(path, frames)


def read_minima(path: Path) -> list[PretrainingMinimum]:
    """Minima with their snapshots, as `write_minima` wrote them.

    Raises
    ------
    InputError
        If the file cannot be read or was not written by `write_minima`.
    """
    minima: list[PretrainingMinimum] = []
    for frame in read_structures(path):
        try:
            name, kind = str(frame.info["id"]), frame.info["kind"]
            energy, calls = float(frame.info["slab_energy_eV"]), int(frame.info["force_calls"])
        except KeyError as error:
            raise InputError(
                f"`{path}`: a frame has no {error}; `searcher seeds --method basin-hopping` writes it"
            ) from None
        if kind == "minimum":
            minima.append(PretrainingMinimum(name, frame, energy, ()))
        else:
            last = minima[-1]
            minima[-1] = replace(last, path=(*last.path, (calls, frame, energy - last.energy)))
    return minima


def _frame(minimum: VisitedMinimum, atoms: Atoms, excess: float, kind: str, calls: int) -> Atoms:
    frame = atoms.copy()
    area = float(frame.cell[0, 0] * frame.cell[1, 1])
    frame.info = {
        "id": minimum.id,
        "label": minimum.label,
        "kind": kind,
        "slab_energy_eV": minimum.energy + excess,
        "gamma_zero_eV_per_A2": minimum.line.gamma0 + excess / area,
        "gamma_slope_per_A2": minimum.line.slope,
        "oxygen_count": minimum.oxygen_count,
        "chain": minimum.chain,
        "step": minimum.step,
        "delta_mu_o_eV": minimum.delta_mu_o,
        "force_calls": calls,
    }
    return frame
