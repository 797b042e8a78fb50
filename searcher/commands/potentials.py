"""The commands that make and check potentials: `searcher potential …`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from searcher.commands.options import AsJson
from searcher.errors import EnvironmentProblem, InputError


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    potentials = typer.Typer(no_args_is_help=True, help="Make, check and improve potentials.")
    app.add_typer(potentials, name="potential")
    potentials.command("label")(label)
    potentials.command("fit")(fit)
    potentials.command("check")(check)


def label(
    out: Annotated[Path, typer.Option(help="File of labels to write or to go on with (.jsonl).")],
    calculator: Annotated[str, typer.Option(metavar="MODULE:CALLABLE", help="The reference calculator.")],
    arguments: Annotated[str, typer.Option(metavar="JSON", help="Its keyword arguments.")] = "{}",
    seed: Annotated[int, typer.Option(help="Of the structure set.")] = 1,
    processes: Annotated[int, typer.Option(help="Worker processes, each with one calculator.")] = 2,
) -> None:
    """Label a potential's structure set with a reference calculator."""
    from searcher.structures.potential_release import label_potential_set

    try:
        keywords = json.loads(arguments)
    except json.JSONDecodeError as error:
        raise InputError(f'`--arguments` is not JSON ({error}); an example is \'{{"model": "7net-mf-0"}}\'') from None
    print(label_potential_set(seed, calculator, keywords, out, processes))


def fit(
    labels: Annotated[Path, typer.Argument(help="Labels (.jsonl), or frames that were kept (.extxyz.xz).")],
    out: Annotated[Path, typer.Option(help="Folder of the potential.")],
) -> None:
    """Fit a Gaussian approximation potential to labelled frames."""
    from searcher.structures.potential_release import fit_potential_set

    print(fit_potential_set(labels, out))


def check(
    folder: Annotated[Path, typer.Argument(help="Folder of a potential.")],
    as_json: AsJson = False,
) -> None:
    """Measure a potential on frames that its fit has not seen, and write its model card."""
    from dataclasses import asdict

    from searcher.structures.potential_release import check_potential_set

    figures = check_potential_set(folder)
    missed = figures.shortcomings()
    print(json.dumps(asdict(figures), indent=1) if as_json else folder / "MODEL_CARD.md")
    if missed:
        raise EnvironmentProblem("this potential misses what is asked of it:\n" + "\n".join(missed))
