"""The commands that make, check and improve potentials: `searcher potential …`."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from searcher.commands.options import AsJson
from searcher.errors import EnvironmentProblem, InputError


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    potentials = typer.Typer(no_args_is_help=True, help="Make, check and improve potentials.")
    app.add_typer(potentials, name="potential")
    potentials.command("label")(label)
    potentials.command("fit")(fit)
    potentials.command("check")(check)
    potentials.command("improve")(improve)


def label(
    out: Annotated[Path, typer.Option(help="File of labels to write or to go on with (.jsonl).")],
    calculator: Annotated[str, typer.Option(metavar="MODULE:CALLABLE", help="The reference calculator.")],
    arguments: Annotated[str, typer.Option(metavar="JSON", help="Its keyword arguments.")] = "{}",
    structures: Annotated[
        Literal["set", "walks", "small-cells"],
        typer.Option(
            "--structures",
            help="What is labelled: the whole set; what a potential meets on its own walks; cells for DFT.",
        ),
    ] = "set",
    walker: Annotated[Path | None, typer.Option(help="GAP (XML) that walks, for `walks`.")] = None,
    count: Annotated[int, typer.Option(help="Number of `small-cells`.")] = 60,
    name: Annotated[str, typer.Option(help="Begins the families' names of `walks` and `small-cells`.")] = "round",
    seed: Annotated[int, typer.Option(help="Of the structures.")] = 1,
    processes: Annotated[int, typer.Option(help="Worker processes, each with one calculator.")] = 2,
    share: Annotated[
        float, typer.Option(help="Of `set` and `walks`, above 0 and at most 1; a larger one later goes on from there.")
    ] = 1.0,
    retry_failed: Annotated[bool, typer.Option(help="Take up again what the calculator failed at.")] = False,
    metal: Annotated[
        str | None,
        typer.Option(help="Of the oxide; by default what was labelled in the folder before, or else Ru."),
    ] = None,
    a: Annotated[
        float | None,
        typer.Option(help="Å: the labeller's relaxation of the oxide starts here; by default at RuO2's."),
    ] = None,
    c: Annotated[float | None, typer.Option(help="Å, likewise.")] = None,
    u: Annotated[float | None, typer.Option(help="Internal coordinate of oxygen, likewise.")] = None,
    metal_structure: Annotated[
        str | None, typer.Option(help="Crystal of the pure metal: hcp, fcc or bcc; by default as ASE's table has it.")
    ] = None,
) -> None:
    """Label a potential's structures with a reference calculator; interrupted, the same call goes on."""
    from relax.surface_figures import Labeller
    from searcher.labelled_oxide import asked_oxide
    from searcher.potential_release import label_potential_set, label_small_cells, label_walks

    labeller, oxide = Labeller(calculator, _keywords(arguments)), asked_oxide(metal, a, c, u, metal_structure)
    if structures == "set":
        report = label_potential_set(seed, labeller, out, processes, share, oxide)
    elif structures == "small-cells":
        report = label_small_cells(seed, name, count, labeller, out, processes, retry_failed, oxide)
    elif walker is None:
        raise InputError("`--structures walks` needs `--walker`, the XML file of the GAP that walks")
    else:
        report = label_walks(seed, name, walker, labeller, out, processes, share, oxide)
    left_out = ", ".join(f"{number} ({reason})" for reason, number in sorted(report.skipped.items())) or "none"
    print(
        f"{out}: {report.labelled} structures labelled now, {report.known} before; "
        f"{report.frames} new frames, left out: {left_out}"
    )


def fit(
    labels: Annotated[
        list[Path], typer.Argument(help="Labels (.jsonl), or frames that were kept (.extxyz.xz); several are joined.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the potential.")],
) -> None:
    """Fit a Gaussian approximation potential to labelled frames."""
    from searcher.potential_release import fit_potential_set

    print(fit_potential_set(labels, out))


def check(
    folder: Annotated[Path, typer.Argument(help="Folder of a potential.")],
    as_json: AsJson = False,
) -> None:
    """Measure a potential on frames that its fit has not seen, and write its model card with pictures."""
    from searcher.potential_release import check_potential_set

    figures = check_potential_set(folder)
    missed = figures.shortcomings()
    record = {"hash": figures.potential_hash, "frames": dict(figures.frames), **figures.summary(), "missed": missed}
    print(json.dumps(record, indent=1, ensure_ascii=False) if as_json else folder / "MODEL_CARD.md")
    if missed:
        raise EnvironmentProblem("this potential misses what is asked of it:\n" + "\n".join(missed))


def improve(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="A campaign's folder, for example runs/quickstart.")
    ],
    calculator: Annotated[
        str | None, typer.Option(metavar="MODULE:CALLABLE", help="The reference calculator, if not as configured.")
    ] = None,
    arguments: Annotated[str | None, typer.Option(metavar="JSON", help="Its keyword arguments.")] = None,
    structures: Annotated[int | None, typer.Option(help="Candidates that are labelled.")] = None,
    processes: Annotated[int | None, typer.Option(help="Of the labeller.")] = None,
) -> None:
    """Label what a campaign's potential is unsure of, fit anew, and take into use what got nowhere worse."""
    from searcher.campaign.driver import improve_run

    changes = {
        "labeller": calculator,
        "labeller_arguments": None if arguments is None else _keywords(arguments),
        "structures": structures,
        "processes": processes,
    }
    improve_run(run_folder, {key: value for key, value in changes.items() if value is not None}, Console())


def _keywords(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f'`--arguments` is not JSON ({error}); an example is \'{{"model": "7net-mf-0"}}\'') from None
    if not isinstance(found, dict):
        raise InputError(f"`--arguments` is {text!r} but must be a JSON object, keyword to value")
    return found
