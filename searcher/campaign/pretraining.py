"""Weights to start other campaigns from, trained on everything that one campaign has relaxed."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from rich.console import Console

from generators.learned import WEIGHTS_NAME
from generators.proposal import TrainingRecord
from generators.training.checkpoint import load_weights, save_weights
from searcher.campaign.arms.gan_arm import gan_proposer, training_settings
from searcher.campaign.arms.training_records import training_records
from searcher.campaign.beginning.preparation import add_references
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.progress import counting
from searcher.campaign.snapshot import KnownTermination, Snapshot, take_snapshot
from searcher.campaign.storage.candidate import PREPARATION, spawn_seed
from searcher.campaign.storage.verification import file_hash
from searcher.campaign.storage.warm_start import WEIGHTS, PretrainingMinimum, write_warm_start
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.known_set import KnownSet

HOLDOUT_EVERY = 8  # one relaxation in so many is never learned from
EVERYTHING = 10**9
"""an iteration later than any"""


@dataclass(frozen=True)
class PretrainingSet:
    """What weights are trained on, and what was kept from them.

    Attributes
    ----------
    snapshot : Snapshot
        Known terminations whose paths hold only structures that may be learned from.
    records, holdout : list of TrainingRecord
        To learn from, and to measure with: whole relaxations are held out.
    dropped : int
        Structures left out because they look like something withheld.
    """

    snapshot: Snapshot
    records: list[TrainingRecord]
    holdout: list[TrainingRecord]
    dropped: int


def pretraining_set(
    campaign: Campaign, problem: SurfaceProblem, also: Sequence[PretrainingMinimum], withheld: list[Atoms]
) -> PretrainingSet:
    """Every valid minimum of a campaign with its path, less all that lies within κ_min of a withheld structure.

    κ counts in both directions, so that neither a part of a withheld termination nor something that contains it is
    learned.

    Parameters
    ----------
    also : sequence of PretrainingMinimum
        Minima from elsewhere, with energies of the same potential.
    """
    _import(campaign, problem, also)
    snapshot = take_snapshot(campaign.ledger, EVERYTHING, campaign.line_of)
    keys = {key for k in snapshot.known for key in (k.structure, *(step for step, _ in k.path))}
    close = _look_like(campaign, problem, sorted(keys), withheld) if withheld else set()
    kept = tuple(
        replace(k, arm="pretraining", path=tuple(step for step in k.path if step[0] not in close))
        for k in snapshot.known
        if k.structure not in close
    )
    cleaned = Snapshot(snapshot.iteration, kept)
    learned = Snapshot(snapshot.iteration, tuple(k for k in kept if not _held_out(k)))
    measured = Snapshot(snapshot.iteration, tuple(k for k in kept if _held_out(k)))
    return PretrainingSet(
        cleaned, training_records(campaign, problem, learned), training_records(campaign, problem, measured), len(close)
    )


def _import(campaign: Campaign, problem: SurfaceProblem, also: Sequence[PretrainingMinimum]) -> None:
    """Put minima into the ledger as references, once."""
    if not also or campaign.ledger.stage(PREPARATION, "pretraining") is not None:
        return
    with campaign.ledger.transaction():
        add_references(
            campaign,
            problem,
            "pretraining",
            [minimum.atoms for minimum in also],
            [minimum.energy for minimum in also],
            [minimum.path for minimum in also],
        )
        campaign.ledger.finish_stage(PREPARATION, "pretraining", {"count": len(also)})


def _held_out(known: KnownTermination) -> bool:
    return zlib.crc32(known.id.encode()) % HOLDOUT_EVERY == 0


def _look_like(campaign: Campaign, problem: SurfaceProblem, keys: list[str], withheld: list[Atoms]) -> set[str]:
    kappa_min, n_frozen = campaign.config.acceptance.kappa_min, problem.template.n_frozen
    ours = campaign.fingerprints.of({key: campaign.ledger.structure(key) for key in keys})
    theirs = campaign.fingerprints.of({f"withheld-{i}": atoms for i, atoms in enumerate(withheld)})
    described = {key: vectors for key, vectors in ours.items() if vectors is not None}
    kept_out = [vectors for vectors in theirs.values() if vectors is not None]
    forward = _kappa(list(described.values()), kept_out, n_frozen)
    backward = _kappa(kept_out, list(described.values()), n_frozen)
    nearest = np.minimum(forward.min(axis=1), backward.min(axis=0))
    return {key for key, kappa in zip(described, nearest, strict=True) if kappa <= kappa_min}


def _kappa(queries: list[LocalVectors], known: list[LocalVectors], n_frozen: int) -> np.ndarray:
    """κ of the free atoms of each query against each known structure, shape (n_queries, n_known)."""
    pool = KnownSet()
    for number, vectors in enumerate(known):
        pool.add(str(number), vectors, 0.0)
    return pool.kappa_matrix([v.subset(range(n_frozen, v.n_centers)) for v in queries])


def pretrain(
    campaign: Campaign,
    problem: SurfaceProblem,
    out: Path,
    steps: int,
    also: Sequence[PretrainingMinimum],
    withheld: list[Atoms],
    console: Console,
) -> None:
    """Train and write a folder that `network.warm_start` can name; a repeated call goes on from its checkpoints."""
    out.mkdir(parents=True, exist_ok=True)
    material = pretraining_set(campaign, problem, also, withheld)
    console.print(
        f"{len(material.snapshot.known)} minima, {len(material.records)} structures to learn from, "
        f"{len(material.holdout)} held out, {material.dropped} left out for {len(withheld)} withheld"
    )
    settings = replace(training_settings(campaign.config), steps=steps)
    work = campaign.folder / f"pretraining-{out.name}"
    with counting(console, "training", steps) as advance:
        source = gan_proposer(
            campaign.config,
            problem,
            settings=settings,
            folder=work,
            progress=lambda metrics: advance(1),
        )
        source.fit(material.records, np.random.default_rng(spawn_seed(campaign.config.seed, 0, "pretraining", 0)))
    tensors, description = load_weights(work / WEIGHTS_NAME)
    save_weights(out / WEIGHTS, tensors, description, half=True)
    record = {
        "template": problem.template.id,
        "potential": campaign.potential_hash,
        "steps": steps,
        "structures": len(material.records),
        "held_out": len(material.holdout),
        "withheld": len(withheld),
        "weights": file_hash(out / WEIGHTS),
        "seed": campaign.config.seed,
        "versions": campaign.ledger.fact("versions"),
        "threads": settings.threads,
    }
    write_warm_start(out, record, [_minimum(campaign, k) for k in material.snapshot.known])
    console.print(f"warm start: {out}")


def _minimum(campaign: Campaign, known: KnownTermination) -> PretrainingMinimum:
    ledger = campaign.ledger
    energy = ledger.measured_energy(known.id, campaign.potential_hash)
    most = campaign.config.training.snapshots_per_structure
    calls = {key: call for call, key, _ in ledger.snapshots(known.id)}
    path = [(calls[key], ledger.structure(key), excess) for key, excess in known.path[-most:]]
    return PretrainingMinimum(known.id, ledger.structure(known.structure), energy, tuple(path))
