"""What basin hopping went through: hops on disk, the distinct minima among them, and their structure file."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from generators.template import Template
from searcher.campaign.executor import Executor
from searcher.campaign.fingerprints import Fingerprints
from searcher.campaign.problem import SurfaceProblem
from searcher.errors import InputError, StorageError
from searcher.scoring.novelty import Fingerprint, KnownSet, pair_kappa
from searcher.scoring.thermodynamics import Line
from searcher.structures.files import write_compressed

IDENTITY = "identity.json"
DESCRIBED_AT_ONCE = 32
SNAPSHOT_DIGITS = 4
"""Å; the path of a relaxation teaches a network, nothing is computed from it"""


@dataclass(frozen=True)
class Hop:
    """One move of one chain, from its proposal to the Metropolis decision.

    Attributes
    ----------
    move : str
        ``start``, ``displacement``, ``insertion``, ``removal``.
    draws : int
        Proposals drawn until one was fit to be relaxed.
    reason : str or None
        Why there is no valid minimum: a code of the proposal, the relaxation, the executor, or ``relaxed_`` and one of
        the validity rules.
    accepted : bool
        Whether the chain went to this minimum.
    energy : float or None
        In eV, of a valid minimum.
    numbers, positions : list
        Free atoms of a valid minimum, positions in Å.
    path : list of (int, float, list)
        Snapshots: force call, energy in eV above the minimum, positions of the free atoms in Å.
    current : (int, int)
        Step and chain of the hop whose minimum the chain stands on afterwards.
    generator : dict
        State of the chain's random generator afterwards.
    """

    step: int
    chain: int
    move: str
    draws: int
    reason: str | None
    accepted: bool
    force_calls: int
    current: tuple[int, int]
    generator: dict[str, Any]
    energy: float | None = None
    numbers: list[int] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    path: list[tuple[int, float, list[list[float]]]] = field(default_factory=list)

    def atoms(self, template: Template) -> Atoms:
        """The minimum on its template."""
        return template.assemble(np.array(self.numbers, dtype=int), np.array(self.positions))


class HopFolder:
    """One file per step, each complete or not there; what was written is never changed.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it does not exist.
    identity : dict
        JSON values on which the hops depend.

    Raises
    ------
    InputError
        If the folder holds hops of another identity.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        identity = json.loads(json.dumps(identity))
        if (folder / IDENTITY).is_file():
            stored = _read_json(folder / IDENTITY)
            changed = sorted(key for key in {*stored, *identity} if stored.get(key) != identity.get(key))
            if changed:
                raise InputError(
                    f"`{folder}` holds basin hopping with `{changed[0]}` {stored.get(changed[0])}, now it is "
                    f"{identity.get(changed[0])}; take another folder, or the former value to go on"
                )
        else:
            _write_json(folder / IDENTITY, identity)

    def write(self, step: int, hops: Sequence[Hop]) -> None:
        """Keep the hops of a step."""
        _write_json(self.folder / f"step-{step:06d}.json", [asdict(hop) for hop in hops])


def read_hops(folder: Path) -> list[list[Hop]]:
    """Hops by step and chain.

    Raises
    ------
    StorageError
        If a file is damaged or a step is missing.
    """
    paths = sorted(folder.glob("step-*.json"))
    for step, path in enumerate(paths):
        if path.name != f"step-{step:06d}.json":
            raise StorageError(f"`{folder}` lacks `step-{step:06d}.json`: a step of the chains was deleted")
    return [[Hop(**{**row, "current": tuple(row["current"])}) for row in _read_json(path)] for path in paths]


def hop_counts(hops: Iterable[Hop]) -> dict[str, int]:
    """How many hops passed each gate, the force calls spent, and how often each reason occurred (``reason:CODE``)."""
    moves = [hop for hop in hops if hop.move != "start"]
    counts = {
        "hops": len(moves),
        "draws": sum(hop.draws for hop in moves),
        "relaxed": sum(hop.force_calls > 0 for hop in moves),
        "valid": sum(hop.reason is None for hop in moves),
        "accepted": sum(hop.accepted for hop in moves),
        "force_calls": sum(hop.force_calls for hop in moves),
    }
    for code in sorted({hop.reason for hop in moves if hop.reason is not None}):
        counts[f"reason:{code}"] = sum(hop.reason == code for hop in moves)
    return counts


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


def _minimum(
    problem: SurfaceProblem, hop: Hop, calls: int, ladder: Sequence[float], visits: int
) -> VisitedMinimum:
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


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise StorageError(f"`{path}` is damaged ({error}); delete it and what comes after it to go on from there") from None


def _write_json(path: Path, content: Any) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    draft.replace(path)
