"""The commands that turn structures and campaigns into knowledge."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from searcher.commands.options import (
    CORES,
    Arguments,
    AsJson,
    Potential,
    RunPath,
    Workers,
    check_folder_of,
    make_executor,
    named_potential,
    note,
)
from searcher.errors import InputError

if TYPE_CHECKING:
    from searcher.evaluation.diagram import Diagram
    from searcher.evaluation.energies import Energies

MEV = 1e-3

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE…", help="Structure files: extxyz, CIF, POSCAR, OUTCAR, ASE db …")
]
EnergyBulk = Annotated[float | None, typer.Option(help="Of the bulk oxide in eV per formula unit.")]
HalfO2 = Annotated[float | None, typer.Option(help="½E(O2) in eV: where Δμ_O is 0.")]
GammaBottom = Annotated[float | None, typer.Option(help="γ of the lower face of one-sided slabs in meV/Å².")]
Facet = Annotated[str | None, typer.Option(help="Of all structures, for example 110; otherwise found out.")]
O2Reference = Annotated[str, typer.Option(help="raw or fitted: ½E(O2) of the potential, or from the formation energy.")]


class SeveralAgainst(TyperCommand):
    """Lets ``FILE… --against FILE FILE …`` name several known files after one option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of the words that follow it, where structures to score stand first."""
        if args and not args[0].startswith("-"):
            args = repeated_option(args, "--against")
        return super().parse_args(ctx, args)


def repeated_option(words: list[str], option: str) -> list[str]:
    """``--option a b --other c`` as ``--option a --option b --other c``."""
    found: list[str] = []
    inside = False
    for word in words:
        if word.startswith("-"):
            inside = word == option
        elif inside and found[-1] != option:
            found.append(option)
        found.append(word)
    return found


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command(cls=SeveralAgainst)(score)
    for command in (report, export, diagram, compare):
        app.command()(command)
    app.command("import")(import_results)


def report(
    run_folder: RunPath,
    beside: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="A campaign of another facet for the diagram; repeatable."),
    ] = None,
    reach: Annotated[int, typer.Option(min=0, help="Of so many minima: can the last generator make them?")] = 0,
) -> None:
    """Write report.html."""
    from searcher.campaign.storage.ledger import Ledger
    from searcher.results.report import write_report

    ledger = Ledger.of_run(run_folder)
    executor = make_executor(CORES)
    try:
        print(write_report(run_folder, ledger, executor, beside or (), reach))
    finally:
        executor.close()


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
    dynamics: Annotated[
        float | None, typer.Option(metavar="K", help="Shake each at this temperature: does it stay?")
    ] = None,
    picoseconds: Annotated[float, typer.Option(help="How long it is shaken.")] = 1.0,
    vibrations: Annotated[
        float | None, typer.Option(metavar="K", help="What vibrations change in γ at this temperature.")
    ] = None,
    workers: Workers = CORES,
) -> None:
    """Write accepted terminations for other programs."""
    from searcher.campaign.storage.ledger import Ledger
    from searcher.results.export import chosen_terminations
    from searcher.results.export import export as export_structures

    chosen = tuple(formats) if formats else ("extxyz", "cif", "poscar", "db")
    ledger = Ledger.of_run(run_folder)
    extra: dict[str, dict[str, Any]] = {}
    if dynamics is not None or vibrations is not None:
        from searcher.results.finite_temperature import AtTemperature, asked_for

        asked = asked_for(dynamics, picoseconds, vibrations)
        terminations = chosen_terminations(run_folder, ledger, ids)
        executor = make_executor(workers)
        try:
            extra = AtTemperature(run_folder, ledger, executor).records(terminations, asked)
        finally:
            executor.close()
    print(
        export_structures(
            run_folder, ledger, out, chosen, ids,
            symmetric=symmetric, kpoint_length=kpoint_length, at_temperature=extra,
        )
    )  # fmt: skip
    if not (ids or chosen_terminations(run_folder, ledger, ids)):
        note("nothing is accepted, so tables and files are empty; `--id` exports any relaxed candidate")


def score(
    files: Files,
    against: Annotated[list[Path], typer.Option(help="What is known: one or more files.")],
    delta_mu_o: Annotated[float, typer.Option(help="Δμ_O in eV per O atom at which γ and class are told.")] = -0.5,
    kappa_min: Annotated[float, typer.Option(help="Novel above this κ.")] = 0.075,
    facet: Facet = None,
    potential: Potential = "ruo2",
    arguments: Arguments = "{}",
    o2_reference: O2Reference = "raw",
    energy_bulk: EnergyBulk = None,
    half_energy_o2: HalfO2 = None,
    gamma_bottom: GammaBottom = None,
    workers: Workers = CORES,
    as_json: AsJson = False,
) -> None:
    """Novelty, surface energy, class and validity of structures, against what is known."""
    from searcher.structures.files import read_named

    if not 0.0 <= kappa_min < 2**0.5:
        raise InputError(f"`--kappa-min` is {kappa_min}; allowed is 0 up to √2, where nothing would be novel")
    _check_facet(facet)
    named, known = read_named(files), read_named(against)
    energies = _energies(potential, arguments, o2_reference, (energy_bulk, half_energy_o2), workers)
    from searcher.evaluation.scores import ScoreSettings, print_scores
    from searcher.evaluation.scores import score as score_structures

    bottom = None if gamma_bottom is None else gamma_bottom * MEV
    settings = ScoreSettings(delta_mu_o=delta_mu_o, kappa_min=kappa_min, facet=facet, gamma_bottom=bottom)
    try:
        records = score_structures(named, known, energies, settings)
    finally:
        energies.close()
    if as_json:
        print(json.dumps(records, indent=1, allow_nan=False, ensure_ascii=False))
        return
    print_scores(records, Console())
    every_atom = sum(record["atoms"] == "all" for record in records)
    if every_atom:
        note(f"κ of {every_atom} structures is over all atoms, since none of theirs is fixed")


def diagram(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN…|FILE…", help="Folders of campaigns, or structure files.")
    ],
    pressure: Annotated[list[float] | None, typer.Option(help="Of O2 in bar, for windows in T; repeatable.")] = None,
    delta_mu_range: Annotated[
        tuple[float, float] | None, typer.Option("--range", help="Lower and upper Δμ_O in eV.")
    ] = None,
    facet: Facet = None,
    potential: Potential = "ruo2",
    arguments: Arguments = "{}",
    o2_reference: O2Reference = "raw",
    energy_bulk: EnergyBulk = None,
    half_energy_o2: HalfO2 = None,
    gamma_bottom: GammaBottom = None,
    wulff: Annotated[float | None, typer.Option(help="Also the crystal's shape at this Δμ_O in eV.")] = None,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="Mirror one-sided slabs of files and relax them first.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(help="Write the diagram (.png).")] = None,
    workers: Workers = CORES,
    as_json: AsJson = False,
) -> None:
    """γ against Δμ_O: the lower envelope and its windows in Δμ_O and in temperature."""
    _check_facet(facet)
    pressures = _checked_axes(pressure or [1.0], delta_mu_range, picture)
    from searcher.evaluation import diagram as diagrams

    schemes: dict[str, float] = {}
    if _all_folders(sources):
        if symmetric:
            raise InputError("`--symmetric` needs structure files; `searcher export` writes a campaign's")
        found = diagrams.diagram_of_runs(sources, delta_mu_range)
    else:
        from searcher.structures.files import read_named

        named = read_named(sources)
        energies = _energies(potential, arguments, o2_reference, (energy_bulk, half_energy_o2), workers)
        bottom = None if gamma_bottom is None else gamma_bottom * MEV
        try:
            found = diagrams.diagram_of_files(named, energies, facet, bottom, delta_mu_range, symmetric)
        finally:
            energies.close()
        schemes = energies.o2_schemes() if found.references else {}
    record = diagrams.as_record(found, pressures)
    if schemes:
        record["o2_schemes"] = {
            name: diagrams.as_record(diagrams.with_o2_scheme(found, half), pressures)["windows"]
            for name, half in schemes.items()
        }
    if wulff is not None:
        record["wulff"] = _wulff(found, wulff)
    if picture is not None:
        from searcher.results.plots import diagram as draw

        picture.write_bytes(draw(found.over_facets(), [], found.delta_mu_range, pressures[0]))
    if as_json:
        print(json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False))
        return
    diagrams.print_diagram(record, Console())
    for facet_share in record.get("wulff", {}).get("facets", []):
        print(f"({facet_share['facet']}) {facet_share['id']}: {100 * facet_share['share']:.1f} % of the surface")
    for text in found.notes:
        note(text)


def import_results(
    run_folder: RunPath,
    sources: Annotated[
        list[Path], typer.Argument(metavar="FOLDER…|FILE…", help="What `searcher export` wrote, or structure files.")
    ],
    label: Annotated[str, typer.Option(help="What these calculations are called.")] = "DFT",
    training: Annotated[
        Path | None, typer.Option(help="Write finished frames with forces here (.extxyz), to fit a potential to.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read DFT results back: their states, γ beside the potential's, and a new ranking."""
    missing = [source for source in sources if not source.exists()]
    if missing:
        raise InputError(f"`{missing[0]}` does not exist")
    check_folder_of(training, "--training")
    from searcher.results.dft_results import import_results as read_back
    from searcher.results.dft_results import print_comparison

    found = read_back(run_folder, sources, label, training)
    if as_json:
        print(json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False))
    else:
        print_comparison(found, Console())


def compare(
    run_folders: Annotated[list[Path], typer.Argument(metavar="RUN RUN…", help="Folders of campaigns.")],
    kappa_min: Annotated[float | None, typer.Option(help="The same below this κ; otherwise the first run's.")] = None,
    merged: Annotated[
        Path | None, typer.Option(help="Write every termination once (.extxyz.xz), for `known:` of a new campaign.")
    ] = None,
    workers: Workers = CORES,
    as_json: AsJson = False,
) -> None:
    """Campaigns beside each other: funnels, envelopes, shared and distinct terminations."""
    check_folder_of(merged, "--merged")
    from searcher.results import comparison
    from searcher.structures.files import write_compressed

    executor = make_executor(workers)
    try:
        record = comparison.compare(run_folders, executor, kappa_min)
        if merged is not None:
            write_compressed(merged, comparison.merged(run_folders, executor, kappa_min))
    finally:
        executor.close()
    if as_json:
        print(json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False))
    else:
        comparison.print_compared(record, Console())


def _checked_axes(
    pressures: list[float], delta_mu_range: tuple[float, float] | None, picture: Path | None
) -> list[float]:
    if any(not 0.0 < p < float("inf") for p in pressures):
        raise InputError(f"`--pressure` is {min(pressures):g} bar but must be positive and finite")
    if delta_mu_range is not None and not delta_mu_range[0] < delta_mu_range[1]:
        raise InputError(f"`--range` is {delta_mu_range[0]} to {delta_mu_range[1]} eV but must rise")
    check_folder_of(picture, "--picture")
    return pressures


def _all_folders(sources: list[Path]) -> bool:
    folders = [source for source in sources if source.is_dir()]
    if folders and len(folders) < len(sources):
        raise InputError("give either folders of campaigns or structure files, not both")
    return bool(folders)


def _wulff(found: "Diagram", delta_mu_o: float) -> dict[str, Any]:
    from searcher.evaluation.wulff import wulff_shape

    unknown = [member.id for member in found.members if member.facet is None]
    if unknown:
        raise InputError(f"`--wulff` needs a facet for `{unknown[0]}`: name it with `--facet` or in the file")
    if found.crystal is None:
        raise InputError("`--wulff` needs the lattice of one oxide, and the structures do not tell it")
    return wulff_shape(found.facets(), delta_mu_o, found.crystal)


def _check_facet(facet: str | None) -> None:
    if facet is not None:
        from searcher.structures.crystal import parse_facet

        parse_facet(facet)


def _energies(
    potential: str, arguments: str, o2_reference: str, given: tuple[float | None, float | None], workers: int
) -> "Energies":
    from searcher.evaluation.energies import Energies

    if o2_reference not in ("raw", "fitted"):
        raise InputError(f"`--o2-reference` is {o2_reference!r} but must be raw or fitted")
    if (given[0] is None) != (given[1] is None):
        raise InputError("give both `--energy-bulk` and `--half-energy-o2`, or neither")
    spec = named_potential(potential, arguments)
    pair = None if given[0] is None or given[1] is None else (given[0], given[1])
    return Energies(lambda: make_executor(workers), spec, o2_reference, pair)
