"""Commands around the generator: data sets, training, sampling."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from searcher.commands.options import CORES, AsJson, Overrides, Workers, make_executor, note
from searcher.errors import InputError

Conditions = Annotated[
    list[str] | None, typer.Option("--condition", metavar="NAME=NUMBER", help="What is asked for; repeatable.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    for command in (dataset, train, sample, assess, interpolate, tune):
        app.command()(command)


def dataset(
    run_folders: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Campaigns' folders.")],
    out: Annotated[Path, typer.Option(help="Structure file to write (.extxyz.xz).")],
    snapshots: Annotated[int, typer.Option(min=0, help="Steps of each relaxation, late ones first.")] = 4,
    largest_excess: Annotated[
        float | None, typer.Option(help="meV/Å² above its minimum; higher steps are left out.")
    ] = None,
) -> None:
    """Gather what campaigns have relaxed, with γ, for `searcher train`."""
    if out.suffixes[-2:] != [".extxyz", ".xz"]:
        raise InputError(f"`--out` is `{out}` but must end in .extxyz.xz")
    from searcher.generation.collecting import collect
    from searcher.structures.files import write_compressed

    found = collect(run_folders, snapshots, None if largest_excess is None else 1e-3 * largest_excess)
    write_compressed(out, found)
    minima = len({atoms.info["minimum"] for atoms in found})
    print(f"{len(found)} structures of {minima} terminations: {out}")


def train(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN|FILE…", help="A campaign's folder, or structure files.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for weights and what belongs to them.")],
    config_path: Annotated[
        Path | None, typer.Option("--config", help="Generator configuration (YAML) for structure files.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; 4000 for a campaign.")] = None,
    overrides: Overrides = None,
    also: Annotated[Path | None, typer.Option(help="Of a campaign: minima of basin hopping to learn as well.")] = None,
    withhold: Annotated[
        Path | None, typer.Option(help="Of a campaign: structures to keep out, with all that looks like them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a generator on everything that a campaign has relaxed, or on structure files."""
    if len(sources) == 1 and sources[0].is_dir():
        if config_path is not None:
            raise InputError("`--config` is for structure files; a campaign has its own configuration")
        from searcher.campaign.driver import train_on_run

        train_on_run(sources[0], out, steps or 4000, also, withhold, Console())
        return
    if config_path is None:
        raise InputError("structure files need `--config`; `configs/generators/` holds examples")
    if also is not None or withhold is not None:
        raise InputError("`--also` and `--withhold` belong to a campaign's folder, not to structure files")
    from searcher.structures.files import read_named

    named = read_named(sources)
    from generators.training.processes import join_processes, leave_processes
    from searcher.campaign.progress import following
    from searcher.generation.training import train_on_files, with_steps
    from searcher.loading import load_generator_config

    config = with_steps(load_generator_config(config_path, overrides or []), steps)
    processes = join_processes(str(config.training.get("device", "cpu")))
    console = Console(stderr=True, quiet=not processes.first)
    total = int(config.training.get("steps", 1500))
    with following(console, f"training {config.name}", total) as follow:
        told = train_on_files(config, named, out, follow, processes)
    leave_processes()
    if not processes.first:
        return
    for finding in told["findings"]:
        note(f"step {finding['step']}: {finding['diagnosis']} (`{finding['figure']}` {finding['value']:.3g})")
    if as_json:
        json.dump(told, sys.stdout, indent=1)
        print()
    else:
        print(f"{told['structures']} structures, {told['step']} steps: {told['weights']}")


def sample(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Folder that `searcher train` wrote.")],
    out: Annotated[Path, typer.Option(help="Grids to write (.npz), for `searcher backmap`.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Samples.")] = 100,
    conditions: Conditions = None,
    run_folder: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="Campaign whose template the weights are for.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    temperature: Annotated[float, typer.Option(min=0.0, help="Standard deviation of the noise.")] = 1.0,
    picture: Annotated[Path | None, typer.Option(help="Slices of the first samples (.png).")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw density grids from trained weights."""
    for name, path, suffix in (("--out", out, ".npz"), ("--picture", picture, ".png")):
        if path is not None and (path.suffix != suffix or not path.parent.is_dir()):
            raise InputError(f"`{name}` is `{path}` but must end in {suffix}, in a folder that exists")
    from searcher.generation.sampling import open_sampler, parse_conditions, sample_to_file

    asked = parse_conditions(conditions or [])
    sampler, template = open_sampler(weights, run_folder)
    told = sample_to_file(sampler, template, out, n, asked, seed, temperature)
    if picture is not None:
        from searcher.results.plots import slices

        picture.write_bytes(slices(out))
    if as_json:
        print(json.dumps(told, indent=1))
    else:
        print(f"{told['samples']} grids of {' × '.join(map(str, told['shape']))} voxels: {told['out']}")


def assess(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Folder that `searcher train` wrote.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="The structure files it was trained on.")],
    out: Annotated[Path | None, typer.Option(help="Folder for pictures; made if missing.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Samples.")] = 256,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    reach: Annotated[
        int, typer.Option(min=0, help="Of so many structures: how near does the generator come? Seconds for each.")
    ] = 0,
    attribution: Annotated[
        int, typer.Option(min=0, help="Of so many structures: what does the critic look at? Needs Captum and --out.")
    ] = 0,
    workers: Workers = CORES,
    as_json: AsJson = False,
) -> None:
    """Compare what a generator makes with its training set and with what was held out of it."""
    from searcher.structures.files import read_named

    if attribution and out is None:
        raise InputError("`--attribution` needs `--out`, the folder that gets its pictures")
    named = read_named(files)
    from searcher.generation.assessment import assess as measure
    from searcher.generation.assessment import print_assessment
    from searcher.generation.data_set import data_set
    from searcher.generation.sampling import open_sampler
    from searcher.generation.training import CONFIG, WEIGHTS
    from searcher.loading import load_generator_config

    sampler, template = open_sampler(weights, None)
    data = data_set(named, load_generator_config(weights / CONFIG).data)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    executor = make_executor(workers)
    try:
        told = measure(sampler, template, data, n, seed, executor, out, reach)
    finally:
        executor.close()
    if attribution and out is not None:
        from searcher.generation.attributed import draw_attribution
        from searcher.generation.reach import known_structures, spread_over

        chosen = spread_over(known_structures(data, template), attribution)
        told["attribution"] = draw_attribution(weights / WEIGHTS, template, chosen, out)
    if as_json:
        print(json.dumps(told, indent=1))
    else:
        print_assessment(told, Console())


def interpolate(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Folder that `searcher train` wrote.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="The structure files it was trained on.")],
    out: Annotated[Path, typer.Option(help="Structure file to write (.extxyz), for `searcher relax`.")],
    first: Annotated[int, typer.Option(min=0, help="Which structure of the files the way begins at.")] = 0,
    last: Annotated[int | None, typer.Option(min=0, help="Which it ends at; the last one by default.")] = None,
    n: Annotated[int, typer.Option("--n", min=2, help="Structures, both ends included.")] = 9,
    seed: Annotated[int, typer.Option(help="Of the search for the ends' noise.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write what a generator makes on the way from one structure to another."""
    if out.suffix != ".extxyz" or not out.parent.is_dir():
        raise InputError(f"`--out` is `{out}` but must end in .extxyz, in a folder that exists")
    from searcher.structures.files import read_named

    named = read_named(files)
    last = len(named) - 1 if last is None else last
    for name, number in (("--first", first), ("--last", last)):
        if number >= len(named):
            raise InputError(f"`{name}` is {number} but the files hold {len(named)} structures, counted from 0")
    from searcher.generation.data_set import data_set
    from searcher.generation.interpolation import way_between
    from searcher.generation.reach import known_structures
    from searcher.generation.sampling import open_sampler
    from searcher.generation.training import CONFIG
    from searcher.loading import load_generator_config

    sampler, template = open_sampler(weights, None)
    data = data_set(named, load_generator_config(weights / CONFIG).data)
    known = {one.name: one for one in known_structures(data, template)}
    told = way_between(sampler, template, [known[named[k][0]] for k in (first, last)], n, seed, out)
    if as_json:
        print(json.dumps(told, indent=1))
    else:
        for end in told["ends"]:
            print(f"{end['name']}: {end['unexplained']:.1%} of its grid stays unexplained")
        print(
            f"{' → '.join(told['steps'])}: "
            + (f"{told['structures']} structures in {told['out']}" if told["out"] else "nothing to write")
        )


def tune(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Structure files.")],
    config_path: Annotated[Path, typer.Option("--config", help="Generator configuration (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder; each trial has its own in it, and is not done again.")],
    tried: Annotated[
        list[str] | None,
        typer.Option("--try", metavar="KEY=VALUE,VALUE", help="Values of a setting; both learning rates by default."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="So many that Optuna chooses, not the whole grid.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Samples of each.")] = 256,
    overrides: Overrides = None,
    workers: Workers = CORES,
    as_json: AsJson = False,
) -> None:
    """Try settings: Fréchet distance against coverage, with the Pareto front."""
    from dataclasses import asdict

    from searcher.structures.files import read_named

    named = read_named(files)
    from searcher.generation.training import with_steps
    from searcher.generation.tuning import RATES, pareto_front, parse_choices
    from searcher.generation.tuning import tune as try_settings
    from searcher.loading import load_generator_config

    config = with_steps(load_generator_config(config_path, overrides or []), steps)
    choices = parse_choices(tried) if tried else RATES
    out.mkdir(parents=True, exist_ok=True)
    executor = make_executor(workers)
    try:
        found = try_settings(
            config,
            named,
            choices,
            out,
            executor,
            n,
            trials,
            lambda trial: note(f"{trial.settings}: Fréchet {trial.frechet:.3g}, coverage {trial.coverage:.3g}"),
        )
    finally:
        executor.close()
    front = pareto_front(found)
    from searcher.results.generator_plots import pareto_picture

    (out / "pareto.png").write_bytes(
        pareto_picture([(t.frechet, t.coverage) for t in found], [found.index(t) for t in front])
    )
    if as_json:
        print(json.dumps({"trials": [asdict(t) for t in found], "front": [asdict(t) for t in front]}, indent=1))
    else:
        for trial in front:
            print(f"Fréchet {trial.frechet:.3g}, coverage {trial.coverage:.3g}: {trial.settings}")
