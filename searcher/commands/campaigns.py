"""The commands that run, watch and keep a campaign."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from searcher.commands.options import AsJson, ConfigPath, Overrides, RunPath, note
from searcher.errors import EnvironmentProblem, InputError, StorageError

if TYPE_CHECKING:
    from searcher.config import ExecutionSection


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    for command in (run, validate, status, classes, verify, unlock, repair, doctor):
        app.command()(command)
    app.command("sync-mlflow")(sync_mlflow)


def run(
    config_path: ConfigPath,
    overrides: Overrides = None,
    workers: Annotated[int | None, typer.Option(help="Relaxation processes.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False,
    extend: Annotated[bool, typer.Option("--extend", help="If it is finished, as many iterations again.")] = False,
    fork: Annotated[
        str | None, typer.Option(metavar="NAME", help="A new campaign from this one's archive, with these settings.")
    ] = None,
) -> None:
    """Start a campaign, or go on with it."""
    from searcher.loading import load_config, place

    changes = [*(overrides or []), *([f"execution.workers={workers}"] if workers else [])]
    config = load_config(config_path, changes)
    from searcher.campaign.beginning.inputs import check_inputs

    origin = None
    if fork is not None:
        if extend:
            raise InputError("`--extend` and `--fork` exclude each other")
        origin = config.runs / config.name
        config = load_config(config_path, [*changes, f"name={fork}"])
        if fork == origin.name:
            raise InputError(f"`--fork {fork}` is the name of the campaign itself; choose another")
        if not origin.is_dir():
            raise InputError(f"`--fork {fork}` starts from `{origin}`, which does not exist")
    check_inputs(config, partial(place, config_path, changes))
    if dry_run:
        Console().print(f"`{config_path}` is fine; campaign `{config.name}` would go to {config.runs / config.name}")
        if config.execution.slurm is not None:
            print(_job_script(config.execution))
        return
    from searcher.campaign.stopping import StopRequest, answer_signals, end_now

    stop = StopRequest()
    answer_signals(stop)
    from searcher.campaign.driver import drive
    from searcher.errors import StoppedOnRequest

    try:
        drive(config, stop, Console(), extend, origin)
    except StoppedOnRequest as error:
        note(str(error))
        sys.stdout.flush()
        end_now(stop.exit_code)  # all is saved; libraries that tidy up at exit have taken longer than is left


def _job_script(section: "ExecutionSection") -> str:
    try:
        from searcher.campaign.workers.slurm import job_script  # an extra of the installation
    except ModuleNotFoundError as error:
        raise EnvironmentProblem(f"`execution.slurm` needs the extra `cluster` ({error.name})") from None
    assert section.slurm is not None
    return job_script(section, section.slurm)


def validate(config_path: ConfigPath, overrides: Overrides = None) -> None:
    """Check a configuration and the files that it names."""
    from searcher.campaign.beginning.inputs import check_inputs
    from searcher.loading import load_config, place

    check_inputs(load_config(config_path, overrides or []), partial(place, config_path, overrides or []))
    Console().print(f"`{config_path}` is fine")


def status(run_folder: RunPath, as_json: AsJson = False) -> None:
    """Where a campaign stands; also while it runs."""
    from searcher.campaign.storage.ledger import Ledger
    from searcher.results.status import print_status
    from searcher.results.status import status as read_status

    found = read_status(run_folder, Ledger.of_run(run_folder))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print_status(found, Console())


def classes(
    run_folder: RunPath,
    bins: Annotated[
        Literal["edges", "quantile", "equal-width"],
        typer.Option(help="edges: the recorded ones only; otherwise also new ones from the campaign's minima."),
    ] = "edges",
    number: Annotated[int | None, typer.Option("--n", min=2, help="Of new classes; 8 if nothing is said.")] = None,
    mode: Annotated[
        Literal["gamma", "energy_per_atom", "total_energy"],
        typer.Option(help="What new classes divide; a campaign itself takes edges of gamma."),
    ] = "gamma",
    as_json: AsJson = False,
) -> None:
    """How many minima are in each energy class; on request, new edges for a fork. The campaign stays as it is."""
    if bins == "edges" and number is not None:
        raise InputError(
            f"`--n {number}` needs `--bins quantile` or `equal-width`: recorded classes are as many as they are"
        )
    from searcher.campaign.storage.ledger import Ledger
    from searcher.results.classes import classes_record, print_classes

    ledger = Ledger.of_run(run_folder)
    record = classes_record(ledger, bins, 8 if number is None else number, mode)
    ledger.close()
    if as_json:
        print(json.dumps(record, indent=1, ensure_ascii=False))
    else:
        print_classes(record, Console())


def verify(
    run_folder: RunPath,
    digest: Annotated[bool, typer.Option("--digest", help="Print the hash of everything that must be equal.")] = False,
) -> None:
    """Name everything that is damaged or missing."""
    from searcher.campaign.storage import verification
    from searcher.campaign.storage.ledger import Ledger

    ledger = Ledger.of_run(run_folder)
    found = verification.damage(run_folder, ledger)
    if found:
        raise StorageError("\n".join(found))
    print(verification.digest(ledger) if digest else f"{run_folder}: nothing is damaged or missing")


def sync_mlflow(run_folder: RunPath) -> None:
    """Rebuild a campaign's MLflow runs from its ledger."""
    from searcher.campaign.driver import synchronise

    synchronise(run_folder)


def unlock(run_folder: RunPath) -> None:
    """Free a campaign that a driver on another host left locked."""
    from searcher.campaign.storage.locking import unlock as free

    if not run_folder.is_dir():
        raise InputError(f"`{run_folder}` does not exist")
    print(free(run_folder))


def repair(run_folder: RunPath) -> None:
    """Go on from what is left of a ledger whose write-ahead log was cut or lost."""
    from searcher.campaign.campaign import LEDGER
    from searcher.campaign.storage.ledger import Ledger
    from searcher.campaign.storage.locking import DriverLock

    if not (run_folder / LEDGER).is_file():
        raise StorageError(f"`{run_folder / LEDGER}` does not exist: this folder holds no campaign")
    lock = DriverLock(run_folder)
    try:
        ledger = Ledger(run_folder / LEDGER, accept_loss=True)
        lost = ledger.accept_loss()
        ledger.close()
    finally:
        lock.release()
    number = "an unknown number of" if lost is None else lost
    print(f"{run_folder}: {number} transactions are lost; `searcher run` does their work again")


def doctor(
    run_folder: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A campaign to look at as well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Is this machine fit for a campaign, and is a campaign fit to go on?"""
    from dataclasses import asdict

    from searcher.doctor import examine

    findings = examine(run_folder)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            Console(soft_wrap=True, highlight=False).print(
                f"{'ok  ' if finding.fine else 'BAD '} {finding.what}: {finding.detail}", markup=False
            )
    bad = [finding.what for finding in findings if not finding.fine]
    if bad:
        raise EnvironmentProblem(f"not as it should be: {', '.join(bad)}")
