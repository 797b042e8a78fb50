"""A fork's beginning: every converged valid minimum of another campaign, with energy and recorded path."""

from pathlib import Path

from ase import Atoms

from searcher.campaign.arms.training_set import ALWAYS_LEARNED, INHERITED
from searcher.campaign.beginning.preparation import add_references
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import is_known
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import StorageError

ARCHIVE = "archive"
"""arm of inherited minima that count as known but are not learned from"""


def inherit(campaign: Campaign, problem: SurfaceProblem) -> int:
    """Write another campaign's minima to the ledger as references; the caller holds the transaction.

    What it accepted (or what was new, as `training.learned` says) is learned from, and so is what it was given to learn
    from; seeds by construction are the fork's own.

    Returns
    -------
    int
        How many there are; 0 if the campaign is no fork.

    Raises
    ------
    StorageError
        If the other campaign is no longer there.
    """
    origin = campaign.ledger.fact("forked_from")
    if origin is None:
        return 0
    ledger = Ledger.of_run(Path(origin["folder"]))
    if ledger.fact("uid") != origin["uid"]:
        raise StorageError(f"`{origin['folder']}` is not the campaign that this one was forked from")
    minima = [c for c in ledger.candidates() if is_known(c) and c.arm != "seed"]
    everything_new = campaign.config.training.learned == "novel"
    for arm, chosen in (
        (INHERITED, [c for c in minima if _learned(c, everything_new)]),
        (ARCHIVE, [c for c in minima if not _learned(c, everything_new)]),
    ):
        structures = [ledger.structure(str(c.relaxed)) for c in chosen]
        energies = [ledger.measured_energy(c.id, campaign.potential_hash) for c in chosen]
        add_references(campaign, problem, arm, structures, energies, [_path(ledger, c) for c in chosen])
    ledger.close()
    return len(minima)


def _learned(candidate: Candidate, everything_new: bool) -> bool:
    chosen = candidate.verdict == Verdict.ACCEPTED or (everything_new and candidate.passed >= Gate.NOVEL)
    return chosen or candidate.arm in ALWAYS_LEARNED


def _path(ledger: Ledger, candidate: Candidate) -> list[tuple[int, Atoms, float]]:
    return [(call, ledger.structure(key), energy) for call, key, energy in ledger.snapshots(candidate.id)]
