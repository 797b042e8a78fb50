"""Relaxations that cannot lead to anything acceptable end early, each for a reason that can be switched off.

Built by workers from plain values: `StopPlan` makes these in the driver from the frozen snapshot, so that nothing that
happens meanwhile has a say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms

from relax.overlaps import frozen_indices
from relax.stopping import EXPLODING, FORMING_O2, LEAVING_WINDOW
from relax.watching import StopCriterion
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Snapshot
from searcher.config import StoppingSection
from searcher.scoring.descriptors import LocalVectors, SoapSettings, UndescribableStructure, local_vectors
from searcher.scoring.known_set import KnownSet
from searcher.scoring.thermodynamics import Envelope

MEV = 1e-3
KNOWN_MINIMUM = "known_minimum"
HOPELESS = "hopeless"
EARLY_REASONS = (KNOWN_MINIMUM, HOPELESS, FORMING_O2, LEAVING_WINDOW, EXPLODING)
MODULE = "searcher.campaign.early_stopping"
DESCRIBED = 2000
"""Minima whose SOAP vectors a worker keeps; some 100 kB each"""


def known_minimum(
    numbers: Sequence[int],
    cell: Sequence[Sequence[float]],
    n_frozen: int,
    minima: Sequence[np.ndarray],
    soap: Mapping[str, Any],
    kappa: float,
    calm_force: float,
    every: int,
) -> StopCriterion:
    """Stop once every free atom stands as in one known minimum of the same composition.

    Parameters
    ----------
    numbers, cell
        Of all minima, the frozen atoms first; cell (3, 3) in Å.
    minima : sequence of array, each of shape (n_atoms, 3)
        Positions in Å.
    soap : mapping
        Fields of `SoapSettings`.
    kappa : float
        Largest κ to the minimum, in two looks in a row at the same one.
    calm_force : float
        Only where no free atom's |F| is larger, in eV/Å: at violent forces a path may still lead past.
    every : int
        Force calls between two looks.
    """
    settings = SoapSettings(**{**soap, "species": tuple(soap["species"])})
    common = np.asarray(numbers, dtype=int).tobytes(), np.asarray(cell, dtype=float).tobytes(), settings
    known = _known_set(tuple(np.asarray(positions, dtype=float).tobytes() for positions in minima), *common)
    before: str | None = None

    def criterion(atoms: Atoms, energy: float, calls: int) -> str | None:
        nonlocal before
        if calls % every or _largest_force(atoms) > calm_force:
            return None
        try:
            found = local_vectors(_bare(atoms), settings, range(n_frozen, len(atoms)))
        except UndescribableStructure:
            return None  # the relaxation's own checks say what is wrong with it
        distance, nearest = known.kappa(found)
        last, before = before, nearest if distance <= kappa else None
        return KNOWN_MINIMUM if before is not None and before == last else None

    return criterion


def hopeless(ceiling: float, looks: Sequence[tuple[int, float]]) -> StopCriterion:
    """Stop at fixed force calls where the energy can no longer come down to what is acceptable.

    Parameters
    ----------
    ceiling : float
        Largest acceptable energy in eV.
    looks : sequence of (int, float)
        Force call, and how much energy in eV may still be gained from there.
    """
    gains = {int(call): float(gain) for call, gain in looks}

    def criterion(atoms: Atoms, energy: float, calls: int) -> str | None:
        return HOPELESS if calls in gains and energy - gains[calls] > ceiling else None

    return criterion


@dataclass(frozen=True)
class StopPlan:
    """What ends the relaxations of one arm early, made from the snapshot of an iteration's start.

    Attributes
    ----------
    settings : StoppingSection
    minima : mapping
        Known minima by their numbers, as positions.
    envelope : Envelope
        Of the known.
    """

    problem: SurfaceProblem
    settings: StoppingSection
    kappa_min: float
    margin: float
    """eV/Å²"""
    minima: Mapping[bytes, tuple[np.ndarray, ...]]
    envelope: Envelope

    def criteria(self, atoms: Atoms) -> list[dict[str, Any]]:
        """Descriptions of the criteria for one candidate, for `relax_task`."""
        found: list[dict[str, Any]] = []
        if self.settings.forming_o2 and not self.problem.thresholds.accept_molecular_o:
            arguments: dict[str, Any] = {"bond": self.problem.thresholds.o_o_molecular}
            found.append({"import_path": "relax.stopping:forming_o2", "arguments": arguments})
        if self.settings.hopeless:
            area = self.problem.template.area
            looks = [(call, gain * MEV * area) for call, gain in self.settings.hopeless_looks]
            arguments = {"ceiling": self.ceiling(atoms), "looks": looks}
            found.append({"import_path": f"{MODULE}:hopeless", "arguments": arguments})
        minima = self.minima.get(_composition(atoms), ())
        if self.settings.known_minimum and minima:
            arguments = {
                "numbers": atoms.numbers,
                "cell": atoms.cell.array,
                "n_frozen": self.problem.template.n_frozen,
                "minima": minima,
                "soap": asdict(self.problem.soap),
                "kappa": self.settings.known_minimum_share * self.kappa_min,
                "calm_force": self.settings.calm_force,
                "every": self.settings.known_minimum_every,
            }
            found.append({"import_path": f"{MODULE}:known_minimum", "arguments": arguments})
        return found

    def ceiling(self, atoms: Atoms) -> float:
        """Energy in eV above which a structure of this composition is farther from the envelope than the margin."""
        distance = self.envelope.distance(self.problem.gamma(atoms, 0.0))  # γ grows by 1/area per eV
        return (self.margin - distance) * self.problem.template.area


def plan_stops(campaign: Campaign, problem: SurfaceProblem, known: Snapshot, settings: StoppingSection) -> StopPlan:
    """The stops of an arm for which `known` is known."""
    section = campaign.config.acceptance
    minima: dict[bytes, list[np.ndarray]] = {}
    for one in known.known if settings.known_minimum else ():
        atoms = campaign.ledger.structure(one.structure)
        minima.setdefault(_composition(atoms), []).append(atoms.positions)
    return StopPlan(
        problem=problem,
        settings=settings,
        kappa_min=section.kappa_min,
        margin=section.margin_mev_per_A2 * MEV,
        minima={key: tuple(found) for key, found in minima.items()},
        envelope=Envelope(known.lines, problem.delta_mu_o_range),
    )


def _composition(atoms: Atoms) -> bytes:
    """Structures of one composition on one template list their elements in one order."""
    return np.asarray(atoms.numbers, dtype=int).tobytes()


def _largest_force(atoms: Atoms) -> float:
    forces = np.delete(atoms.get_forces(apply_constraint=False), frozen_indices(atoms), axis=0)
    return float(np.linalg.norm(forces, axis=1).max(initial=0.0))


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


@lru_cache(maxsize=16)
def _known_set(minima: tuple[bytes, ...], numbers: bytes, cell: bytes, soap: SoapSettings) -> KnownSet:
    """Minima of one composition as they are known in one wave."""
    known = KnownSet()
    for row, positions in enumerate(minima):
        known.add(str(row), _described(positions, numbers, cell, soap), 0.0)
    return known


@lru_cache(maxsize=DESCRIBED)
def _described(positions: bytes, numbers: bytes, cell: bytes, soap: SoapSettings) -> LocalVectors:
    """SOAP vectors of a minimum, once per worker."""
    kinds = np.frombuffer(numbers, dtype=int)
    atoms = Atoms(
        kinds,
        np.frombuffer(positions, dtype=float).reshape(-1, 3),
        cell=np.frombuffer(cell, dtype=float).reshape(3, 3),
        pbc=(True, True, False),
    )
    return local_vectors(atoms, soap)
