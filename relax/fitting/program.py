"""The `gap_fit` program of the quippy-ase wheel, as a process of its own."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from relax.fitting.settings import FitError
from relax.lifetime import end_with_parent


def gap_fit_program() -> str:
    """The program itself: the script of its name starts it as a process of its own, which outlives the script.

    Raises
    ------
    FitError
        If there is none.
    """
    package = find_spec("quippy")
    beside = None if package is None or package.origin is None else Path(package.origin).with_name("gap_fit")
    program = str(beside) if beside is not None and beside.exists() else shutil.which("gap_fit")
    if program is None:
        raise FitError("`gap_fit` was not found; it comes with the quippy-ase package")
    return program


def run_gap_fit(arguments: Sequence[str], folder: Path) -> None:
    """Run `gap_fit` on one thread: more threads change the last bits of the fit."""
    program = gap_fit_program()
    with (folder / "log").open("w") as log:
        code = subprocess.run(
            [program, *arguments],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
            preexec_fn=end_with_parent,  # it takes minutes and gigabytes, and must not go on for nobody
        ).returncode
    if code or not (folder / "gap.xml").exists():
        last = (folder / "log").read_text(errors="replace").splitlines()[-3:]
        raise FitError(f"`gap_fit` ended with code {code}: {' | '.join(last)}")
