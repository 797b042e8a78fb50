"""What a campaign of 100,000 candidates on 64 workers costs its driver: time per candidate, ledger, memory, resuming.

    python benchmarks/scale.py --candidates 100000 --workers 64 --delay 60

Relaxations are played: a clock of its own hands out answers in the order in which so many workers would give them
after about `--delay` seconds each. Everything that the driver does with an answer is real: payloads, checks, γ,
checksums, one synchronised transaction per result, snapshots of what is known, opening the ledger again. Proposing and
SOAP distances are left out; `benchmarks/novelty.py` measures these.

Only the first and the last `--measured` candidates go this way; those between are written as such relaxations leave
them, in a few large transactions.
"""

import argparse
import heapq
import json
import resource
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from rich.console import Console

from relax.potential import potential_hash
from relax.worker import relax_task
from searcher.campaign.beginning.preparation import PREPARATION, prepare
from searcher.campaign.campaign import Campaign, open_campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.relaxing import relax_candidates
from searcher.campaign.snapshot import take_snapshot
from searcher.campaign.storage import verification
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict, candidate_id
from searcher.campaign.storage.ledger import LEDGER, Ledger
from searcher.campaign.workers.executor import Outcome
from searcher.loading import load_config
from searcher.results.status import status

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "quickstart.yaml"
ARM, CALLS, SPREAD = "random", 60, 0.3
PATH = (10, 20, 40)
FILLED, SEEDS_AT_MOST = 10, 20
MIB = 2**20


class PlayedWorkers:
    """An executor whose workers only exist on a clock of its own.

    Parameters
    ----------
    workers : int
    delay_s : float
        Mean time of a relaxation; each takes up to `SPREAD` more or less.
    """

    def __init__(self, workers: int, delay_s: float, potential: str) -> None:
        self._workers, self._delay_s, self._potential = workers, delay_s, potential
        self._random = np.random.default_rng(1)
        self.clock_s = 0.0

    def map(self, function: Callable[..., Any], payloads: Sequence[dict[str, Any]]) -> Iterator[Outcome]:
        assert function is relax_task
        free = [self.clock_s] * self._workers
        ends = []
        for index in range(len(payloads)):
            end = heapq.heappop(free) + self._delay_s * self._random.uniform(1 - SPREAD, 1 + SPREAD)
            heapq.heappush(free, end)
            ends.append((end, index))
        for end, index in sorted(ends):
            self.clock_s = end
            yield Outcome(index, self._answer(payloads[index]))

    def close(self) -> None:
        """Nothing to close."""

    def _answer(self, payload: dict[str, Any]) -> dict[str, Any]:
        positions = np.array(payload["positions"])
        return {
            "positions": positions + 1e-3,
            "energy": -8.0 * len(positions) + self._random.normal(),
            "max_force": 0.01,
            "converged": True,
            "reason": None,
            "force_calls": CALLS,
            "path_calls": PATH,
            "path_positions": [positions + 1e-3 / call for call in PATH],
            "path_energies": [-7.9 * len(positions)] * len(PATH),
            "potential_hash": self._potential,
        }


class Times:
    """Seconds by what they were spent on: of the clock, and of this process's own work, which a busy machine spares."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.work: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        began, work = time.perf_counter(), time.process_time()
        yield
        self.seconds[what] += time.perf_counter() - began
        self.work[what] += time.process_time() - work


def prepared(runs: Path, overrides: Sequence[str]) -> tuple[Campaign, SurfaceProblem]:
    words = [f"runs={runs}", 'potential={import_path: "relax.analytic:AnalyticRuO"}', "execution.executor=inline"]
    words += ["network={}"]
    campaign = open_campaign(load_config(CONFIG, [*words, "tracking.enabled=false", *overrides]), Event())
    return campaign, prepare(campaign, Console(quiet=True))


def proposals(campaign: Campaign, iteration: int, n: int, random: np.random.Generator) -> list[Candidate]:
    """Candidates whose free atoms stand around those of a seed; the caller holds the transaction."""
    seeds = campaign.ledger.candidates(iteration=PREPARATION, arm="seed", verdict=Verdict.REFERENCE)
    slabs = [campaign.ledger.structure(str(seed.relaxed)) for seed in seeds]
    found = []
    for index in range(n):
        atoms = slabs[index % len(slabs)].copy()
        atoms.positions[atoms.get_tags() == 1] += random.normal(scale=0.02, size=(int(atoms.get_tags().sum()), 3))
        key = campaign.ledger.put_structure(atoms)
        name = candidate_id(iteration, ARM, index)
        found.append(Candidate(name, iteration, ARM, index, 1, passed=Gate.SELECTED, proposed=key))
    return found


def judged(candidate: Candidate) -> Candidate:
    if candidate.index % 20:
        return replace(candidate, verdict=Verdict.REJECTED, reason="known", kappa=0.01)
    return replace(candidate, verdict=Verdict.ACCEPTED, passed=Gate.ACCEPTED, kappa=0.5)


def fill(campaign: Campaign, problem: SurfaceProblem, iteration: int, n: int) -> None:
    """Write an iteration's rows as its relaxations would leave them, in one transaction and without any checks."""
    ledger, random = campaign.ledger, np.random.default_rng(iteration)
    with ledger.transaction():
        found = proposals(campaign, iteration, n, random)
        slabs = {c.id: ledger.structure(str(c.proposed)) for c in found[:SEEDS_AT_MOST]}
        for candidate in found:
            atoms = slabs[found[candidate.index % len(slabs)].id]
            keys = []
            for _ in (*PATH, None):
                atoms.positions[-1] = random.uniform(0, 5, size=3)
                keys.append(ledger.put_structure(atoms))
            ended = replace(
                candidate,
                passed=Gate.VALID_RELAXED,
                relaxed=keys[-1],
                force_calls=CALLS,
                gamma_zero=0.1,
                gamma_slope=0.0,
            )
            ledger.add_candidates([judged(ended)])
            ledger.set_energy(candidate.id, campaign.potential_hash, -8.0 * len(atoms))
            ledger.add_snapshots(candidate.id, [(call, key, 0.1) for call, key in zip(PATH, keys, strict=False)])
        ledger.finish_stage(iteration, "close", {})


def iterate(campaign: Campaign, problem: SurfaceProblem, iteration: int, n: int, times: Times) -> None:
    ledger, random = campaign.ledger, np.random.default_rng(iteration)
    with times("snapshot"):
        snapshot = take_snapshot(ledger, iteration)
        assert snapshot.hash
    with times("proposals"), ledger.transaction():
        ledger.add_candidates(proposals(campaign, iteration, n, random))
    with times("relaxing"):
        waiting = ledger.candidates(iteration=iteration, verdict=Verdict.OPEN, reached=Gate.SELECTED)
        relax_candidates(campaign, problem, waiting)
    with times("verdicts"), ledger.transaction():
        for candidate in ledger.candidates(iteration=iteration, verdict=Verdict.OPEN, reached=Gate.VALID_RELAXED):
            ledger.update_candidate(judged(candidate))
        ledger.finish_stage(iteration, "close", {})


def measured(folder: Path, ledger: Ledger, n: int) -> Times:
    """Seconds of what happens when a campaign is taken up or looked at."""
    times = Times()
    with times("opening"):
        Ledger(folder / LEDGER).close()
    with times("snapshot"):
        take_snapshot(ledger, n)
    with times("status"):
        status(folder, ledger)
    with times("verify"):
        assert not verification.damage(folder, ledger)
    with times("digest"):
        verification.digest(ledger)
    return times


def tell(campaign: Campaign, times: Times, n: int) -> None:
    """One line about an iteration of `n` candidates."""
    size = sum(path.stat().st_size for path in campaign.folder.glob("campaign.db*")) / MIB
    told: dict[str, Any] = {
        "candidates": sum(campaign.ledger.funnel(arm)["proposed"] for arm in campaign.ledger.arms()),
        "ms_per_candidate": {what: round(1e3 * seconds / n, 2) for what, seconds in times.seconds.items()},
        "work_ms": {what: round(1e3 * seconds / n, 2) for what, seconds in times.work.items()},
        "ledger_MiB": round(size, 1),
        "largest_memory_MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--measured", type=int, default=500, help="relaxed one by one, at the beginning and at the end")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--delay", type=float, default=60.0, help="seconds of a relaxation")
    parser.add_argument("--folder", type=Path, help="where the campaign is made; default: the temporary folder")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    given = parser.parse_args()
    runs = Path(tempfile.mkdtemp(prefix="scale-", dir=given.folder))
    try:
        campaign, problem = prepared(runs, given.overrides)
        campaign.executor = PlayedWorkers(given.workers, given.delay, potential_hash(campaign.potential))
        before = (given.candidates - 2 * given.measured) // FILLED
        for iteration in range(FILLED + 2):
            times, n = Times(), given.measured
            if iteration in (0, FILLED + 1):
                iterate(campaign, problem, iteration, n, times)
                tell(campaign, times, n)
            else:
                fill(campaign, problem, iteration, before)
        found = measured(campaign.folder, campaign.ledger, FILLED + 2)
        told = {
            name: {what: round(seconds, 2) for what, seconds in table.items()} for name, table in vars(found).items()
        }
        print(json.dumps({"when_taken_up": told}))
        each = sum(seconds for what, seconds in times.seconds.items() if what != "snapshot") / given.measured
        busy = each * given.workers / given.delay
        print(json.dumps({"driver_busy_share": round(busy, 4), "workers_one_driver_feeds": int(given.workers / busy)}))
        campaign.close()
    finally:
        shutil.rmtree(runs)


if __name__ == "__main__":
    main()
