"""The command line. Nothing heavy is imported before a command needs it, so that errors come at once."""

import errno
import json
import sqlite3
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from searcher.cli_potential import potential_app
from searcher.cli_results import register
from searcher.errors import EnvironmentProblem, InputError, SearcherError, StorageError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(potential_app, name="potential")
register(app)

INTERRUPTED = 130
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration file (YAML).")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A campaign's folder, for example runs/quickstart.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


def main() -> None:
    """Run a command and end with its documented exit code."""
    try:
        app()
    except SearcherError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except ValueError as error:
        if type(error).__module__.startswith("relax."):
            _complain(str(error))
            sys.exit(EnvironmentProblem.exit_code)
        raise
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, OSError) and error.errno not in STORAGE_ERRORS:
            raise
        _complain(f"storage failed ({error}); once that is mended, `searcher run` goes on from what is recorded")
        sys.exit(StorageError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted; `searcher run` goes on from here")
        sys.exit(INTERRUPTED)


def _complain(message: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(message, markup=False)


@app.command()
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
    from searcher.loading import load_config

    extra = [f"execution.workers={workers}"] if workers else []
    config = load_config(config_path, [*(overrides or []), *extra])
    from searcher.campaign.inputs import check_inputs

    origin = None
    if fork is not None:
        if extend:
            raise InputError("`--extend` and `--fork` exclude each other")
        origin = config.runs / config.name
        config = load_config(config_path, [*(overrides or []), *extra, f"name={fork}"])
        if fork == origin.name:
            raise InputError(f"`--fork {fork}` is the name of the campaign itself; choose another")
        if not origin.is_dir():
            raise InputError(f"`--fork {fork}` starts from `{origin}`, which does not exist")
    check_inputs(config)
    if dry_run:
        Console().print(f"`{config_path}` is fine; campaign `{config.name}` would go to {config.runs / config.name}")
        return
    from searcher.campaign.stopping import StopRequest, answer_signals

    stop = StopRequest()
    answer_signals(stop)
    from searcher.campaign.driver import drive
    from searcher.errors import StoppedOnRequest

    try:
        drive(config, stop, Console(), extend, origin)
    except StoppedOnRequest as error:
        _complain(str(error))
        sys.exit(stop.exit_code)


@app.command()
def validate(config_path: ConfigPath, overrides: Overrides = None) -> None:
    """Check a configuration and the files that it names."""
    from searcher.campaign.inputs import check_inputs
    from searcher.loading import load_config

    check_inputs(load_config(config_path, overrides or []))
    Console().print(f"`{config_path}` is fine")


@app.command()
def status(run_folder: RunPath, as_json: AsJson = False) -> None:
    """Where a campaign stands; also while it runs."""
    from searcher.campaign.ledger import Ledger
    from searcher.results.status import print_status
    from searcher.results.status import status as read_status

    found = read_status(run_folder, Ledger.of_run(run_folder))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print_status(found, Console())


@app.command()
def verify(
    run_folder: RunPath,
    digest: Annotated[bool, typer.Option("--digest", help="Print the hash of everything that must be equal.")] = False,
) -> None:
    """Name everything that is damaged or missing."""
    from searcher.campaign import verification
    from searcher.campaign.ledger import Ledger

    ledger = Ledger.of_run(run_folder)
    found = verification.damage(run_folder, ledger)
    if found:
        raise StorageError("\n".join(found))
    print(verification.digest(ledger) if digest else f"{run_folder}: nothing is damaged or missing")


@app.command()
def report(run_folder: RunPath) -> None:
    """Write report.html."""
    from searcher.campaign.ledger import Ledger
    from searcher.cli_results import CORES, make_executor
    from searcher.results.report import write_report

    ledger = Ledger.of_run(run_folder)
    executor = make_executor(CORES)
    try:
        print(write_report(run_folder, ledger, executor))
    finally:
        executor.close()


@app.command()
def export(
    run_folder: RunPath,
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="extxyz, cif, poscar, db; vasp, espresso, gpaw for DFT inputs; repeatable."),
    ] = None,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Only these candidates; repeatable.")] = None,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="DFT inputs of slabs with two equal faces, not one-sided ones.")
    ] = False,
    kpoint_length: Annotated[float, typer.Option(help="k-points times cell length in Å, for DFT inputs.")] = 24.0,
) -> None:
    """Write accepted terminations for other programs."""
    from searcher.campaign.ledger import Ledger
    from searcher.results.export import export as export_structures

    chosen = tuple(formats) if formats else ("extxyz", "cif", "poscar", "db")
    ledger = Ledger.of_run(run_folder)
    print(export_structures(run_folder, ledger, out, chosen, ids, symmetric=symmetric, kpoint_length=kpoint_length))


@app.command("sync-mlflow")
def sync_mlflow(run_folder: RunPath) -> None:
    """Rebuild a campaign's MLflow runs from its ledger."""
    from searcher.campaign.driver import synchronise

    synchronise(run_folder)


@app.command()
def unlock(run_folder: RunPath) -> None:
    """Free a campaign that a driver on another host left locked."""
    from searcher.campaign.locking import unlock as free

    if not run_folder.is_dir():
        raise InputError(f"`{run_folder}` does not exist")
    print(free(run_folder))


@app.command()
def repair(run_folder: RunPath) -> None:
    """Go on from what is left of a ledger whose write-ahead log was cut or lost."""
    from searcher.campaign.campaign import LEDGER
    from searcher.campaign.ledger import Ledger
    from searcher.campaign.locking import DriverLock

    if not (run_folder / LEDGER).is_file():
        raise StorageError(f"`{run_folder / LEDGER}` does not exist: this folder holds no campaign")
    lock = DriverLock(run_folder)
    try:
        ledger = Ledger(run_folder / LEDGER, accept_loss=True)
        lost = ledger.accept_loss()
        ledger.close()
    finally:
        lock.release()
    print(f"{run_folder}: {lost} transactions are lost; `searcher run` does their work again")


@app.command()
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


@app.command()
def seeds(
    config_path: ConfigPath,
    out: Annotated[Path, typer.Option(help="Structure file to write (.extxyz.xz).")],
    overrides: Overrides = None,
    method: Annotated[str, typer.Option(help="construction or basin-hopping.")] = "construction",
    steps: Annotated[int, typer.Option(help="Hops per chain of basin hopping.")] = 100,
    lowest: Annotated[int | None, typer.Option(help="Only so many of basin hopping's, by γ, seeds left out.")] = None,
    snapshots: Annotated[bool, typer.Option(help="Write the recorded steps of each relaxation too.")] = False,
) -> None:
    """Terminations of the configured facet, relaxed by the configured potential."""
    from searcher.campaign.driver import write_seeds
    from searcher.campaign.inputs import check_inputs
    from searcher.loading import load_config

    if method not in ("construction", "basin-hopping"):
        raise InputError(f"`--method` is {method!r} but must be construction or basin-hopping")
    config = load_config(config_path, overrides or [])
    check_inputs(config)
    write_seeds(config, out, method, steps, lowest, snapshots, Console())


@app.command()
def train(
    run_folder: RunPath,
    out: Annotated[Path, typer.Option(help="Folder for weights and the structures they saw.")],
    steps: Annotated[int, typer.Option(help="Training steps.")] = 4000,
    also: Annotated[Path | None, typer.Option(help="Minima of basin hopping to learn from as well.")] = None,
    withhold: Annotated[
        Path | None, typer.Option(help="Structures to keep out, with all that looks like them.")
    ] = None,
) -> None:
    """Train a generator on everything that a campaign has relaxed."""
    from searcher.campaign.driver import train_on_run

    train_on_run(run_folder, out, steps, also, withhold, Console())


@app.command()
def roundtrip(
    structures: Annotated[list[Path], typer.Argument(metavar="STRUCTURES", help="Files of any format that ASE reads.")],
    shape: Annotated[tuple[int, int, int], typer.Option(help="Voxels along x, y and z.")] = (32, 32, 32),
    sigma: Annotated[float, typer.Option(help="Width of an atom's Gaussian in Å.")] = 0.5,
    noise: Annotated[float, typer.Option(help="White noise, as a share of an atom's peak.")] = 0.0,
    window: Annotated[bool, typer.Option("--window", help="Only the atoms that are not fixed.")] = False,
    allow_coarse: Annotated[bool, typer.Option("--allow-coarse", help="Measure what would be refused.")] = False,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    square: Annotated[bool, typer.Option("--square", help="Repeat cells towards a square first.")] = False,
    vacuum: Annotated[float | None, typer.Option(help="Cut (or widen) vacuum to so many Å first.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Slices and residual of the worst structure (.png).")] = None,
    as_json: AsJson = False,
) -> None:
    """Is a grid fine enough? Structures to a grid and back."""
    from searcher.structures.files import read_named

    if picture is not None and not picture.parent.is_dir():
        raise InputError(f"`--picture` is `{picture}` but the folder `{picture.parent}` does not exist")
    named = read_named(structures)
    from searcher.roundtrip import RoundtripSettings, print_roundtrip
    from searcher.roundtrip import roundtrip as measure

    settings = RoundtripSettings(shape, sigma, noise, window, allow_coarse, seed, square, vacuum)
    result = measure(named, settings)
    for note in result.notes:
        _complain(note)
    if as_json:
        print(json.dumps(result.as_dict(), indent=1))
    elif result.measured:
        print_roundtrip(result, Console())
    worst = result.worst()
    if picture is not None and worst is not None:
        from searcher.results.plots import found_atoms

        picture.write_bytes(found_atoms(*worst.pictured()))
    if result.refused:
        refusal = f"{len(result.refused)} of {len(result.trips)} refused, the first: {result.refused[0].refusal}"
        if not result.measured:
            raise InputError(f"{refusal}; `--allow-coarse` measures all the same")
        _complain(refusal)


if __name__ == "__main__":
    main()
