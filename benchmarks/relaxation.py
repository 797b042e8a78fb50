"""Force calls of a relaxer against FIRE alone on recorded proposals, and whether both find the same minima.

    python benchmarks/relaxation.py configs/quickstart.yaml --out /tmp/relaxations
    python benchmarks/relaxation.py configs/quickstart.yaml --out /tmp/relaxations --throughput 16

The proposals were recorded by `record_proposals.py`. Every relaxation is kept in `--out` with all of its steps; a
repeated call goes on where the last one ended, and `early_stopping.py` reads the same folder. `--throughput` relaxes so
many of them again with one worker and with two, which needs an idle machine. `fire_again` is FIRE alone from proposals
whose free atoms stand 0.01 Å elsewhere: how often it ends where FIRE ends is what can be asked of other relaxers.
"""

import argparse
import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from ase import Atoms
from recorded_paths import RecordedPath, read_proposals, record
from scipy.stats import wilcoxon

from searcher.campaign.configured_potential import potential_spec
from searcher.campaign.workers.executor import LocalExecutor
from searcher.config import CampaignConfig
from searcher.loading import load_config
from searcher.scoring.descriptors import LocalVectors, SoapSettings, local_vectors
from searcher.scoring.novelty import pair_kappa

PROPOSALS = Path(__file__).parent / "proposals-110-1x2.extxyz.xz"
FMAX = 0.05  # eV/Å
FIRE_FIRST = {
    "fire_to_1": {"fire_calls": 60, "calm_force": 1.0, "maxstep": 0.2},
    "fire_to_0.5": {"fire_calls": 80, "calm_force": 0.5, "maxstep": 0.2},
}
"""by name: FIRE until forces are calm, then the default"""
FIRE_ALONE = {"optimiser": "fire", "fire_calls": 0, "maxstep": 0.2, "push_apart": {}}
SAME_ENERGY = 1e-3  # eV per atom
AGAIN = "fire_again"
AGAIN_SHIFT = 0.01  # Å, of each coordinate (standard deviation)
MEMORY_GIB = 4.0
MEV = 1e-3


def settings_of(relaxer: str) -> dict[str, Any]:
    """`fire` (alone), `fire_again`, `default`, one of `FIRE_FIRST`, or an optimiser's name."""
    common = {"fmax": FMAX, "max_calls": 400, "max_rise": None}
    if relaxer in ("fire", AGAIN):
        return {**common, **FIRE_ALONE}
    if relaxer in FIRE_FIRST:
        return {**common, **FIRE_FIRST[relaxer]}
    return common if relaxer == "default" else {**common, "optimiser": relaxer}


def starts_of(relaxer: str, starts: list[Atoms]) -> list[Atoms]:
    """The proposals as a relaxer gets them."""
    if relaxer != AGAIN:
        return starts
    rng, moved = np.random.default_rng(1), []
    for start in starts:
        copy = start.copy()
        free = slice(int(copy.info["n_frozen"]), None)
        copy.positions[free] += rng.normal(0.0, AGAIN_SHIFT, copy.positions[free].shape)
        moved.append(copy)
    return moved


def executor(workers: int) -> LocalExecutor:
    return LocalExecutor(workers, 3600.0, MEMORY_GIB, 50, Event())


def print_calls(name: str, paths: list[RecordedPath], fire: list[RecordedPath]) -> None:
    calls = np.array([path.calls for path in paths])
    baseline = np.array([path.calls for path in fire])
    overhead = 1 - sum(p.force_seconds for p in paths) / sum(p.seconds for p in paths)
    fewer = np.median(baseline) / np.median(calls)
    print(
        f"{name:24s} n {len(calls):4d}  calls: median {np.median(calls):6.1f}, mean {calls.mean():6.1f}; FIRE alone: "
        f"{np.median(baseline):6.1f}, {baseline.mean():6.1f}; ratio of medians {fewer:.2f}, median ratio "
        f"{np.median(baseline / calls):.2f}; converged {np.mean([p.converged for p in paths]):.2f} and "
        f"{np.mean([p.converged for p in fire]):.2f}; outside force calls {100 * overhead:.1f} %"
    )


def same_minimum(one: RecordedPath, other: RecordedPath, soap: SoapSettings, kappa_min: float) -> bool:
    """Whether two relaxations of one proposal ended in one termination of one energy."""
    if not (one.converged and other.converged):
        return False
    if abs(one.energies[-1] - other.energies[-1]) > SAME_ENERGY * len(one.start):
        return False
    wholes = [local_vectors(path.frame(-1), soap) for path in (one, other)]
    frees: list[LocalVectors] = [w.subset(range(one.n_frozen, w.n_centers)) for w in wholes]
    return max(pair_kappa(frees[0], wholes[1]), pair_kappa(frees[1], wholes[0])) <= kappa_min


def print_minima(paths: list[RecordedPath], fire: list[RecordedPath], config: CampaignConfig) -> None:
    soap = SoapSettings(species=("O", config.material.metal))
    kappa_min = config.acceptance.kappa_min
    same = [same_minimum(a, b, soap, kappa_min) for a, b in zip(paths, fire, strict=True)]
    print(f"same minimum as FIRE alone (1 meV/atom, kappa): {100 * np.mean(same):.0f} %")
    both = [(a, b) for a, b in zip(paths, fire, strict=True) if a.converged and b.converged]
    area = both[0][0].start.cell[0, 0] * both[0][0].start.cell[1, 1]
    # one proposal, one composition: the difference of gamma is that of the energies at any chemical potential
    difference = np.array([a.energies[-1] - b.energies[-1] for a, b in both]) / area / MEV
    lower, higher = np.mean(difference < -1), np.mean(difference > 1)
    changed = difference[np.abs(difference) > 1e-6]
    p = wilcoxon(changed, alternative="greater").pvalue if len(changed) else 1.0
    print(
        f"final gamma minus FIRE's in meV/Å²: mean {difference.mean():+.2f}, median {np.median(difference):+.3f}; "
        f"lower by more than 1: {100 * lower:.0f} %, higher: {100 * higher:.0f} %; "
        f"p of being higher (Wilcoxon) {p:.2f}"
    )


def print_throughput(config: CampaignConfig, starts: list[Atoms], folder: Path) -> None:
    spec, _ = potential_spec(config)
    rates = {}
    for workers in (1, 2):
        pool = executor(workers)
        record(pool, spec, starts[:2], settings_of("default"), folder / f"warm-up-{workers}-{time.time_ns()}")
        began = time.perf_counter()
        paths = record(pool, spec, starts, settings_of("default"), folder / f"timed-{workers}-{time.time_ns()}")
        rates[workers] = sum(path.calls for path in paths) / (time.perf_counter() - began)
        pool.close()
    print(f"force calls per second: one worker {rates[1]:.2f}, two {rates[2]:.2f}, ratio {rates[2] / rates[1]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="its potential and thresholds are taken")
    parser.add_argument("--proposals", type=Path, default=PROPOSALS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--relaxers",
        nargs="*",
        default=["default"],
        help=f"default, fire_again, {', '.join(FIRE_FIRST)}, or optimisers",
    )
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--throughput", type=int, default=0, help="proposals to time with one worker and with two")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    starts = read_proposals(arguments.proposals, arguments.throughput or arguments.limit)
    if arguments.throughput:
        print_throughput(config, starts, arguments.out / "throughput")
        return
    spec, hashed = potential_spec(config)
    pool = executor(arguments.workers)
    try:
        recorded = {
            name: record(pool, spec, starts_of(name, starts), settings_of(name), arguments.out / hashed / name)
            for name in [*arguments.relaxers, "fire"]
        }
    finally:
        pool.close()
    for name in arguments.relaxers:
        for source in (None, *sorted({path.source for path in recorded[name]})):
            rows = [i for i, path in enumerate(recorded[name]) if source in (None, path.source)]
            chosen, fire = ([recorded[key][i] for i in rows] for key in (name, "fire"))
            print_calls(f"{name}, {source or 'all'}", chosen, fire)
        print_minima(recorded[name], recorded["fire"], config)


if __name__ == "__main__":
    main()
