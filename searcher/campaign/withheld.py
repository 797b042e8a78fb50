"""Terminations that training never saw: which of them has the campaign found again?"""

from typing import Any

from searcher.campaign.beginning.preparation import on_template
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.candidate import Gate
from searcher.scoring.novelty import Fingerprint, pair_kappa, same_termination
from searcher.structures.files import read_structures


def find_again(campaign: Campaign, problem: SurfaceProblem) -> list[dict[str, Any]]:
    """One entry per withheld structure, in the order of the file.

    Returns
    -------
    list of dict
        ``name``, ``found_by`` (the first candidate that is the same termination, or None) and ``kappa`` (the smallest κ
        of the withheld structure to anything that the campaign relaxed, or None).
    """
    path = campaign.config.withheld
    if path is None:
        return []
    labels = [str(atoms.info.get("label", "withheld")) for atoms in read_structures(path)]
    names = [f"{label} #{number}" for number, label in enumerate(labels, start=1)]
    targets = dict(zip(names, on_template(path, problem.template), strict=True))
    relaxed = [c for c in campaign.ledger.candidates(reached=Gate.VALID_RELAXED) if c.iteration >= 0]
    ours = {c.id: campaign.ledger.structure(str(c.relaxed)) for c in relaxed}
    prints = _fingerprints(campaign, problem, ours)
    entries = []
    for name, target in _fingerprints(campaign, problem, targets).items():
        kappas = [pair_kappa(target.free, found.whole) for found in prints.values()]
        same = (
            i for i, found in prints.items() if same_termination(target, found, campaign.config.acceptance.kappa_min)
        )
        entries.append({"name": name, "found_by": next(same, None), "kappa": min(kappas, default=None)})
    return entries


def _fingerprints(campaign: Campaign, problem: SurfaceProblem, structures: dict[str, Any]) -> dict[str, Fingerprint]:
    described = campaign.fingerprints.of(structures)
    n_frozen = problem.template.n_frozen
    return {
        key: Fingerprint(
            vectors.subset(range(n_frozen, len(structures[key]))),
            vectors,
            problem.excess_oxygen_per_area(structures[key]),
        )
        for key, vectors in described.items()
        if vectors is not None
    }
