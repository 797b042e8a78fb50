"""What all arms of a cell share: the surface, its references, the start, and the terminations to be found again."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from ase import Atoms
from rich.console import Console

from benchmarks.search_yield.cells import START, Cell, campaign_settings, configuration, merged
from relax.potential import PotentialSpec
from searcher.campaign.beginning.preparation import PREPARATION, prepare
from searcher.campaign.campaign import Campaign, open_campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.candidate import Candidate, Gate
from searcher.campaign.workers.executor import Executor
from searcher.campaign.workers.fingerprints import Fingerprints
from searcher.config import result_changing
from searcher.scoring.novelty import Fingerprint
from searcher.scoring.thermodynamics import Line


@dataclass(frozen=True)
class Frame:
    """A cell as a problem.

    Attributes
    ----------
    start : ase.Atoms
        Unrelaxed; what every arm begins with.
    start_line : Line
        γ(Δμ_O) of what it relaxes to.
    withheld : dict of str to ase.Atoms
        Relaxed terminations by construction that no arm is given, those of an allowed composition.
    withheld_lines : dict of str to Line
        Their γ(Δμ_O).
    """

    cell: Cell
    problem: SurfaceProblem
    potential: PotentialSpec
    executor: Executor
    fingerprints: Fingerprints
    start: Atoms
    start_line: Line
    withheld: dict[str, Atoms]
    withheld_lines: dict[str, Line]
    delta_mu_o_range: tuple[float, float]
    kappa_min: float

    def describe(self, structures: dict[str, Atoms]) -> dict[str, Fingerprint]:
        """What decides whether two are the same termination; those that cannot be described are left out."""
        n_frozen, found = self.problem.template.n_frozen, {}
        for key, whole in self.fingerprints.of(structures).items():
            if whole is not None:
                free = whole.subset(range(n_frozen, len(structures[key])))
                found[key] = Fingerprint(free, whole, self.problem.excess_oxygen_per_area(structures[key]))
        return found


@contextmanager
def open_frame(cell: Cell, work: Path) -> Iterator[Frame]:
    """References and relaxed terminations by construction of a cell, computed once in the work folder."""
    everything = {"surface": {"terminations": None}}
    settings = campaign_settings(cell, "A", cell.name, 1, cell.calls, work / "frames")
    config = configuration(merged(settings, everything))
    # settings of arms have no say here but are compared when a campaign is taken up again
    depends_on = json.dumps(result_changing(config), sort_keys=True)
    name = f"{cell.name}-{hashlib.sha256(depends_on.encode()).hexdigest()[:8]}"
    config = config.model_copy(update={"name": name})
    campaign = open_campaign(config, Event())
    try:
        problem = prepare(campaign, Console(stderr=True))
        start, withheld = _start(campaign, cell), _withheld(campaign, problem, cell)
        yield Frame(
            cell=cell,
            problem=problem,
            potential=campaign.potential,
            executor=campaign.executor,
            fingerprints=campaign.fingerprints,
            start=campaign.ledger.structure(str(start.proposed)),
            start_line=start.measured_line,
            withheld={str(c.label): campaign.ledger.structure(str(c.relaxed)) for c in withheld},
            withheld_lines={str(c.label): c.measured_line for c in withheld},
            delta_mu_o_range=problem.delta_mu_o_range,
            kappa_min=config.acceptance.kappa_min,
        )
    finally:
        campaign.close()


def _start(campaign: Campaign, cell: Cell) -> Candidate:
    (start,) = (
        candidate
        for candidate in campaign.ledger.candidates(iteration=PREPARATION, arm="seed")
        if candidate.label == f"{cell.facet}-{START}"
    )
    return start


def _withheld(campaign: Campaign, problem: SurfaceProblem, cell: Cell) -> list[Candidate]:
    found = []
    for candidate in campaign.ledger.candidates(iteration=PREPARATION, arm="seed", reached=Gate.VALID_RELAXED):
        free, _ = problem.template.free_part(campaign.ledger.structure(str(candidate.relaxed)))
        if candidate.label != f"{cell.facet}-{START}" and problem.counts_allowed(free):
            found.append(candidate)
    return found
