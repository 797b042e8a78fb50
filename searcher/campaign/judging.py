"""Verdicts on an iteration's relaxed candidates, after the last relaxation has ended."""

from collections.abc import Sequence
from dataclasses import replace

from searcher.campaign.arms.known import KnownBasins
from searcher.campaign.beginning.preparation import seed_lines
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict
from searcher.scoring.acceptance import AcceptanceSettings, Minimum, judge_batch
from searcher.scoring.novelty import Fingerprint

MEV = 1e-3


def judge(
    campaign: Campaign, problem: SurfaceProblem, candidates: Sequence[Candidate], known: KnownBasins
) -> list[Candidate]:
    """Final form of converged, valid candidates of one arm and iteration.

    Parameters
    ----------
    candidates : sequence of Candidate
        Open, past `Gate.VALID_RELAXED`.
    known : KnownBasins
        As it was when the iteration started.
    """
    section = campaign.config.acceptance
    settings = AcceptanceSettings(section.kappa_min, section.margin_mev_per_A2 * MEV)
    structures = {str(c.relaxed): campaign.ledger.structure(str(c.relaxed)) for c in candidates}
    vectors = campaign.fingerprints.of(structures, poison=True)
    n_frozen = problem.template.n_frozen
    minima, judged = [], {}
    for candidate in candidates:
        atoms, whole = structures[str(candidate.relaxed)], vectors[str(candidate.relaxed)]
        if whole is None:
            judged[candidate.id] = replace(candidate, verdict=Verdict.FAILED, reason="undescribable")
            continue
        free = whole.subset(range(n_frozen, len(atoms)))
        fingerprint = Fingerprint(free, whole, problem.excess_oxygen_per_area(atoms))
        minima.append(Minimum(candidate.id, candidate.measured_line, fingerprint))
    by_id, seeds = {c.id: c for c in candidates}, seed_lines(campaign)
    for judgement in judge_batch(
        minima, known.minima, known.lines, settings, problem.delta_mu_o_range, delta_mu_o=problem.delta_mu_o
    ):
        candidate = by_id[judgement.id]
        passed = Gate.VALID_RELAXED
        if judgement.unique:
            passed = Gate.NOVEL if judgement.novel else Gate.UNIQUE
        judged[candidate.id] = replace(
            candidate,
            passed=Gate.ACCEPTED if judgement.verdict == Verdict.ACCEPTED else passed,
            verdict=judgement.verdict,
            reason=judgement.reason,
            kappa=judgement.kappa,
            nearest=judgement.nearest,
            above_envelope=judgement.distance_to_envelope,
            energy_class=problem.energy_class(candidate.measured_line, seeds),
        )
    return [judged[c.id] for c in candidates]
