"""How well a warm start's generator has learned: Fréchet distance beside its floor, valid and unique share.

    python benchmarks/generator_quality.py runs/random-110-1x2 configs/warm_starts/ruo2-110-1x2

The first folder is the campaign whose relaxations the weights were trained on, the second the warm start.
"""

import argparse
import json
from pathlib import Path
from threading import Event

import numpy as np
from ase import Atoms
from rich.console import Console

from generators.proposal import TrainingRecord
from generators.training.metrics import density_coverage, frechet_beside_floor
from searcher.campaign.arms.gan_arm import gan_proposer
from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.campaign import Campaign, open_campaign
from searcher.campaign.pretraining import pretraining_set
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.warm_start import WEIGHTS
from searcher.loading import load_config
from searcher.scoring.descriptors import LocalVectors, mean_vector
from searcher.scoring.novelty import greedy_unique
from searcher.scoring.validity import check_validity
from searcher.structures.files import read_structures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("warm_start", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    config = load_config(arguments.run / "campaign.yaml", [f"runs={arguments.run.parent}"])
    campaign = open_campaign(config, Event())
    try:
        problem = prepare(campaign, Console(stderr=True))
        figures = measure(campaign, problem, arguments.warm_start, arguments.samples, arguments.seed)
    finally:
        campaign.close()
    print(json.dumps(figures, indent=1))


def measure(campaign: Campaign, problem: SurfaceProblem, warm_start: Path, n: int, seed: int) -> dict[str, float]:
    """Figures of `n` samples drawn under the training set's own conditions."""
    rng = np.random.default_rng(seed)
    source = gan_proposer(campaign.config, problem, warm_start=warm_start / WEIGHTS)
    proposals = source.sample(n, {}, rng)
    decoded = [problem.template.assemble(p.numbers, p.positions) for p in proposals if p.reason is None]
    n_frozen = problem.template.n_frozen
    valid = [atoms for atoms in decoded if check_validity(atoms, n_frozen, problem.thresholds).valid]
    material = pretraining_set(campaign, problem, [], read_structures(warm_start / "withheld.extxyz.xz"))
    if not material.holdout:
        raise SystemExit(f"`{campaign.folder}` holds too few minima: none was held out of the training")
    train, holdout = _drawn(problem, material.records, n, rng), _drawn(problem, material.holdout, n, rng)
    vectors = {
        name: _described(campaign, problem, structures)
        for name, structures in (("train", train), ("holdout", holdout), ("decoded", decoded), ("valid", valid))
    }
    features = {name: np.array([mean_vector(v, problem.soap) for v in rows]) for name, rows in vectors.items()}
    if len(decoded) < 2:
        raise SystemExit(f"{len(decoded)} of {n} samples could be read as structures: too few to compare")
    distance, floor = frechet_beside_floor(features["train"], features["holdout"], features["decoded"])
    density, coverage = density_coverage(features["holdout"], features["decoded"])
    density_floor, coverage_floor = density_coverage(features["holdout"], features["train"])
    excess = [problem.excess_oxygen_per_area(atoms) for atoms in valid]
    unique = greedy_unique(vectors["valid"], campaign.config.acceptance.kappa_min, excess)
    return {
        "samples": n,
        "undecodable_share": 1 - len(decoded) / n,
        "valid_share_of_decoded": len(valid) / max(len(decoded), 1),
        "unique_share_of_valid": len(unique) / max(len(valid), 1),
        "frechet": distance,
        "frechet_floor": floor,
        "frechet_ratio": distance / floor,
        "density": density,
        "coverage": coverage,
        "density_of_train": density_floor,
        "coverage_by_train": coverage_floor,
    }


def _drawn(problem: SurfaceProblem, records: list[TrainingRecord], n: int, rng: np.random.Generator) -> list[Atoms]:
    """Structures drawn by weight, as training draws them; each distinct one is described once."""
    weights = np.array([record.weight for record in records])
    rows = rng.choice(len(records), size=n, p=weights / weights.sum())
    return [problem.template.assemble(records[row].numbers, records[row].positions) for row in rows]


def _described(campaign: Campaign, problem: SurfaceProblem, structures: list[Atoms]) -> list[LocalVectors]:
    found = campaign.fingerprints.of({f"{id(structures)}-{i}": atoms for i, atoms in enumerate(structures)})
    n_frozen = problem.template.n_frozen
    return [v.subset(range(n_frozen, v.n_centers)) for v in found.values() if v is not None]


if __name__ == "__main__":
    main()
