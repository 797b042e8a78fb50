"""What an arm knows while an iteration goes on: it grows by what each wave finds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from searcher.campaign.arms.known import KnownBasins, add_begun, add_known, add_tried
from searcher.campaign.campaign import Campaign
from searcher.campaign.early_stopping import KNOWN_MINIMUM
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Attempt, KnownTermination, Snapshot
from searcher.campaign.storage.candidate import Candidate, Gate
from searcher.config import ScreeningSection
from searcher.scoring.newness import FEWEST as FEWEST_OUTCOMES
from searcher.scoring.newness import Newness
from searcher.scoring.surrogate import FEWEST, HeightSurrogate, features
from searcher.scoring.thermodynamics import Envelope

STEPS_LEARNED = 3
"""Kept steps of each relaxation, early ones first: they look most like proposals."""


KNOWN_AGAIN = (KNOWN_MINIMUM, "known", "duplicate_in_batch")
"""Reasons of candidates that led to what was known."""


@dataclass(frozen=True)
class Outcome:
    """Of a relaxation: κ of its start to the nearest that was known, and whether it led to something new."""

    arm: str
    kappa: float
    new: bool


def led_to_something_new(candidate: Candidate) -> bool | None:
    """Whether a relaxation did; None if it ended in nothing that could be compared."""
    if candidate.reason in KNOWN_AGAIN:
        return False
    return True if candidate.passed >= Gate.VALID_RELAXED else None


class Knowledge:
    """Terminations with their SOAP vectors, and what their relaxations taught of heights and of newness.

    What it has become depends on what it learned and on the order of that; a campaign that is taken up again in the
    middle of an iteration lets it learn wave by wave again.

    Parameters
    ----------
    campaign : Campaign
    problem : SurfaceProblem
    snapshot : Snapshot
        Of the iteration's start, as far as it is known to the arm.
    screening : ScreeningSection
        Whether paths are known, and whether there is a surrogate.
    outcomes : sequence of Outcome
        Of relaxations before.
    """

    def __init__(
        self,
        campaign: Campaign,
        problem: SurfaceProblem,
        snapshot: Snapshot,
        screening: ScreeningSection,
        outcomes: Sequence[Outcome] = (),
    ) -> None:
        self._campaign, self._problem, self._screening = campaign, problem, screening
        self.snapshot = Snapshot(snapshot.iteration, ())
        self.basins = KnownBasins()
        self.surrogate: HeightSurrogate | None = None
        """None while too little is known, or none is wanted"""
        self._examples: list[tuple[str, np.ndarray]] = []
        self.newness: Newness | None = None
        """None while too little is known"""
        self._outcomes: list[Outcome] = []
        self.learn(snapshot.known, snapshot.tried, outcomes)

    def learn(
        self,
        found: Sequence[KnownTermination],
        tried: Sequence[Attempt] = (),
        outcomes: Sequence[Outcome] = (),
        begun: Sequence[Attempt] = (),
    ) -> None:
        """Add terminations, relaxations in vain, outcomes, and what was begun in the surrogate potential."""
        self._outcomes += outcomes
        new = [one.new for one in self._outcomes]
        if len(new) >= FEWEST_OUTCOMES and len(set(new)) == 2:
            scale = self._campaign.config.acceptance.kappa_min
            self.newness = Newness([one.kappa for one in self._outcomes], new, scale)
        if self._screening.known_basins:
            add_tried(self._campaign, self._problem, self.basins, tried)
            add_begun(self._campaign, self._problem, self.basins, begun)
        if not found:
            return
        self.snapshot = Snapshot(self.snapshot.iteration, self.snapshot.known + tuple(found))
        add_known(self._campaign, self._problem, self.basins, found, self._screening.known_basins)
        if self._screening.surrogate:
            self._examples += self._described(found)
            self.surrogate = self._taught()

    def _described(self, found: Sequence[KnownTermination]) -> list[tuple[str, np.ndarray]]:
        """Features of minima and of the first steps to them, each with the minimum's id."""
        rows = [
            (one.id, key) for one in found for key in [*[key for key, _ in one.path][:STEPS_LEARNED], one.structure]
        ]
        structures = {key: self._campaign.ledger.structure(key) for _, key in rows}
        described = self._campaign.fingerprints.of(structures)
        n_frozen, soap = self._problem.template.n_frozen, self._problem.soap
        examples = []
        for name, key in rows:
            vectors, atoms = described[key], structures[key]
            if vectors is not None:
                free = vectors.subset(range(n_frozen, len(atoms)))
                examples.append((name, features(free, soap, self._problem.excess_oxygen_per_area(atoms))))
        return examples

    def _taught(self) -> HeightSurrogate | None:
        if len(self._examples) < FEWEST:
            return None
        envelope = Envelope(self.snapshot.lines, self._problem.delta_mu_o_range)
        height = {one.id: envelope.distance(one.line) for one in self.snapshot.known}
        heights = np.array([height[name] for name, _ in self._examples])
        return HeightSurrogate(np.array([row for _, row in self._examples]), heights, self.surrogate)
