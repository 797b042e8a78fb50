"""Grand-canonical basin hopping on a template: Markov chains at several oxygen potentials, advanced together.

A hop is a random move or an oxygen atom more or less, a relaxation, and a Metropolis decision on Ω = E − N_O·μ_O. There
are no proposal-ratio terms: it searches, it does not sample.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms

from generators.moves import BOND_REACH, cartesian_move, delocalized_move, insert_oxygen, remove_oxygen
from relax.potential import PotentialSpec, potential_hash
from relax.worker import relax_task
from searcher.campaign.executor import Executor, Outcome
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.relaxing import relaxation_window
from searcher.campaign.visited_minima import (
    SNAPSHOT_DIGITS,
    Hop,
    HopFolder,
    VisitedMinimum,
    distinct_minima,
    read_hops,
)
from searcher.errors import InputError, SearchFailed
from searcher.scoring.thermodynamics import BOLTZMANN
from searcher.scoring.validity import check_validity

OXYGEN = 8
START = "start"
NO_SITE = "no_site"
OUTSIDE_WINDOW = "outside_window"
NOT_OF_THE_CHAINS = ("steps", "force_calls", "kappa_min")
"""settings that decide how far the chains go and what is made of them, not where they go"""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class BasinHoppingSettings:
    """How the chains move.

    Attributes
    ----------
    steps : int
        Hops per chain.
    force_calls : int or None
        No further step is begun once all chains together have spent so many.
    ladder : tuple of float
        Δμ_O in eV, one chain each.
    temperature : float
        Of the Metropolis decision in K.
    moves : "delocalized" or "cartesian"
    step_length : float
        Largest Cartesian component of a displacement in Å.
    mode_fraction : float
        Share of the delocalized coordinates in one move.
    oxygen_probability : float
        How often an oxygen atom is inserted or removed instead.
    buffer_thickness : float
        Free atoms lower than this above the template's `free_floor` (Å) relax but are neither displaced nor removed.
    draws : int
        Proposals drawn for one hop before it counts as rejected; drawing costs no force call.
    repairable : tuple of str
        Reasons of `check_validity` that do not yet reject a proposal, because moving atoms apart mends them: a step of
        1.2 Å hardly ever leaves all distances long. After the relaxation every rule holds.
    exchange_every : int
        After so many steps neighbouring chains may exchange their structures (parallel tempering over the ladder);
        0 for never.
    relaxation : dict
        Keys of `relax.relaxation.RelaxationSettings` to change.
    kappa_min : float
        Two minima whose κ is not above this in either direction are one.
    """

    steps: int = 100
    force_calls: int | None = None
    ladder: tuple[float, ...] = (-1.0, -0.5, -0.25, 0.0)
    temperature: float = 1000.0
    moves: Literal["delocalized", "cartesian"] = "delocalized"
    step_length: float = 1.2
    mode_fraction: float = 0.25
    oxygen_probability: float = 0.25
    buffer_thickness: float = 0.0
    draws: int = 100
    repairable: tuple[str, ...] = ("clustered_o", "metal_o_close", "metal_metal_close", "metal_overcoordinated")
    exchange_every: int = 0
    relaxation: dict[str, Any] = field(default_factory=dict)
    kappa_min: float = 0.075

    def __post_init__(self) -> None:
        if self.moves not in ("delocalized", "cartesian"):
            raise InputError(f"`basin_hopping.moves` is {self.moves!r} but must be 'delocalized' or 'cartesian'")
        if not self.ladder or not all(map(math.isfinite, self.ladder)):
            raise InputError(f"`basin_hopping.ladder` is {self.ladder} but needs at least one Δμ_O in eV")
        positive = ("steps", "temperature", "step_length", "mode_fraction", "draws", "kappa_min")
        for name, low, high in (
            *((name, 1e-12, math.inf) for name in positive),
            ("mode_fraction", 0.0, 1.0),
            ("oxygen_probability", 0.0, 1.0),
            ("buffer_thickness", 0.0, math.inf),
            ("exchange_every", 0, math.inf),
        ):
            if not low <= getattr(self, name) <= high:
                allowed = "positive" if low == 1e-12 else f"from {low:g} to {high:g}"
                raise InputError(f"`basin_hopping.{name}` is {getattr(self, name)} but must be {allowed}")


@dataclass
class _Chain:
    index: int
    mu_o: float
    """eV per atom, with that of the potential's ½ O2"""
    rng: np.random.Generator
    current: Hop

    def omega(self, hop: Hop) -> float:
        """Ω in eV, up to a constant: the metal count never changes."""
        return float(hop.energy or 0.0) - self.mu_o * hop.numbers.count(OXYGEN)


def basin_hopping(
    problem: SurfaceProblem,
    potential: PotentialSpec,
    executor: Executor,
    start: Atoms,
    settings: BasinHoppingSettings,
    seed: int,
    folder: Path,
    progress: Progress = lambda hops: None,
) -> list[VisitedMinimum]:
    """Search for terminations; called again with the same folder it goes on where it was.

    Parameters
    ----------
    start : ase.Atoms
        A termination on the template, which all chains start from; it is relaxed first.
    seed : int
        Equal seeds give equal minima, whatever the order in which workers answer.
    folder : pathlib.Path
        Keeps every step; `read_hops` reads it and `hop_counts` sums it up.
    progress : callable
        Told the number of hops finished since the last call.

    Returns
    -------
    list of VisitedMinimum
        Distinct valid minima in the order of their first visit, the relaxed start first.

    Raises
    ------
    InputError
        If `start` is not on the template, its oxygen count is not allowed, or the folder is of other chains.
    SearchFailed
        If the start does not relax to a valid termination.
    """
    _check_start(problem, start)
    store = HopFolder(folder, _identity(problem, potential, start, settings, seed))
    walk = _Walk(problem, potential, executor, settings)
    history = read_hops(folder)
    if not history:
        history = [[walk.relax_start(start)]]
        store.write(0, history[0])
    chains = walk.chains(history, seed)
    done = len(history) - 1
    spent = sum(hop.force_calls for hops in history for hop in hops)
    progress(done * len(chains))
    while done < settings.steps and (settings.force_calls is None or spent < settings.force_calls):
        done += 1
        hops = walk.advance(chains, done)
        store.write(done, hops)
        history.append(hops)
        spent += sum(hop.force_calls for hop in hops)
        progress(len(chains))
    visited = [hop for hops in history for hop in hops]
    return distinct_minima(problem, executor, visited, settings.ladder, settings.kappa_min)


class _Walk:
    """Proposes, relaxes and decides; keeps nothing from one step to the next."""

    def __init__(
        self, problem: SurfaceProblem, potential: PotentialSpec, executor: Executor, settings: BasinHoppingSettings
    ) -> None:
        self.problem = problem
        self.potential = potential
        self.executor = executor
        self.settings = settings
        self.window = relaxation_window(problem)

    def relax_start(self, start: Atoms) -> Hop:
        (outcome,) = self.executor.map(relax_task, [self._payload(start)])
        hop = self._minimum(Hop(0, 0, START, 1, None, True, 0, (0, 0), {}), start, outcome)
        if hop.reason is not None:
            raise SearchFailed(f"the start of basin hopping does not relax to a valid termination: {hop.reason}")
        return hop

    def chains(self, history: Sequence[Sequence[Hop]], seed: int) -> list[_Chain]:
        """The chains as they stand after the last step of `history`."""
        by_place = {(hop.step, hop.chain): hop for hops in history for hop in hops}
        chains = []
        for index, delta_mu_o in enumerate(self.settings.ladder):
            rng = np.random.default_rng([seed, index])
            current = history[0][0]
            if len(history) > 1:
                last = history[-1][index]
                rng.bit_generator.state = last.generator
                current = by_place[last.current]
            chains.append(_Chain(index, self.problem.references.half_energy_o2 + delta_mu_o, rng, current))
        return chains

    def advance(self, chains: Sequence[_Chain], step: int) -> list[Hop]:
        """One hop of every chain; their relaxations are one batch."""
        proposals = [self._propose(chain, step) for chain in chains]
        relaxed = [(hop, atoms) for hop, atoms in proposals if atoms is not None]
        hops = {hop.chain: hop for hop, _ in proposals}
        for outcome in self.executor.map(relax_task, [self._payload(atoms) for _, atoms in relaxed]):
            hop, atoms = relaxed[outcome.index]
            hops[hop.chain] = self._minimum(hop, atoms, outcome)
        for chain in chains:
            hops[chain.index] = self._decide(chain, hops[chain.index])
        if self.settings.exchange_every and step % self.settings.exchange_every == 0:
            self._exchange(chains)
        return [
            replace(
                hops[chain.index],
                current=(chain.current.step, chain.current.chain),
                generator=dict(chain.rng.bit_generator.state),
            )
            for chain in chains
        ]

    def _propose(self, chain: _Chain, step: int) -> tuple[Hop, Atoms | None]:
        """A structure fit to be relaxed, or None and the reason why the last draw was not."""
        atoms = chain.current.atoms(self.problem.template)
        move = self._kind_of_move(chain)
        hop = Hop(step, chain.index, move, 0, None, False, 0, (0, 0), {})
        reason: str | None = None
        for draw in range(1, self.settings.draws + 1):
            moved = self._moved(atoms, move, chain.rng)
            reason = NO_SITE if moved is None else self._unfit(moved)
            if reason is None:
                return replace(hop, draws=draw), moved
        return replace(hop, draws=self.settings.draws, reason=reason), None

    def _kind_of_move(self, chain: _Chain) -> str:
        fewest, most = self.problem.counts["O"]
        count = chain.current.numbers.count(OXYGEN)
        allowed = [*(["insertion"] if count < most else []), *(["removal"] if count > fewest else [])]
        if chain.rng.random() < self.settings.oxygen_probability and allowed:
            return str(chain.rng.choice(allowed))
        return "displacement"

    def _moved(self, atoms: Atoms, move: str, rng: np.random.Generator) -> Atoms | None:
        template, limits, settings = self.problem.template, self.problem.thresholds, self.settings
        numbers, positions = atoms.numbers, atoms.positions
        above = positions[:, 2] >= template.free_floor + settings.buffer_thickness
        moving = np.flatnonzero(above & (np.arange(len(atoms)) >= template.n_frozen))
        if move == "displacement" and settings.moves == "cartesian":
            changed = numbers, cartesian_move(positions, moving, rng, settings.step_length)
        elif move == "displacement":
            changed = numbers, delocalized_move(
                numbers, positions, template.cell, moving, rng, settings.step_length, settings.mode_fraction
            )
        elif move == "insertion":
            heights = (template.free_floor + settings.buffer_thickness, template.free_ceiling)
            metal_o = (limits.metal_o_min, limits.coordination_cutoff)
            found = insert_oxygen(numbers, positions, template.cell, heights, rng, limits.o_o_clustered, metal_o)
            if found is None:
                return None
            changed = found
        else:
            found = remove_oxygen(numbers, positions, moving, rng)
            if found is None:
                return None
            changed = found
        return template.assemble(changed[0][template.n_frozen :], changed[1][template.n_frozen :])

    def _unfit(self, atoms: Atoms) -> str | None:
        """Why a proposal is not worth a force call."""
        heights = atoms.positions[self.problem.template.n_frozen :, 2]
        if len(heights) and not self.window[0] <= heights.min() <= heights.max() <= self.window[1]:
            return OUTSIDE_WINDOW
        validity = check_validity(atoms, self.problem.template.n_frozen, self.problem.thresholds)
        return next((reason for reason in validity.reasons if reason not in self.settings.repairable), None)

    def _payload(self, atoms: Atoms) -> dict[str, Any]:
        return {
            "potential": self.potential.as_dict(),
            "numbers": np.asarray(atoms.numbers),
            "positions": np.asarray(atoms.positions),
            "cell": np.asarray(atoms.cell.array),
            "pbc": [bool(axis) for axis in atoms.pbc],
            "frozen": np.arange(self.problem.template.n_frozen),
            "settings": {"window": self.window, **self.settings.relaxation},
        }

    def _minimum(self, hop: Hop, proposed: Atoms, outcome: Outcome) -> Hop:
        """The hop with what its relaxation gave."""
        result = outcome.result
        if result is None:
            return replace(hop, reason=outcome.failure)
        hop = replace(hop, force_calls=int(result["force_calls"]))
        if result["reason"] is not None or not result["converged"]:
            return replace(hop, reason=result["reason"] or "not_converged")
        template = self.problem.template
        relaxed = proposed.copy()
        relaxed.positions = np.asarray(result["positions"])
        validity = check_validity(relaxed, template.n_frozen, self.problem.thresholds, template.frozen_positions)
        if not validity.valid:
            return replace(hop, reason=f"relaxed_{validity.reasons[0]}")
        numbers, positions = template.free_part(relaxed)
        path = zip(result["path_calls"], result["path_energies"], result["path_positions"], strict=True)
        return replace(
            hop,
            energy=float(result["energy"]),
            numbers=numbers.tolist(),
            positions=positions.tolist(),
            path=[
                (
                    int(call),
                    float(energy) - float(result["energy"]),
                    np.round(frame[template.n_frozen :], SNAPSHOT_DIGITS).tolist(),
                )
                for call, energy, frame in path
            ],
        )

    def _decide(self, chain: _Chain, hop: Hop) -> Hop:
        """Metropolis: downhill always, uphill with probability exp(−ΔΩ/kT)."""
        threshold = float(chain.rng.random())
        if hop.reason is not None:
            return hop
        rise = max(0.0, chain.omega(hop) - chain.omega(chain.current))
        if threshold < math.exp(-rise / (BOLTZMANN * self.settings.temperature)):
            hop = replace(hop, accepted=True)
            chain.current = hop
        return hop

    def _exchange(self, chains: Sequence[_Chain]) -> None:
        """Parallel tempering: neighbours in μ_O exchange with probability exp((μ₁ − μ₂)(N₂ − N₁)/kT)."""
        for low, high in pairwise(sorted(chains, key=lambda chain: (chain.mu_o, chain.index))):
            more = high.current.numbers.count(OXYGEN) - low.current.numbers.count(OXYGEN)
            exponent = (low.mu_o - high.mu_o) * more / (BOLTZMANN * self.settings.temperature)
            if float(low.rng.random()) < math.exp(min(0.0, exponent)):
                low.current, high.current = high.current, low.current


def _check_start(problem: SurfaceProblem, start: Atoms) -> None:
    template = problem.template
    same = len(start) >= template.n_frozen and np.array_equal(
        start.numbers[: template.n_frozen], template.frozen_numbers
    )
    if not same or not np.allclose(start.positions[: template.n_frozen], template.frozen_positions, atol=1e-6):
        raise InputError(
            f"`start` does not begin with the {template.n_frozen} frozen atoms of the template {template.id}; "
            "lay its free atoms on it with `template.assemble`"
        )
    numbers, _ = template.free_part(start)
    if not problem.counts_allowed(numbers):
        raise InputError(
            f"`start` has {np.count_nonzero(numbers == OXYGEN)} free O of {len(numbers)} free atoms, "
            f"allowed are {dict(problem.counts)}"
        )


def _identity(
    problem: SurfaceProblem, potential: PotentialSpec, start: Atoms, settings: BasinHoppingSettings, seed: int
) -> dict[str, Any]:
    """Everything on which the hops depend."""
    content = np.round(np.column_stack([start.numbers, start.positions]), 6).astype("<f8")
    moving = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in NOT_OF_THE_CHAINS}
    return {
        "seed": seed,
        "template": problem.template.id,
        "potential": potential_hash(potential),
        "start": hashlib.sha256(content.tobytes()).hexdigest()[:16],
        "references": asdict(problem.references),
        "thresholds": asdict(problem.thresholds),
        "counts": {symbol: list(bounds) for symbol, bounds in problem.counts.items()},
        "bond_reach": BOND_REACH,
        **moving,
    }
