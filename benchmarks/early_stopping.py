"""What early stopping saves on recorded relaxations, and whether it drops anything acceptable.

    python benchmarks/relaxation.py configs/quickstart.yaml --out /tmp/relaxations
    python benchmarks/early_stopping.py configs/quickstart.yaml --out /tmp/relaxations

A stop criterion changes nothing before it stops, so that showing it the recorded steps tells exactly where it would
have stopped. Each criterion alone, all together, and what the relaxations that they end would have become.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prepared import prepared
from recorded_paths import RecordedPath, read_proposals, record
from relaxation import PROPOSALS, executor, settings_of

from relax.stopping import leaving_window
from relax.watching import StopCriterion
from relax.worker import stop_criterion
from searcher.campaign.arms.known import describe_known
from searcher.campaign.campaign import Campaign
from searcher.campaign.early_stopping import StopPlan, plan_stops
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.relaxing import relaxation_window
from searcher.campaign.snapshot import take_snapshot
from searcher.config import StoppingSection
from searcher.scoring.descriptors import local_vectors
from searcher.scoring.validity import check_validity

MEV = 1e-3
SWITCHES = ("forming_o2", "known_minimum", "hopeless")
OFF = dict.fromkeys(SWITCHES, False)


def fate(campaign: Campaign, problem: SurfaceProblem, path: RecordedPath, known, envelope) -> str:
    """What becomes of a relaxation that is not stopped: ``acceptable`` or a reason."""
    if not path.converged:
        return path.reason
    atoms = path.frame(-1)
    lowest, highest = relaxation_window(problem)
    heights = atoms.positions[path.n_frozen :, 2]
    if heights.min() < lowest or heights.max() > highest:
        return "outside_window"
    validity = check_validity(atoms, path.n_frozen, problem.thresholds)
    if not validity.valid:
        return f"relaxed_{validity.reasons[0]}"
    section = campaign.config.acceptance
    whole = local_vectors(atoms, problem.soap)
    kappa, _ = known.kappa(whole.subset(range(path.n_frozen, len(atoms))))
    if kappa <= section.kappa_min:
        return "known"
    height = envelope.distance(problem.gamma(atoms, float(path.energies[-1])))
    return "acceptable" if height <= section.margin_mev_per_A2 * MEV else "above_margin"


def stopped_at(path: RecordedPath, criteria: Sequence[StopCriterion]) -> tuple[int, str | None]:
    """Force calls made, and why the relaxation ended early."""
    for atoms, energy, calls in path.frames():
        for criterion in criteria:
            reason = criterion(atoms, energy, calls)
            if reason is not None:
                return calls, reason
    return path.calls, None


def criteria_of(plan: StopPlan, problem: SurfaceProblem, path: RecordedPath, window: bool) -> list[StopCriterion]:
    criteria = [stop_criterion(one) for one in plan.criteria(path.frame(0))]
    return [*criteria, leaving_window(*relaxation_window(problem))] if window else criteria


def print_row(name: str, plan: StopPlan, problem: SurfaceProblem, paths, fates, window: bool) -> None:
    found = [stopped_at(path, criteria_of(plan, problem, path, window)) for path in paths]
    total, spent = sum(path.calls for path in paths), sum(calls for calls, _ in found)
    ended = Counter((reason, f) for (_, reason), f in zip(found, fates, strict=True) if reason is not None)
    dropped = sum(count for (_, f), count in ended.items() if f == "acceptable")
    print(f"{name:16s} saves {100 * (1 - spent / total):5.1f} % of {total} calls, drops {dropped} acceptable; ended:")
    for (reason, f), count in sorted(ended.items()):
        print(f"{'':20s}{reason} that would have been {f}: {count}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--proposals", type=Path, default=PROPOSALS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=None, help="folder of the campaign that says what is known")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    starts = read_proposals(arguments.proposals, arguments.limit)
    with prepared(arguments.config, arguments.runs) as (campaign, problem):
        pool = executor(arguments.workers)
        folder = arguments.out / campaign.potential_hash / "default"
        paths = record(pool, campaign.potential, starts, settings_of("default"), folder)
        pool.close()
        snapshot = take_snapshot(campaign.ledger, 0)
        whole = plan_stops(campaign, problem, snapshot, StoppingSection(known_minimum=True))
        known = describe_known(campaign, problem, snapshot, False).minima
        fates = [fate(campaign, problem, path, known, whole.envelope) for path in paths]
    print(
        f"{len(paths)} relaxations that no stop ends: " + ", ".join(f"{n} {f}" for f, n in Counter(fates).most_common())
    )
    settings = StoppingSection()
    for switch in SWITCHES:
        plan = replace(whole, settings=settings.model_copy(update={**OFF, switch: True}))
        print_row(switch, plan, problem, paths, fates, False)
    none = replace(whole, settings=settings.model_copy(update=OFF))
    print_row("leaving_window", none, problem, paths, fates, True)
    default = replace(whole, settings=settings)
    for source in (None, *sorted({path.source for path in paths})):
        rows = [row for row, path in enumerate(paths) if source in (None, path.source)]
        chosen = [paths[row] for row in rows], [fates[row] for row in rows]
        print_row(f"default, {source or 'all'}", default, problem, *chosen, True)


if __name__ == "__main__":
    main()
