"""What commands have in common: arguments, notes on stderr, worker processes."""

import json
import os
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from searcher.errors import EnvironmentProblem, InputError

if TYPE_CHECKING:
    from relax.potential import PotentialSpec
    from searcher.campaign.workers.executor import Executor

CORES = os.cpu_count() or 1
DEADLINE_S = 900.0
MEMORY_GIB = 4.0
TASKS_PER_WORKER = 200

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration file (YAML).")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A campaign's folder, for example runs/quickstart.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
Potential = Annotated[
    str, typer.Option(metavar="NAME|XML|MODULE:CALLABLE", help="Where energies come from that no file holds.")
]
Arguments = Annotated[str, typer.Option(metavar="JSON", help="Keyword arguments of a MODULE:CALLABLE.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes for energies and SOAP vectors.")]


def note(text: str) -> None:
    """Say something that is not the answer, on stderr."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(text, markup=False)


def check_folder_of(path: Path | None, option: str) -> None:
    """Make sure that a file that an option names can be written.

    Raises
    ------
    InputError
        If its folder does not exist.
    """
    if path is not None and not path.parent.is_dir():
        raise InputError(f"`{option}` is `{path}` but the folder `{path.parent}` does not exist")


def make_executor(workers: int) -> "Executor":
    """Isolated processes for energies and SOAP vectors."""
    from searcher.campaign.workers.executor import LocalExecutor

    return LocalExecutor(workers, DEADLINE_S, MEMORY_GIB, TASKS_PER_WORKER, Event())


def named_potential(potential: str, arguments: str) -> "PotentialSpec":
    """What ``--potential`` and ``--arguments`` name, its files checked."""
    from relax.potential import PotentialError, check_files
    from searcher.evaluation.energies import parse_potential

    try:
        spec = parse_potential(potential, json.loads(arguments))
        check_files(spec)
    except json.JSONDecodeError as error:
        raise InputError(f"`--arguments` is not JSON ({error}); an example is '{{}}'") from None
    except PotentialError as error:
        raise EnvironmentProblem(str(error)) from None
    return spec
