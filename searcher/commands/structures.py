"""Commands that work on files of structures or grids, without a campaign."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from searcher.commands.options import (
    CORES,
    Arguments,
    AsJson,
    Potential,
    Workers,
    check_folder_of,
    make_executor,
    named_potential,
)
from searcher.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    for command in (init, backmap, relax):
        app.command()(command)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write campaign.yaml to; made if missing.")],
    facet: Annotated[str, typer.Option(help="Miller indices without separators.")] = "110",
    metal: Annotated[str, typer.Option(help="Of the rutile oxide.")] = "Ru",
) -> None:
    """Write a campaign's configuration with comments, ready to edit."""
    from searcher.starting_file import write_starting_file

    print(write_starting_file(folder, facet, metal))


def backmap(
    grids: Annotated[Path, typer.Argument(metavar="GRIDS", help="Density grids (.npz).")],
    out: Annotated[Path, typer.Option(help="Structure file to write (.extxyz).")],
    run_folder: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="Put the atoms on this campaign's template.")
    ] = None,
    min_r2: Annotated[float, typer.Option(min=-1.0, max=1.0, help="Less explained of a grid is a reason.")] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Read the atoms of density grids."""
    _check_out(out)
    from searcher.evaluation.backmapped import backmapped, print_backmapped

    records = backmapped(grids, out, run_folder, min_r2)
    if as_json:
        print(json.dumps(records, indent=1, allow_nan=False))
    else:
        print_backmapped(records, Console())


def relax(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Structure files; fixed atoms stay.")],
    out: Annotated[Path, typer.Option(help="Structure file to write (.extxyz).")],
    potential: Potential = "ruo2",
    arguments: Arguments = "{}",
    fmax: Annotated[float, typer.Option(help="Converged below this largest force in eV/Å.")] = 0.1,
    max_calls: Annotated[int, typer.Option(help="Force calls for each structure.")] = 200,
    workers: Workers = CORES,
    as_json: AsJson = False,
) -> None:
    """Relax structures in isolated processes; each comes back with its energy, or with the reason why not."""
    _check_out(out)
    from searcher.structures.files import read_named

    named = read_named(files)
    spec = named_potential(potential, arguments)
    from searcher.evaluation.relaxed import print_relaxed, relaxed, relaxed_settings

    settings = relaxed_settings(fmax, max_calls)
    executor = make_executor(workers)
    try:
        records = relaxed(named, out, spec, settings, executor)
    finally:
        executor.close()
    if as_json:
        print(json.dumps(records, indent=1, allow_nan=False, ensure_ascii=False))
    else:
        print_relaxed(records, Console())


def _check_out(out: Path) -> None:
    if out.suffix not in (".extxyz", ".xyz"):
        raise InputError(f"`--out` is `{out}` but must end in .extxyz")
    check_folder_of(out, "--out")
