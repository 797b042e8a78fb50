"""What searching a generator's noise promises beside drawing: python benchmarks/latent_search.py [CONFIG] [--count N].

The configuration names a warm start, whose networks are drawn from and whose relaxations teach the surrogate. Each way
makes the same number of proposals; `best of k drawn` draws as many as the search tries and keeps the most promising of
each k, which is what screening does with a larger `oversampling`. Known basins are those of warm start and seeds. A
promise is no γ: benchmarks/search_yield relaxes.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.prepared import prepared
from generators.gan import GanProposer
from generators.latent_search import LatentSearch, LatentSearchSettings, Predictor
from generators.proposal import Condition, Proposal
from searcher.campaign.arms.conditions import conditions_asked
from searcher.campaign.arms.gan_arm import gan_proposer
from searcher.campaign.arms.kinds.latent_search import PromisedHeights
from searcher.campaign.arms.knowledge import Knowledge
from searcher.campaign.arms.proposing import draw_proposals
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import take_snapshot
from searcher.campaign.storage.warm_start import WEIGHTS
from searcher.config import ScreeningSection
from searcher.config.arm_kinds.latent_search import LatentSearchArm
from searcher.scoring.validity import check_validity

MEV = 1e-3
MARGIN = 25.0
"""meV/Å² above the envelope: what is accepted"""
ROOT = Path(__file__).parent.parent
CLOSE_TO_KNOWN = ScreeningSection(known_basins=False)


class BestOf:
    """The most promising of each `k` that are drawn."""

    def __init__(self, generator: GanProposer, predictor: Predictor, k: int) -> None:
        self.generator, self.predictor, self.k = generator, predictor, k

    def sample(self, n: int, condition: Condition, rng: np.random.Generator) -> list[Proposal]:
        drawn = self.generator.sample(n * self.k, condition, rng)
        bounds = np.full(len(drawn), np.inf)
        readable = [i for i, proposal in enumerate(drawn) if proposal.reason is None]
        promise = self.predictor([drawn[i] for i in readable])
        bounds[readable] = np.nan_to_num(promise.mean - promise.deviation, nan=np.inf)
        return [drawn[i * self.k + int(np.argmin(part))] for i, part in enumerate(np.split(bounds, n))]


def row(
    name: str, proposals: Sequence[Proposal], seconds: float, problem: SurfaceProblem, everything: Predictor,
    new: Predictor,
) -> list[str]:  # fmt: skip
    template = problem.template
    readable = [p for p in proposals if p.reason is None]
    valid = [
        p for p in readable
        if problem.counts_allowed(p.numbers)
        and check_validity(template.assemble(p.numbers, p.positions), template.n_frozen, problem.thresholds).valid
    ]  # fmt: skip
    told, fresh = everything(valid), np.isfinite(new(valid).mean)
    mean, bound = told.mean[fresh] / MEV, (told.mean - told.deviation)[fresh] / MEV
    n = len(proposals)
    return [
        name,
        f"{len(valid) / n:.0%}",
        f"{fresh.sum() / n:.0%}",
        f"{np.median(mean):.1f}",
        f"{np.median(bound):.1f}",
        f"{np.count_nonzero(mean < MARGIN) / n:.0%}",
        f"{1000 * seconds / n:.0f}",
    ]


def measured(campaign: Campaign, problem: SurfaceProblem, count: int, kept: str) -> list[list[str]]:
    arm = LatentSearchArm(name="latent", share=1.0, screening=ScreeningSection(reach=1.4))
    known = Knowledge(campaign, problem, take_snapshot(campaign.ledger, 0), arm.screening)
    if known.surrogate is None:
        raise SystemExit("too few relaxations are known to teach a surrogate: name a configuration with a warm start")
    weights = Path(str(campaign.config.network.warm_start)) / WEIGHTS
    generator = gan_proposer(campaign.config, problem, warm_start=weights)
    everything = PromisedHeights(
        campaign, problem, known, known.surrogate, arm.model_copy(update={"screening": CLOSE_TO_KNOWN})
    )
    new = PromisedHeights(campaign, problem, known, known.surrogate, arm)
    asked = tuple(conditions_asked(campaign.config, problem))
    ways = {"drawn as they come": (generator, asked)}
    for settings in (LatentSearchSettings(generations=1), LatentSearchSettings(), LatentSearchSettings(generations=13)):
        tried = settings.starts + settings.generations * settings.population
        ways[f"best of {tried} drawn"] = (BestOf(generator, new, tried), asked)
        ways[f"searched, {settings.generations} generations, {tried} tried"] = (
            LatentSearch(generator, new, settings), asked,
        )  # fmt: skip
        if settings == LatentSearchSettings():
            ways[f"searched with the conditions, {tried} tried"] = (LatentSearch(generator, new, settings), ({},))
    rows = []
    for name, (source, conditions) in ways.items():
        if kept not in name:
            continue
        began = time.monotonic()
        drawn = draw_proposals(source, conditions, count, seed=campaign.config.seed, iteration=0, arm="measured")
        seconds = time.monotonic() - began
        rows.append(row(name, [proposal for _, proposal in drawn], seconds, problem, everything, new))
        print("| " + " | ".join(rows[-1]) + " |", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=ROOT / "configs/quickstart.yaml")
    parser.add_argument("--count", type=int, default=72, help="proposals of each way")
    parser.add_argument("--runs", type=Path, default=None, help="folder of the campaign that is prepared for it")
    parser.add_argument("--only", default="", help="ways whose name holds this")
    arguments = parser.parse_args()
    with prepared(arguments.config, arguments.runs) as (campaign, problem):
        print(
            "| way | valid | and new | median guess | median bound | new below the margin | ms each |\n"
            + "|---" * 7
            + "|"
        )
        measured(campaign, problem, arguments.count, arguments.only)


if __name__ == "__main__":
    main()
