"""What a surrogate thinks well of and a wave has no place for waits for the next waves of its iteration."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from searcher.campaign.arms.ranking import Guess
from searcher.campaign.arms.screening import NOT_SELECTED, oxygen_count
from searcher.campaign.campaign import Campaign
from searcher.campaign.prerelaxation.relaxing import Prerelaxed
from searcher.campaign.snapshot import Attempt
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict
from searcher.config import ScreeningSection

STAGE = "prerelaxed:"
"""Begins the names of the stages that tell what a wave's arms asked the surrogate, and what it said"""


def record(
    campaign: Campaign,
    iteration: int,
    number: int,
    found: Mapping[str, Prerelaxed],
    energies: Mapping[str, float],
    seconds: float,
) -> None:
    """Of a wave by arm what was asked, and by id in eV what the surrogate said of those that wait from now on.

    The caller holds the transaction.
    """
    campaign.ledger.finish_stage(
        iteration,
        f"{STAGE}{number}",
        {
            "evaluations": {arm: one.evaluations for arm, one in found.items()},
            "seconds": round(seconds, 1),
            "energies": dict(energies),
            "starts": {arm: one.starts for arm, one in found.items()},
        },
    )


def of_arm(campaign: Campaign, iteration: int, arm: str) -> list[Candidate]:
    """An arm's proposals that stand where the surrogate left them, and have had no place yet."""
    open_ones = campaign.ledger.candidates(iteration=iteration, arm=arm, verdict=Verdict.OPEN, reached=Gate.VALID)
    return [c for c in open_ones if c.passed == Gate.VALID]


def energies(campaign: Campaign, iteration: int, number: int) -> dict[str, float]:
    """By id in eV what the surrogate said of those that waited after a wave; empty before the first."""
    said: dict[str, float] = (campaign.ledger.stage(iteration, f"{STAGE}{number}") or {}).get("energies", {})
    return said


def begun(campaign: Campaign, iteration: int, number: int) -> tuple[Attempt, ...]:
    """Where relaxations in the surrogate began in a wave: what begins alike ends alike."""
    starts = (campaign.ledger.stage(iteration, f"{STAGE}{number}") or {}).get("starts", {})
    return tuple(Attempt(name, arm, key) for arm, own in starts.items() for name, key in own.items())


def kept_waiting(
    campaign: Campaign,
    candidates: Sequence[Candidate],
    promised: Mapping[str, Guess],
    settings: ScreeningSection,
    margin: float,
) -> list[Candidate]:
    """Candidates of a wave, those open again that may have a later place: hopeful ones and each composition's lowest.

    Parameters
    ----------
    margin : float
        Of acceptance, in eV/Å².
    """
    left_over = [c for c in candidates if c.reason == NOT_SELECTED]
    lowest: dict[int, str] = {}
    for candidate in sorted(left_over, key=lambda c: (promised[c.id].mean, c.id)):
        lowest.setdefault(oxygen_count(campaign.ledger.structure(str(candidate.proposed))), candidate.id)
    kept = {c.id for c in left_over if promised[c.id].optimistic(settings) <= margin} | set(lowest.values())
    return [replace(c, verdict=Verdict.OPEN, reason=None) if c.id in kept else c for c in candidates]


def end_waiting(campaign: Campaign, iteration: int) -> None:
    """Nothing waits beyond its iteration: the next one knows more. The caller holds the transaction."""
    for candidate in campaign.ledger.candidates(iteration=iteration, verdict=Verdict.OPEN, reached=Gate.VALID):
        if candidate.passed == Gate.VALID:
            campaign.ledger.update_candidate(replace(candidate, verdict=Verdict.REJECTED, reason=NOT_SELECTED))
