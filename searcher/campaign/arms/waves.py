"""An iteration's proposals and relaxations in waves: what one wave finds decides what the next one tries.

What a wave holds depends on nothing but the waves before it, all of which have ended: not on who finished first, nor on
where a campaign was interrupted.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from relax.potential import PotentialSpec
from searcher.campaign.arms.knowledge import Knowledge, Outcome, led_to_something_new
from searcher.campaign.arms.proposing import draw_proposals
from searcher.campaign.arms.ranking import n_hopeful
from searcher.campaign.arms.screening import MEV, oxygen_count, record_proposals, select
from searcher.campaign.arms.shares import ArmPlan, leading
from searcher.campaign.arms.source import Source
from searcher.campaign.campaign import Campaign
from searcher.campaign.prerelaxation import waiting
from searcher.campaign.prerelaxation.relaxing import Prerelaxed, prerelaxed, promises
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.candidate import Candidate, Gate
from searcher.campaign.storage.ledger import Ledger
from searcher.config import ArmSection
from searcher.scoring.newness import Newness

AFTER_PRERELAXATION = {"reach": 1.0, "known_basins": True, "composition_quota": False, "explored": 0.1}
"""How minima of a surrogate are screened: they are where they will stay, and their heights are told well enough to
compare different compositions."""
WAVE = "wave:"
"""Begins the names of the stages that hold waves, numbered from 0."""


def wave(
    campaign: Campaign,
    problem: SurfaceProblem,
    iteration: int,
    number: int,
    sources: Mapping[str, Source],
    knowledge: Mapping[str, Knowledge],
    plans: Mapping[str, ArmPlan],
    surrogate: PotentialSpec | None = None,
) -> list[Candidate]:
    """The candidates that a wave relaxes, finished or not; none when no arm has calls left, or anything worth them.

    Parameters
    ----------
    sources, knowledge, plans : mapping
        By arm: what it proposes from, what it knows when the wave begins, and what it gets.
    surrogate : PotentialSpec, optional
        What proposals are relaxed in first; not those of control arms, which do without what others learned.
    """
    ledger = campaign.ledger
    if _recorded(campaign, iteration, number) is None:
        first_arm = leading(campaign, plans)
        began, turns = time.monotonic(), {}
        said = waiting.energies(campaign, iteration, number - 1)
        for arm in campaign.config.arms:
            if arm.name in sources:
                known, source, plan = knowledge[arm.name], sources[arm.name], plans[arm.name]
                first = surrogate if arm.feeds_training else None
                n_least = int(arm.name == first_arm)
                turns[arm.name] = _turn(campaign, problem, known, arm, source, plan, first, said, n_least)
        with ledger.transaction():
            ledger.add_candidates([c for turn in turns.values() for c in turn.drawn])
            for candidate in (c for turn in turns.values() for c in turn.waited):
                ledger.update_candidate(candidate)
            ledger.finish_stage(iteration, f"{WAVE}{number}", {arm: turn.chosen for arm, turn in turns.items()})
            if surrogate is not None:
                found = {arm: turn.prerelaxed for arm, turn in turns.items()}
                wait = {name: energy for turn in turns.values() for name, energy in turn.energies.items()}
                waiting.record(campaign, iteration, number, found, wait, time.monotonic() - began)
    return [ledger.candidate(name) for name in _recorded(campaign, iteration, number) or ()]


def waves(ledger: Ledger) -> dict[str, int]:
    """By id of everything that was relaxed, the number of its wave within its iteration."""
    return {
        name: int(stage.removeprefix(WAVE))
        for _, stage, chosen in ledger.stages()
        if stage.startswith(WAVE)
        for name in _by_id(chosen)
    }


def outcomes_of_wave(campaign: Campaign, iteration: int, number: int) -> list[Outcome]:
    """What a wave that has ended says of starts and where they led."""
    relaxed = campaign.ledger.candidates(iteration=iteration, reached=Gate.SELECTED)
    return _outcomes(_recorded(campaign, iteration, number) or {}, {c.id: c for c in relaxed})


def outcomes_before(campaign: Campaign, iteration: int) -> list[Outcome]:
    """The same of all waves of earlier iterations, in the order of the waves."""
    waves = {
        (earlier, int(name.removeprefix(WAVE))): _by_id(chosen)
        for earlier, name, chosen in campaign.ledger.stages()
        if name.startswith(WAVE) and earlier < iteration
    }
    relaxed = {c.id: c for c in campaign.ledger.candidates(before=iteration, reached=Gate.SELECTED)}
    return [outcome for place in sorted(waves) for outcome in _outcomes(waves[place], relaxed)]


def _outcomes(starts: Mapping[str, float | None], relaxed: Mapping[str, Candidate]) -> list[Outcome]:
    """Of a wave's relaxations, by id κ of their starts; those that say nothing are left out."""
    found = ((kappa, relaxed[name]) for name, kappa in starts.items() if kappa is not None)
    return [Outcome(c.arm, kappa, new) for kappa, c in found if (new := led_to_something_new(c)) is not None]


def _recorded(campaign: Campaign, iteration: int, number: int) -> dict[str, float | None] | None:
    """By id of what a wave relaxes, κ of its start to the nearest then known; None if it has not begun."""
    chosen = campaign.ledger.stage(iteration, f"{WAVE}{number}")
    return None if chosen is None else _by_id(chosen)


def _by_id(chosen: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    """What a wave recorded by arm, as one mapping."""
    return {name: kappa for starts in chosen.values() for name, kappa in starts.items()}


@dataclass(frozen=True)
class _Turn:
    """What one arm does in one wave: candidates drawn in it, those that waited for it, and what the surrogate said."""

    drawn: list[Candidate] = field(default_factory=list)
    waited: list[Candidate] = field(default_factory=list)
    prerelaxed: Prerelaxed = field(default_factory=Prerelaxed)
    energies: dict[str, float] = field(default_factory=dict)
    """by id in eV, of those that wait from now on"""

    @property
    def chosen(self) -> dict[str, float | None]:
        """κ of what is relaxed by force calls, by id."""
        return {c.id: c.kappa for c in [*self.waited, *self.drawn] if c.passed == Gate.SELECTED}


def _turn(
    campaign: Campaign,
    problem: SurfaceProblem,
    known: Knowledge,
    arm: ArmSection,
    source: Source,
    plan: ArmPlan,
    surrogate: PotentialSpec | None,
    said: Mapping[str, float],
    n_least: int,
) -> _Turn:
    """An arm's proposals for one wave, what is worth force calls selected; however little they promise, `n_least`.

    Parameters
    ----------
    said : mapping of str to float
        By id in eV, the surrogate's energies of what waits.
    """
    iteration = known.snapshot.iteration
    relaxed = campaign.ledger.candidates(iteration=iteration, arm=arm.name, reached=Gate.SELECTED)
    n_wanted = min(max(1, round(plan.share * campaign.config.budget.wave)), _affordable(campaign, relaxed, plan))
    waited = waiting.of_arm(campaign, iteration, arm.name)
    energies = {c.id: said[c.id] for c in waited}
    if not n_wanted:
        return _Turn(energies=energies)
    served = Counter(oxygen_count(campaign.ledger.structure(str(c.proposed))) for c in relaxed)
    if surrogate is None:
        newness = known.newness if arm.screening.newness else None
        return _Turn(_shortlisted(campaign, problem, known, arm, source, n_wanted, n_wanted, served, newness))
    screening = arm.screening.model_copy(update=AFTER_PRERELAXATION)
    margin = campaign.config.acceptance.margin_mev_per_A2 * MEV

    def chosen(candidates: list[Candidate], n_least: int) -> list[Candidate]:
        return select(
            campaign, problem, candidates, known.basins, n_wanted, screening,
            campaign.config.acceptance.kappa_min, None, served, None, promised, n_least,
        )  # fmt: skip

    promised = promises(campaign, problem, waited, energies, known.snapshot.lines)
    drawn, found, decided = [], Prerelaxed(), chosen(waited, 0)
    hopeful = n_hopeful([promised[c.id] for c in decided if c.passed == Gate.SELECTED], screening, margin)
    if hopeful < n_wanted:
        n_candidates = n_wanted * campaign.config.prerelaxation.candidates
        drawn = _shortlisted(campaign, problem, known, arm, source, n_wanted, n_candidates, served)
        awaited = [replace(c, passed=Gate.VALID) for c in drawn if c.passed == Gate.SELECTED]
        found = prerelaxed(campaign, problem, surrogate, awaited)
        energies |= found.energies
        promised |= promises(campaign, problem, found.candidates, found.energies, known.snapshot.lines)
        decided = chosen([*waited, *found.candidates], n_least)
    by_id = {c.id: c for c in waiting.kept_waiting(campaign, decided, promised, screening, margin)}
    waits = {name: energies[name] for name, c in by_id.items() if c.passed == Gate.VALID and not c.finished}
    return _Turn([by_id.get(c.id, c) for c in drawn], [by_id[c.id] for c in waited], found, waits)


def _shortlisted(
    campaign: Campaign,
    problem: SurfaceProblem,
    known: Knowledge,
    arm: ArmSection,
    source: Source,
    n_wanted: int,
    n_chosen: int,
    served: Counter[int],
    newness: Newness | None = None,
) -> list[Candidate]:
    """What an arm draws to relax `n_wanted`, `n_chosen` of it selected and everything else finished."""
    iteration = known.snapshot.iteration
    n_before = campaign.ledger.funnel(arm.name, iteration)["proposed"]
    drawn = draw_proposals(
        source.given(known), source.conditions, n_wanted * arm.screening.oversampling,
        seed=campaign.config.seed, iteration=iteration, arm=arm.name, n_before=n_before, weights=source.weights,
    )  # fmt: skip
    with campaign.ledger.transaction():
        candidates = record_proposals(campaign, problem, iteration, arm.name, drawn, n_before)
    return select(
        campaign, problem, candidates, known.basins, n_chosen, arm.screening, campaign.config.acceptance.kappa_min,
        known.surrogate, served, newness,
    )  # fmt: skip


def _affordable(campaign: Campaign, relaxed: list[Candidate], plan: ArmPlan) -> int:
    """How many more relaxations, of the mean length so far, an arm's force calls pay."""
    budget = campaign.config.budget
    if not budget.spend_all or not relaxed:
        return plan.relaxations - len(relaxed)
    spent = sum(c.force_calls for c in relaxed)
    left = plan.share * budget.force_calls_per_iteration - spent
    return max(0, round(left * len(relaxed) / max(spent, len(relaxed))))
