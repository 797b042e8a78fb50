"""Record proposals for `benchmarks/relaxation.py`: what a campaign would relax next.

    python benchmarks/record_proposals.py configs/quickstart.yaml --out benchmarks/proposals-110-1x2.extxyz.xz

Half of them come from the generator with the weights of the warm start as they are, half from random insertion (every
other one over metal atoms of known terminations), all screened as the configuration says. The references and seeds of
the campaign are relaxed first, in the folder `--runs`.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from prepared import prepared

from generators.proposal import Proposal
from generators.random_placement import RandomPlacement
from searcher.campaign.arms.conditions import conditions_asked
from searcher.campaign.arms.gan_arm import gan_proposer
from searcher.campaign.arms.known import describe_known, known_to
from searcher.campaign.arms.proposing import draw_proposals
from searcher.campaign.arms.screening import record_proposals, select
from searcher.campaign.arms.training_records import training_records
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Snapshot, take_snapshot
from searcher.campaign.storage.candidate import Gate, spawn_seed
from searcher.campaign.storage.warm_start import WEIGHTS
from searcher.config import ArmSection, ScreeningSection
from searcher.config.arm_kinds.gan import GanArm
from searcher.config.arm_kinds.random import RandomArm
from searcher.structures.files import write_compressed


@dataclass(frozen=True)
class Source:
    """An arm, what counts as known for it, and how many of its proposals are wanted."""

    arm: ArmSection
    proposer: RandomPlacement | None
    wanted: int


def sources(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, count: int) -> list[Source]:
    records = training_records(campaign, problem, snapshot)
    bare = RandomPlacement(problem.template, dict(problem.counts), problem.minimum_distances)
    over_metal = RandomPlacement(problem.template, dict(problem.counts), problem.minimum_distances)
    over_metal.keep_metal(records)
    screening = ScreeningSection(oversampling=250, known_basins=False)
    share = 1.0
    return [
        Source(GanArm(name="gan", share=share), None, count),
        Source(RandomArm(name="random", share=share, screening=screening), bare, count // 2),
        Source(RandomArm(name="scout", share=share, screening=screening), over_metal, count - count // 2),
    ]


def draw(campaign: Campaign, problem: SurfaceProblem, source: Source, round_: int) -> list[tuple[int, Proposal]]:
    n = source.wanted * source.arm.screening.oversampling
    if source.proposer is not None:
        seed = spawn_seed(campaign.config.seed, round_, source.arm.name, 0)
        return [(seed, proposal) for proposal in source.proposer.sample(n, {}, np.random.default_rng(seed))]
    weights = Path(str(campaign.config.network.warm_start)) / WEIGHTS
    proposer = gan_proposer(campaign.config, problem, warm_start=weights)
    return draw_proposals(
        proposer, tuple(conditions_asked(campaign.config, problem)), n,
        seed=campaign.config.seed, iteration=round_, arm=source.arm.name,
    )  # fmt: skip


def recorded(campaign: Campaign, problem: SurfaceProblem, source: Source, snapshot: Snapshot) -> list[Atoms]:
    kappa_min, screening = campaign.config.acceptance.kappa_min, source.arm.screening
    known = describe_known(campaign, problem, known_to(snapshot, source.arm.name, []), screening.known_basins)
    frames: list[Atoms] = []
    round_ = 0
    while len(frames) < source.wanted:
        proposals = draw(campaign, problem, source, round_)
        with campaign.ledger.transaction():
            candidates = record_proposals(campaign, problem, round_, source.arm.name, proposals)
            missing = source.wanted - len(frames)
            chosen = select(campaign, problem, candidates, known, missing, screening, kappa_min)
        for candidate in sorted((c for c in chosen if c.passed == Gate.SELECTED), key=lambda c: c.id):
            atoms = campaign.ledger.structure(str(candidate.proposed))
            atoms.set_constraint()
            atoms.info = {"id": candidate.id, "source": source.arm.name, "n_frozen": problem.template.n_frozen}
            frames.append(atoms)
        round_ += 1
        print(f"{source.arm.name}: {len(frames)} of {source.wanted}", flush=True)
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--count", type=int, default=60, help="proposals of the generator, and as many random ones")
    parser.add_argument("--runs", type=Path, default=None, help="folder of the campaign that is prepared for it")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with prepared(arguments.config, arguments.runs) as (campaign, problem):
        snapshot = take_snapshot(campaign.ledger, 0)
        frames = [
            atoms
            for source in sources(campaign, problem, snapshot, arguments.count)
            for atoms in recorded(campaign, problem, source, snapshot)
        ]
    write_compressed(arguments.out, frames)
    print(f"{len(frames)} proposals: {arguments.out}")


if __name__ == "__main__":
    main()
