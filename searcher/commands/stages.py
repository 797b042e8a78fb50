"""One stage of a campaign by itself."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from searcher.commands.options import AsJson, ConfigPath, Overrides, RunPath, check_folder_of, note
from searcher.errors import InputError, StoppedOnRequest


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    for command in (seeds, thickness, roundtrip):
        app.command()(command)
    app.command("train-iteration")(train_iteration)


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
    from searcher.campaign.beginning.inputs import check_inputs
    from searcher.campaign.driver import write_seeds
    from searcher.loading import load_config, place

    if method not in ("construction", "basin-hopping"):
        raise InputError(f"`--method` is {method!r} but must be construction or basin-hopping")
    config = load_config(config_path, overrides or [])
    check_inputs(config, partial(place, config_path, overrides or []))
    write_seeds(config, out, method, steps, lowest, snapshots, Console())


def thickness(config_path: ConfigPath, overrides: Overrides = None) -> None:
    """How thin the frozen part of the slab may be: γ of every termination on thin and thick templates."""
    from searcher.campaign.beginning.inputs import check_inputs
    from searcher.campaign.driver import check_thickness
    from searcher.loading import load_config, place

    config = load_config(config_path, overrides or [])
    check_inputs(config, partial(place, config_path, overrides or []))
    check_thickness(config, Console())


def train_iteration(
    run_folder: RunPath,
    iteration: Annotated[int, typer.Argument(metavar="ITERATION", help="The one under way.")],
    arm: Annotated[str, typer.Argument(metavar="ARM", help="The arm that trains.")],
) -> None:
    """Train one iteration of a campaign as a job of its own; `training.submit` calls it, also under torchrun."""
    from searcher.campaign.stopping import StopRequest, answer_signals

    stop = StopRequest()
    answer_signals(stop)
    from searcher.campaign.training_entry import train_iteration as train_one

    try:
        train_one(run_folder, iteration, arm, stop, Console())
    except StoppedOnRequest as error:
        note(str(error))
        raise typer.Exit(stop.exit_code) from None


def roundtrip(
    structures: Annotated[
        list[Path], typer.Argument(metavar="STRUCTURES", help="Structure files: extxyz, CIF, POSCAR, ASE db …")
    ],
    shape: Annotated[tuple[int, int, int], typer.Option(help="Voxels along x, y and z.")] = (32, 32, 32),
    sigma: Annotated[float, typer.Option(help="Width of an atom's Gaussian in Å.")] = 0.5,
    noise: Annotated[float, typer.Option(help="White noise, as a share of an atom's peak.")] = 0.0,
    window: Annotated[bool, typer.Option("--window", help="Only the atoms that are not fixed.")] = False,
    allow_coarse: Annotated[bool, typer.Option("--allow-coarse", help="Measure what would be refused.")] = False,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    square: Annotated[bool, typer.Option("--square", help="Repeat cells towards a square first.")] = False,
    vacuum: Annotated[float | None, typer.Option(help="Cut (or widen) vacuum to so many Å first.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Slices and residual of the worst structure (.png).")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    scheduler: Annotated[str, typer.Option(help="Of a Dask cluster, instead of processes.")] = "",
    as_json: AsJson = False,
) -> None:
    """Is a grid fine enough? Structures to a grid and back."""
    from searcher.structures.files import read_named

    check_folder_of(picture, "--picture")
    named = read_named(structures)
    from searcher.roundtrip import RoundtripSettings, print_roundtrip
    from searcher.roundtrip import roundtrip as measure

    settings = RoundtripSettings(shape, sigma, noise, window, allow_coarse, seed, square, vacuum)
    result = measure(named, settings, workers, scheduler)
    for text in result.notes:
        note(text)
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
        note(refusal)
