"""Before a termination is handed on: does it stay at a temperature, and what do vibrations change in its γ?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from relax.dynamics import DynamicsSettings, DynamicsSettingsError
from relax.potential import PotentialSpec
from relax.vibrations import free_energies
from relax.worker import dynamics_task, plain_arrays, vibrations_task
from searcher.campaign.beginning.preparation import recorded_problem
from searcher.campaign.relaxing import relaxation_window
from searcher.campaign.storage.candidate import spawn_seed
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.storage.potential_versions import require_unchanged, versions
from searcher.campaign.workers.executor import Executor, Outcome
from searcher.campaign.workers.fingerprints import Fingerprints
from searcher.errors import EnvironmentProblem, InputError
from searcher.results.terminations import Termination
from searcher.scoring.novelty import Fingerprint, pair_kappa, same_termination
from searcher.scoring.thermodynamics import vibrational_gamma
from searcher.scoring.validity import check_validity
from searcher.structures.crystal import Crystal

MEV = 1000.0
BULK_REPEAT = (2, 2, 3)
"""of the rutile cell: about 9 Å along each side, so that an atom's images do not feel each other move"""
IMAGINARY = "imaginary_mode"
ANOTHER = "another_termination"
UNDESCRIBABLE = "undescribable"


@dataclass(frozen=True)
class FiniteTemperature:
    """What is asked; None for what is not.

    Attributes
    ----------
    dynamics : DynamicsSettings or None
    vibrations : float or None
        Temperature in K.
    """

    dynamics: DynamicsSettings | None = None
    vibrations: float | None = None


def asked_for(dynamics: float | None, picoseconds: float, vibrations: float | None) -> FiniteTemperature:
    """What the command line asks for; temperatures in K.

    Raises
    ------
    InputError
        If a temperature or the time is not positive.
    """
    if vibrations is not None and not 0.0 < vibrations < np.inf:
        raise InputError(f"`--vibrations` is {vibrations} K but must be positive and finite")
    if dynamics is None:
        return FiniteTemperature(None, vibrations)
    try:
        return FiniteTemperature(DynamicsSettings(temperature=dynamics, picoseconds=picoseconds), vibrations)
    except DynamicsSettingsError as error:
        raise InputError(f"`--dynamics` and `--picoseconds`: {error}") from None


class AtTemperature:
    """Dynamics and vibrations of a campaign's terminations, by the potential that its energies are from.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's.
    ledger : Ledger
    executor : Executor

    Raises
    ------
    EnvironmentProblem
        If the potential is gone or was changed.
    InputError
        If the campaign has recorded no lattice yet.
    """

    def __init__(self, folder: Path, ledger: Ledger, executor: Executor) -> None:
        self._ledger, self._executor = ledger, executor
        self._problem = recorded_problem(ledger)
        self._potential = _potential_of(folder, ledger)

    def records(self, terminations: Sequence[Termination], asked: FiniteTemperature) -> dict[str, dict[str, Any]]:
        """By id, what was asked, with units in the names; see `dynamics` and `vibrations`."""
        found: dict[str, dict[str, Any]] = {one.id: {} for one in terminations}
        if asked.dynamics is not None:
            for name, record in self.dynamics(terminations, asked.dynamics).items():
                found[name] |= record
        if asked.vibrations is not None:
            for name, record in self.vibrations(terminations, asked.vibrations).items():
                found[name] |= record
        return found

    def dynamics(self, terminations: Sequence[Termination], settings: DynamicsSettings) -> dict[str, dict[str, Any]]:
        """Shake every termination and let it come to rest.

        Returns
        -------
        dict
            By id ``dynamics_K``, ``dynamics_ps``; ``dynamics_stays``: whether it came to rest as the same valid
            termination, None if a worker did not answer; ``dynamics_kappa``, the larger of both directions between
            start and end, None if there is no end; ``dynamics_reason``, why it does not stay.
        """
        config = self._ledger.fact("config")
        payloads = []
        for one in terminations:
            candidate = self._ledger.candidate(one.id)
            seed = spawn_seed(int(config["seed"]), candidate.iteration, f"{candidate.arm}:dynamics", candidate.index)
            window = {"window": relaxation_window(self._problem), **config.get("relaxation", {})}
            payloads.append({**self._payload(one), "settings": window, "dynamics": asdict(settings), "seed": seed})
        outcomes = {outcome.index: outcome for outcome in self._executor.map(dynamics_task, payloads)}
        ends = {n: _moved(terminations[n], outcome) for n, outcome in outcomes.items() if _came_to_rest(outcome)}
        kappas = self._compared(terminations, ends)
        told = {"dynamics_K": settings.temperature, "dynamics_ps": settings.picoseconds}
        return {
            one.id: {**told, **self._verdict(one, outcomes[n], ends.get(n), kappas.get(n))}
            for n, one in enumerate(terminations)
        }

    def vibrations(self, terminations: Sequence[Termination], temperature: float) -> dict[str, dict[str, Any]]:
        """Einstein's model on the free atoms of every termination.

        Returns
        -------
        dict
            By id ``vibrations_K``; ``vibrations_gamma_meV_per_A2``, what is to be added to γ at any Δμ_O, None where
            ``vibrations_reason`` says why; ``vibrations_zero_point_eV`` of the free atoms; ``vibrations_softest_meV``,
            the lowest ħω, negative for an imaginary one.

        Raises
        ------
        EnvironmentProblem
            If the bulk has no vibrations by the potential.
        """
        bulk = self._bulk_free_energies(temperature)
        payloads = [
            {**self._payload(one), "indices": list(range(one.n_frozen, one.n_atoms)), "frozen": []}
            for one in terminations
        ]
        found: dict[str, dict[str, Any]] = {}
        for outcome in self._executor.map(vibrations_task, payloads):
            one = terminations[outcome.index]
            found[one.id] = {"vibrations_K": temperature, **_vibrations_record(one, outcome, bulk, temperature)}
        return found

    def _payload(self, one: Termination) -> dict[str, Any]:
        return {
            "potential": self._potential.as_dict(),
            **plain_arrays(one.atoms),
            "frozen": list(range(one.n_frozen)),
        }

    def _compared(
        self, terminations: Sequence[Termination], ends: Mapping[int, Atoms]
    ) -> dict[int, tuple[float, bool] | None]:
        """κ between start and end, the larger of both directions, and whether they are the same termination."""
        structures = {f"{n} before": terminations[n].atoms for n in ends} | {f"{n} after": a for n, a in ends.items()}
        described = Fingerprints(self._executor, self._problem.soap).of(structures)
        kappa_min = float(self._ledger.fact("config")["acceptance"]["kappa_min"])
        found: dict[int, tuple[float, bool] | None] = {}
        for n in ends:
            vectors = [described[f"{n} before"], described[f"{n} after"]]
            free = range(terminations[n].n_frozen, terminations[n].n_atoms)
            excess = terminations[n].excess_oxygen_per_area
            pair = [Fingerprint(v.subset(free), v, excess) for v in vectors if v is not None]
            if len(pair) < 2:
                found[n] = None
                continue
            kappa = max(pair_kappa(pair[0].free, pair[1].whole), pair_kappa(pair[1].free, pair[0].whole))
            found[n] = kappa, same_termination(pair[0], pair[1], kappa_min)
        return found

    def _verdict(
        self, one: Termination, outcome: Outcome, end: Atoms | None, compared: tuple[float, bool] | None
    ) -> dict[str, Any]:
        if outcome.result is None:
            return {"dynamics_stays": None, "dynamics_kappa": None, "dynamics_reason": outcome.failure}
        if end is None:
            return {"dynamics_stays": False, "dynamics_kappa": None, "dynamics_reason": outcome.result["reason"]}
        if compared is None:
            return {"dynamics_stays": False, "dynamics_kappa": None, "dynamics_reason": UNDESCRIBABLE}
        kappa, same = compared
        template = self._problem.template
        validity = check_validity(end, one.n_frozen, self._problem.thresholds, template.frozen_positions)
        reason = ANOTHER if not same else None
        reason = reason if validity.valid else validity.reasons[0]
        return {"dynamics_stays": reason is None, "dynamics_kappa": kappa, "dynamics_reason": reason}

    def _bulk_free_energies(self, temperature: float) -> dict[str, float]:
        references = self._problem.references
        cell = Crystal(self._problem.metal, references.a, references.c, references.u).bulk() * BULK_REPEAT
        first = {str(symbol): int(rows[0]) for symbol, rows in cell.symbols.indices().items()}
        payload = {"potential": self._potential.as_dict(), **plain_arrays(cell), "indices": list(first.values())}
        outcome = next(iter(self._executor.map(vibrations_task, [payload])))
        if outcome.result is None or outcome.result["reason"] is not None or outcome.result["energies"].min() <= 0:
            reason = outcome.failure or (outcome.result or {}).get("reason") or IMAGINARY
            raise EnvironmentProblem(f"the potential gives the bulk no vibrations: {reason}")
        return dict(zip(first, free_energies(outcome.result["energies"], temperature).tolist(), strict=True))


def _potential_of(folder: Path, ledger: Ledger) -> PotentialSpec:
    wanted = ledger.fact("potential")
    for version in versions(folder, ledger):
        if version.hash == wanted:
            require_unchanged(version)
            return version.spec
    raise EnvironmentProblem(f"`{folder}` keeps no copy of potential {wanted}, which its energies are from")


def _came_to_rest(outcome: Outcome) -> bool:
    return outcome.result is not None and outcome.result["reason"] is None


def _moved(one: Termination, outcome: Outcome) -> Atoms:
    atoms = one.atoms.copy()
    assert outcome.result is not None  # only what came to rest is asked for
    atoms.positions = np.asarray(outcome.result["positions"])
    return atoms


def _vibrations_record(
    one: Termination, outcome: Outcome, bulk: Mapping[str, float], temperature: float
) -> dict[str, Any]:
    reason = outcome.failure if outcome.result is None else outcome.result["reason"]
    if outcome.result is None or reason is not None:
        return _no_vibrations(None, reason)
    energies = np.asarray(outcome.result["energies"])
    softest = MEV * float(energies.min(initial=np.inf)) if len(energies) else None
    if softest is not None and softest <= 0.0:
        return _no_vibrations(softest, IMAGINARY)
    values = free_energies(energies, temperature)
    symbols = one.atoms.get_chemical_symbols()[one.n_frozen :]
    of_symbols: dict[str, list[float]] = {}
    for symbol, value in zip(symbols, values.tolist(), strict=True):
        of_symbols.setdefault(symbol, []).append(value)
    return {
        "vibrations_gamma_meV_per_A2": MEV * vibrational_gamma(of_symbols, bulk, one.excess_oxygen, one.area),
        "vibrations_zero_point_eV": float(energies.sum() / 2.0),
        "vibrations_softest_meV": softest,
        "vibrations_reason": None,
    }


def _no_vibrations(softest: float | None, reason: str | None) -> dict[str, Any]:
    return {
        "vibrations_gamma_meV_per_A2": None,
        "vibrations_zero_point_eV": None,
        "vibrations_softest_meV": softest,
        "vibrations_reason": reason,
    }
