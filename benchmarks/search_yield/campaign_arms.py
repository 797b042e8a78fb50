"""Arms that are campaigns of this program."""

from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

from benchmarks.search_yield.cells import Cell, campaign_settings, configuration, merged, relaxing_to_the_end
from benchmarks.search_yield.records import ArmRun, Relaxation, seconds_so_far, stopwatch
from searcher.campaign.arms.waves import waves
from searcher.campaign.campaign import Campaign, open_campaign
from searcher.campaign.loop import run_campaign
from searcher.campaign.prerelaxation import waiting
from searcher.campaign.prerelaxation.fitting import STAGE
from searcher.campaign.storage.candidate import Candidate, Gate
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import InputError

MOST_ITERATIONS = 10_000


class BudgetSpent(Exception):
    """Ends a campaign between two iterations."""


def run_campaign_arm(
    cell: Cell, arm: str, table: str, seed: int, budget: int, changes: Mapping[str, Any], folder: Path
) -> ArmRun:
    """Search until the budget is spent; called again with the same folder it goes on where it was."""
    settings = merged(campaign_settings(cell, table, "campaign", seed, budget, folder), changes)
    iterations = {"budget": {"iterations": MOST_ITERATIONS}}
    settings = merged(settings, iterations)
    config = configuration(relaxing_to_the_end(settings) if table == "A" else settings)

    def stop_at_budget(campaign: Campaign, iteration: int) -> None:
        if force_calls(campaign.ledger) >= budget:
            raise BudgetSpent

    with stopwatch(folder):
        campaign = open_campaign(config, Event())
        try:
            stop_at_budget(campaign, -1)
            run_campaign(campaign, Console(stderr=True), stop_at_budget)
        except BudgetSpent:
            relaxations, training = _relaxations(campaign.ledger), _training_seconds(campaign.ledger)
            began = campaign.ledger.fact("provenance", {})
            details = {
                "funnels": {name: campaign.ledger.funnel(name) for name in campaign.ledger.arms()},
                "surrogate_calls": _surrogate_calls(campaign.ledger),
            }
        finally:
            campaign.close()
    return ArmRun(
        cell=cell.name,
        arm=arm,
        table=table,
        seed=seed,
        budget=budget,
        calls=relaxations[-1].calls,
        wall_s=seconds_so_far(folder),
        training_s=training,
        relaxations=relaxations,
        details=details,
        commit=began.get("git", ""),
    )


def donated_weights(cell: Cell, table: str, seed: int, work: Path) -> Path:
    """The last weights of the loop on the cell's donor.

    Raises
    ------
    InputError
        If the cell has no donor, or the loop has not searched it.
    """
    if not cell.donor:
        raise InputError(f"cell `{cell.name}` has no donor: no other cell has its voxels and counts")
    folder = work / table / cell.donor / "gan" / f"seed-{seed}" / "campaign"
    if not folder.is_dir():
        raise InputError(f"arm `transfer` needs `{folder}`: run arm `gan` on cell `{cell.donor}` first")
    ledger = Ledger.of_run(folder)
    weights = [detail["weights"] for _, name, detail in ledger.stages() if name == "train:gan"]
    ledger.close()
    if not weights:
        raise InputError(f"`{folder}` has trained no network yet: run arm `gan` on cell `{cell.donor}` first")
    return folder / weights[-1]


def force_calls(ledger: Ledger) -> int:
    """All of a campaign's, the seeds' included."""
    return sum(candidate.force_calls for candidate in ledger.candidates())


def _relaxations(ledger: Ledger) -> list[Relaxation]:
    calls, found = 0, []
    for candidate in in_order([c for c in ledger.candidates() if c.force_calls], waves(ledger)):
        calls += candidate.force_calls
        numbers: list[int] = []
        positions: list[list[float]] = []
        energy = ledger.energy(candidate.id, ledger.fact("potential"))
        if candidate.passed >= Gate.CONVERGED and candidate.relaxed is not None:
            atoms = ledger.structure(candidate.relaxed)
            numbers, positions = atoms.numbers.tolist(), atoms.positions.tolist()
        found.append(Relaxation(calls, numbers, positions, energy, candidate.arm))
    return found


def in_order(candidates: list[Candidate], wave_of: Mapping[str, int]) -> list[Candidate]:
    """By iteration and wave; within one, arms take turns in proportion to how much each relaxes."""
    sizes: dict[tuple[int, int, str], int] = {}
    groups, places = {}, {}
    for candidate in sorted(candidates, key=lambda c: c.id):
        group = groups[candidate.id] = (candidate.iteration, wave_of.get(candidate.id, 0), candidate.arm)
        places[candidate.id] = sizes.get(group, 0)
        sizes[group] = places[candidate.id] + 1
    return sorted(candidates, key=lambda c: (*groups[c.id][:2], (places[c.id] + 0.5) / sizes[groups[c.id]], c.arm))


def _training_seconds(ledger: Ledger) -> float:
    learned = [detail for _, name, detail in ledger.stages() if name == STAGE or name.startswith("train:")]
    return float(sum(detail["seconds"] for detail in learned))


def _surrogate_calls(ledger: Ledger) -> int:
    asked = [detail["evaluations"] for _, name, detail in ledger.stages() if name.startswith(waiting.STAGE)]
    return sum(sum(by_arm.values()) for by_arm in asked)
