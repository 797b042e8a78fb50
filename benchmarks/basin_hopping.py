"""What basin hopping finds per force call: delocalized against Cartesian moves, and against the method as published.

    python benchmarks/basin_hopping.py --out /tmp/hopping --hops 500
    python benchmarks/basin_hopping.py --out /tmp/hopping --only 110-delocalized --hops 500

Surfaces are (110) doubled along [001] and (100)-c(2×2), which is laid out as (2×2). Every run starts from the
stoichiometric termination with the same seed and goes on where an earlier call left it; the table counts what is there.
`published` has no relocation of oxygen, no paving and lets every relaxation end by itself.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from prepared import prepared

from searcher.campaign.beginning.preparation import seed_lines
from searcher.campaign.hopping.basin_hopping import BasinHoppingSettings, VisitedMinimum, basin_hopping, read_hops
from searcher.campaign.hopping.hops import Hop
from searcher.campaign.hopping.visited_minima import distinct_minima
from searcher.campaign.storage.candidate import PREPARATION, Gate
from searcher.scoring.thermodynamics import Envelope

CONFIGS = Path(__file__).parents[1] / "configs"
SURFACES = {"110": CONFIGS / "ruo2-110-1x2.yaml", "100": CONFIGS / "ruo2-100.yaml"}
PUBLISHED = {"relocation_probability": 0.0, "paving": 0.0, "fall_back": 0.0}
WAYS = {"delocalized": {}, "cartesian": {"moves": "cartesian"}, "published": PUBLISHED}
MEV = 1e-3


@dataclass(frozen=True)
class Finding:
    """One run as far as it has come."""

    surface: str
    way: str
    hops: list[Hop]
    minima: list[VisitedMinimum]
    envelope: Envelope

    @property
    def calls(self) -> int:
        return sum(hop.force_calls for hop in self.hops)

    def found_within(self, calls: int) -> int:
        """Distinct valid minima after so many force calls, the start not counted."""
        return sum(minimum.force_calls_before <= calls for minimum in self.minima) - 1


def hop(surface: str, way: str, folder: Path, hops: int, seed: int, workers: int) -> Finding:
    """Go on with a run until it has so many hops, or only read it with none wanted."""
    overrides = (f"execution.workers={workers}",)
    with prepared(SURFACES[surface], folder / f"prepared-{surface}", *overrides) as (campaign, problem):
        settings = BasinHoppingSettings(**WAYS[way])
        per_chain = -(-hops // len(settings.ladder))
        settings = BasinHoppingSettings(steps=max(1, per_chain), **WAYS[way])
        kept = folder / f"{surface}-{way}"
        if hops:
            (start,) = [
                campaign.ledger.structure(str(c.relaxed))
                for c in campaign.ledger.candidates(iteration=PREPARATION, arm="seed", reached=Gate.VALID_RELAXED)
                if c.label == f"{surface}-stoichiometric"
            ]
            minima = basin_hopping(
                problem, campaign.potential, campaign.executor, start, settings, seed, kept, lambda done: None
            )
            visited = [one for step in read_hops(kept) for one in step]
        else:
            visited = [one for step in read_hops(kept) for one in step]
            minima = distinct_minima(problem, campaign.executor, visited, settings.ladder)
        lines = {m.id: m.line for m in minima} | seed_lines(campaign)
        envelope = Envelope(lines, problem.delta_mu_o_range)
    return Finding(surface, way, visited, minima, envelope)


def print_table(found: list[Finding]) -> None:
    print("run                    hops  calls  minima  per 1,000 calls  at equal calls  fell back  relocated and valid")
    for one in found:
        equal = min(other.calls for other in found if other.surface == one.surface)
        moves = [h for h in one.hops if h.move != "start"]
        back = sum(h.reason == "fell_back" for h in moves)
        relocated = sum(h.move == "relocation" and h.reason is None for h in moves)
        print(
            f"{one.surface + '-' + one.way:20s} {len(moves):6d} {one.calls:6d} {len(one.minima) - 1:7d} "
            f"{1000 * (len(one.minima) - 1) / one.calls:16.2f} {one.found_within(equal):7d} of {equal} {back:9d} "
            f"{relocated:10d}"
        )


def print_terminations(one: Finding, shown: int, delta_mu_o: float) -> None:
    print(f"\n{one.surface}-{one.way}: gamma at {delta_mu_o:+.2f} eV and height above the envelope in meV/Å²")
    for minimum in sorted(one.minima, key=lambda m: (one.envelope.distance(m.line), m.id))[:shown]:
        height = one.envelope.distance(minimum.line)
        print(
            f"  {minimum.id:12s} {minimum.label:16s} {minimum.line.at(delta_mu_o) / MEV:8.1f} {height / MEV:7.1f} "
            f"visited {minimum.visits} times, first after {minimum.force_calls_before} calls"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    names = [f"{surface}-{way}" for surface in SURFACES for way in WAYS]
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    parser.add_argument("--hops", type=int, default=500, help="of all chains together; 0 only reads")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shown", type=int, default=12, help="terminations listed per run")
    parser.add_argument("--delta-mu-o", type=float, default=-0.5)
    arguments = parser.parse_args()
    found = [
        hop(*name.split("-"), arguments.out, arguments.hops, arguments.seed, arguments.workers)
        for name in arguments.only
    ]
    print_table(found)
    for one in found:
        print_terminations(one, arguments.shown, arguments.delta_mu_o)


if __name__ == "__main__":
    main()
