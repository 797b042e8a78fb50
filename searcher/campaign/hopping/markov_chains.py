"""The Markov chains of basin hopping: propose, relax as one batch, decide."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms

from generators.moves import cartesian_move, delocalized_move, insert_oxygen, relocate_oxygen, remove_oxygen
from relax.potential import PotentialSpec
from relax.worker import plain_arrays, relax_task
from searcher.campaign.hopping.hops import Hop
from searcher.campaign.hopping.paving import Paving
from searcher.campaign.hopping.settings import BasinHoppingSettings
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.relaxing import relaxation_window
from searcher.campaign.workers.executor import Executor, Outcome
from searcher.errors import SearchFailed
from searcher.scoring.thermodynamics import BOLTZMANN
from searcher.scoring.validity import check_validity

OXYGEN = 8
START = "start"
DISPLACEMENT = "displacement"
NO_SITE = "no_site"
OUTSIDE_WINDOW = "outside_window"
FALLING_BACK = "searcher.campaign.hopping.falling_back:falling_back"
SNAPSHOT_DIGITS = 4
"""Å; the path of a relaxation teaches a network, nothing is computed from it"""


@dataclass
class Chain:
    """A Markov chain at one oxygen potential."""

    index: int
    mu_o: float
    """eV per atom, with that of the potential's ½ O2"""
    rng: np.random.Generator
    current: Hop
    paving: Paving

    def omega(self, hop: Hop) -> float:
        """Ω in eV, up to a constant: the metal count never changes."""
        return float(hop.energy or 0.0) - self.mu_o * hop.numbers.count(OXYGEN)

    def paved_omega(self, hop: Hop) -> float:
        """Ω in eV with what the chain's stays have added to it."""
        return self.omega(hop) + self.paving.at(hop.numbers.count(OXYGEN), float(hop.energy or 0.0))

    def stay(self) -> None:
        """Count a step in the present minimum."""
        self.paving.visit(self.current.numbers.count(OXYGEN), float(self.current.energy or 0.0))


class Walk:
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

    def chains(self, history: Sequence[Sequence[Hop]], seed: int) -> list[Chain]:
        """The chains as they stand after the last step of `history`."""
        by_place = {(hop.step, hop.chain): hop for hops in history for hop in hops}
        chains = []
        for index, delta_mu_o in enumerate(self.settings.ladder):
            rng = np.random.default_rng([seed, index])
            if len(history) > 1:
                rng.bit_generator.state = history[-1][index].generator
            mu_o = self.problem.references.half_energy_o2 + delta_mu_o
            chain = Chain(index, mu_o, rng, history[0][0], Paving(self.settings.paving))
            for hops in history[1:]:
                chain.current = by_place[hops[index].current]
                chain.stay()
            chains.append(chain)
        return chains

    def advance(self, chains: Sequence[Chain], step: int) -> list[Hop]:
        """One hop of every chain; their relaxations are one batch."""
        proposals = [self._propose(chain, step) for chain in chains]
        relaxed = [(hop, atoms) for hop, atoms in proposals if atoms is not None]
        hops = {hop.chain: hop for hop, _ in proposals}
        payloads = [self._hop_payload(chains[hop.chain], hop, atoms) for hop, atoms in relaxed]
        for outcome in self.executor.map(relax_task, payloads):
            hop, atoms = relaxed[outcome.index]
            hops[hop.chain] = self._minimum(hop, atoms, outcome)
        for chain in chains:
            hops[chain.index] = self._decide(chain, hops[chain.index])
        if self.settings.exchange_every and step % self.settings.exchange_every == 0:
            self._exchange(chains)
        for chain in chains:
            chain.stay()
        return [
            replace(
                hops[chain.index],
                current=(chain.current.step, chain.current.chain),
                generator=dict(chain.rng.bit_generator.state),
            )
            for chain in chains
        ]

    def _propose(self, chain: Chain, step: int) -> tuple[Hop, Atoms | None]:
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

    def _kind_of_move(self, chain: Chain) -> str:
        fewest, most = self.problem.counts["O"]
        count = chain.current.numbers.count(OXYGEN)
        allowed = [*(["insertion"] if count < most else []), *(["removal"] if count > fewest else [])]
        drawn = chain.rng.random()
        if drawn < self.settings.oxygen_probability and allowed:
            return str(chain.rng.choice(allowed))
        if drawn >= 1.0 - self.settings.relocation_probability:
            return "relocation"
        return DISPLACEMENT

    def _moved(self, atoms: Atoms, move: str, rng: np.random.Generator) -> Atoms | None:
        template, limits, settings = self.problem.template, self.problem.thresholds, self.settings
        numbers, positions = atoms.numbers, atoms.positions
        above = positions[:, 2] >= template.free_floor + settings.buffer_thickness
        moving = np.flatnonzero(above & (np.arange(len(atoms)) >= template.n_frozen))
        heights = (template.free_floor + settings.buffer_thickness, template.free_ceiling)
        distances = (limits.o_o_clustered, (limits.metal_o_min, limits.coordination_cutoff))
        found: tuple[np.ndarray, np.ndarray] | None
        if move == "insertion":
            found = insert_oxygen(numbers, positions, template.cell, heights, rng, *distances)
        elif move == "relocation":
            found = relocate_oxygen(numbers, positions, template.cell, moving, heights, rng, *distances)
        elif move == "removal":
            found = remove_oxygen(numbers, positions, moving, rng)
        elif settings.moves == "cartesian":
            found = numbers, cartesian_move(positions, moving, rng, settings.step_length)
        else:
            length, fraction = settings.step_length, settings.mode_fraction
            found = numbers, delocalized_move(numbers, positions, template.cell, moving, rng, length, fraction)
        return None if found is None else template.assemble(*(part[template.n_frozen :] for part in found))

    def _unfit(self, atoms: Atoms) -> str | None:
        """Why a proposal is not worth a force call."""
        heights = atoms.positions[self.problem.template.n_frozen :, 2]
        if len(heights) and not self.window[0] <= heights.min() <= heights.max() <= self.window[1]:
            return OUTSIDE_WINDOW
        validity = check_validity(atoms, self.problem.template.n_frozen, self.problem.thresholds)
        return next((reason for reason in validity.reasons if reason not in self.settings.repairable), None)

    def _hop_payload(self, chain: Chain, hop: Hop, atoms: Atoms) -> dict[str, Any]:
        if hop.move != DISPLACEMENT or not self.settings.fall_back:
            return self._payload(atoms)
        arguments = {"positions": chain.current.positions, "distance": self.settings.fall_back}
        return {**self._payload(atoms), "criteria": [{"import_path": FALLING_BACK, "arguments": arguments}]}

    def _payload(self, atoms: Atoms) -> dict[str, Any]:
        return {
            "potential": self.potential.as_dict(),
            **plain_arrays(atoms),
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

    def _decide(self, chain: Chain, hop: Hop) -> Hop:
        """Metropolis: downhill always, uphill with probability exp(−ΔΩ/kT), Ω with what stays have added to it."""
        threshold = float(chain.rng.random())
        if hop.reason is not None:
            return hop
        rise = max(0.0, chain.paved_omega(hop) - chain.paved_omega(chain.current))
        if threshold < math.exp(-rise / (BOLTZMANN * self.settings.temperature)):
            hop = replace(hop, accepted=True)
            chain.current = hop
        return hop

    def _exchange(self, chains: Sequence[Chain]) -> None:
        """Parallel tempering: neighbours in μ_O exchange with probability exp((μ₁ − μ₂)(N₂ − N₁)/kT)."""
        for low, high in pairwise(sorted(chains, key=lambda chain: (chain.mu_o, chain.index))):
            more = high.current.numbers.count(OXYGEN) - low.current.numbers.count(OXYGEN)
            exponent = (low.mu_o - high.mu_o) * more / (BOLTZMANN * self.settings.temperature)
            if float(low.rng.random()) < math.exp(min(0.0, exponent)):
                low.current, high.current = high.current, low.current
