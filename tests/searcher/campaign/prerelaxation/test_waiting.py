"""What waits for a later wave: hopeful proposals, and the lowest of each composition."""

from types import SimpleNamespace

from ase import Atoms

from searcher.campaign.arms.ranking import Guess
from searcher.campaign.arms.screening import NOT_SELECTED
from searcher.campaign.prerelaxation.waiting import kept_waiting
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict
from searcher.config import ScreeningSection

SETTINGS = ScreeningSection(deviations=0.0)
MARGIN = 0.025


def candidate(index: int, n_oxygen: int, reason: str | None = NOT_SELECTED) -> Candidate:
    passed = Gate.VALID if reason else Gate.SELECTED
    verdict = Verdict.REJECTED if reason else Verdict.OPEN
    return Candidate(
        f"001-moves-{index:05d}",
        1,
        "moves",
        index,
        0,
        passed=passed,
        verdict=verdict,
        reason=reason,
        proposed=f"O{n_oxygen}",
    )


def waiting(heights: list[float], candidates: list[Candidate]) -> set[int]:
    campaign = SimpleNamespace(ledger=SimpleNamespace(structure=Atoms))
    guesses = {c.id: Guess(height, 0.003) for c, height in zip(candidates, heights, strict=True)}
    kept = kept_waiting(campaign, candidates, guesses, SETTINGS, MARGIN)  # type: ignore[arg-type]
    assert [c.id for c in kept] == [c.id for c in candidates]
    return {c.index for c in kept if c.passed == Gate.VALID and not c.finished}


def test_what_may_come_below_the_margin_waits_and_so_does_the_lowest_of_each_composition() -> None:
    candidates = [candidate(0, 6), candidate(1, 6), candidate(2, 6), candidate(3, 4), candidate(4, 4)]
    assert waiting([0.010, 0.020, 0.040, 0.090, 0.080], candidates) == {0, 1, 4}


def test_what_was_selected_or_is_known_does_not_wait() -> None:
    candidates = [candidate(0, 6, reason=None), candidate(1, 6, reason="known_basin")]
    assert waiting([0.010, 0.010], candidates) == set()
