"""Search yield: what each way to search finds for the same number of force calls.

    python -m benchmarks.search_yield run --table A --work runs/search-yield --agox runs/agox
    python -m benchmarks.search_yield tables --table A --work runs/search-yield --out docs/benchmarks

    python -m benchmarks.search_yield continue RUN --cells 110-1x2 --arms moves gan gan-hot --calls 700

`run` searches what is not there yet, cell by cell, arm by arm and seed by seed, and goes on where it was interrupted;
what a finished search found is kept beside this program, by the potential's hash, and `tables` judges it. Several
`run`s with different cells, arms or seeds may share a work folder. `continue` lets variants go on for one iteration
each from the archive of a finished campaign, to compare them at equal knowledge.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.search_yield import external_arms, hopping_arms
from benchmarks.search_yield.campaign_arms import donated_weights, run_campaign_arm
from benchmarks.search_yield.cells import CELLS, TINY, Cell, campaign_settings, configuration, merged
from benchmarks.search_yield.continuing import continued, header, rows
from benchmarks.search_yield.frame import open_frame
from benchmarks.search_yield.records import ArmRun, read_run, read_runs, record_path, write_run
from benchmarks.search_yield.report import write_report
from benchmarks.search_yield.variants import LOOPS, TRANSFER, VARIANTS, variant
from searcher.campaign.configured_potential import potential_spec

COMPARED = (*LOOPS, *hopping_arms.ARMS, *external_arms.ARMS)
"""arms of the comparison; ablations and ideas are asked for by name, also in tables: relatives of one search would fill
the pool with what only they have"""
RESULTS = Path(__file__).parent / "results"
ALL_ARMS = (*VARIANTS, *hopping_arms.ARMS, *external_arms.ARMS)


def search(
    cell: Cell, arm: str, table: str, seed: int, budget: int, work: Path, results: Path, agox: Path | None
) -> ArmRun:
    """One arm's run, finished; read if it was done before."""
    record = record_path(results, table, cell.name, arm, seed)
    done = read_run(record)
    if done is not None and done.budget == budget:
        return done
    folder = work / table / cell.name / arm / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    if arm in VARIANTS:
        changes = variant(arm)
        if arm == TRANSFER:
            changes = merged(changes, {"network": {"transfer": str(donated_weights(cell, table, seed, work))}})
        run = run_campaign_arm(cell, arm, table, seed, budget, changes, folder)
    else:
        with open_frame(cell, work) as frame:
            if arm in hopping_arms.ARMS:
                run = hopping_arms.run_hopping_arm(frame, arm, table, seed, budget, folder)
            else:
                python = external_arms.interpreter(arm, agox)
                run = external_arms.run_external_arm(frame, arm, table, seed, budget, python, folder)
    write_run(record, run)
    return run


def of_potential(cell: Cell, work: Path) -> Path:
    """Folder of what was searched with the potential as it is: figures of two potentials never mix."""
    _, digest = potential_spec(configuration(campaign_settings(cell, "A", cell.name, 1, cell.calls, work)))
    return work / digest


def _run(arguments: argparse.Namespace) -> None:
    for cell in _cells(arguments.cells):
        work, results = of_potential(cell, arguments.work), of_potential(cell, arguments.results)
        budget = arguments.calls or cell.calls
        seeds = arguments.seeds or range(1, cell.seeds + 1)
        for seed in seeds:
            for arm in arguments.arms:
                run = search(cell, arm, arguments.table, seed, budget, work, results, arguments.agox)
                converged = sum(r.energy is not None for r in run.relaxations)
                print(
                    f"{cell.name} {arm} seed {seed}: {run.calls} calls, {converged} of {len(run.relaxations)} "
                    f"relaxations converged, {run.wall_s:.0f} s, of which training {run.training_s:.0f} s",
                    flush=True,
                )


def _tables(arguments: argparse.Namespace) -> None:
    for cell in _cells(arguments.cells):
        work = of_potential(cell, arguments.work)
        runs = read_runs(of_potential(cell, arguments.results), arguments.table)
        own = [run for run in runs if run.cell == cell.name and run.arm in arguments.arms]
        if arguments.calls:
            own = [replace(run, budget=arguments.calls) for run in own if run.calls >= arguments.calls]
        if own:
            with open_frame(cell, work) as frame:
                write_report(frame, own, arguments.table, arguments.out)


def _continue(arguments: argparse.Namespace) -> None:
    (cell,) = _cells(arguments.cells)
    work = of_potential(cell, arguments.work)
    print(header())
    for arm in arguments.arms:
        folder = work / "continued" / f"{arguments.origin.parent.parent.name}-{arguments.table}" / arm
        folder.mkdir(parents=True, exist_ok=True)
        found = continued(arguments.origin, cell, arguments.table, 1, arguments.calls, variant(arm), folder)
        print("\n".join(rows(arm, found)), flush=True)


def _cells(names: list[str]) -> list[Cell]:
    return [TINY if name == TINY.name else CELLS[name] for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, action, arms in (
        ("run", _run, COMPARED),
        ("tables", _tables, (*COMPARED, TRANSFER)),
        ("continue", _continue, VARIANTS),
    ):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("--table", choices=("A", "B"), default="A")
        command.add_argument("--work", type=Path, default=Path("runs/search-yield"))
        command.add_argument("--cells", nargs="+", choices=(*CELLS, TINY.name), default=list(CELLS))
        command.add_argument("--arms", nargs="+", choices=ALL_ARMS, default=list(arms), metavar="ARM")
    for name in ("run", "tables"):
        commands.choices[name].add_argument("--results", type=Path, default=RESULTS, help="of finished runs")
    run, tables, going_on = (commands.choices[name] for name in ("run", "tables", "continue"))
    going_on.add_argument("origin", type=Path, metavar="RUN", help="folder of a finished campaign on that cell")
    going_on.add_argument("--calls", type=int, default=700, help="force calls of the one iteration")
    run.add_argument("--seeds", nargs="+", type=int, help="default: as many as the cell asks for")
    run.add_argument("--calls", type=int, help="budget of force calls; default: the cell's")
    tables.add_argument("--calls", type=int, help="judge what was found by so many calls; default: by the whole budget")
    run.add_argument("--agox", type=Path, help="folder of AGOX's environment")
    tables.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    arguments.action(arguments)


if __name__ == "__main__":
    main()
