"""Short forms of the faults for `make test-full`; ``--long-faults`` for `make faults`, which also writes the table."""

import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

TABLE = Path(__file__).parents[2] / "docs" / "faults.md"
HEADING = """# Faults, as measured

Written by `make faults`; what each row promises is in [reliability.md](reliability.md). A digest is compared with that
of an uninterrupted campaign wherever one is run. Tried on Python {python}, {machine}.

| # | fault | tried | result | seconds | test |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    number: int
    fault: str
    tried: int
    result: str
    seconds: float
    test: str


ROWS: list[Row] = []


def pytest_addoption(parser):
    parser.addoption("--long-faults", action="store_true", help="every point, every length, 200 kills (hours)")


@pytest.fixture(scope="session")
def amount(request) -> Callable[[int, int], int]:
    """How much of a test to run: (short, long)."""
    long = request.config.getoption("--long-faults", default=False)
    return lambda short, longest: longest if long else short


@pytest.fixture
def tell(request):
    """Add a row to the table once a test has got through."""
    began = time.monotonic()

    def add(number: int, fault: str, tried: int, result: str) -> None:
        test = request.node.nodeid.removeprefix("tests/faults/").partition("[")[0]
        ROWS.append(Row(number, fault, tried, result, time.monotonic() - began, test))

    return add


@pytest.fixture(scope="session")
def interposer(tmp_path_factory) -> Path:
    """The shared library that kills a process at a chosen write, or has it find the disk full."""
    compiler = shutil.which("cc")
    if compiler is None or platform.system() != "Linux":
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("interposer") / "interposer.so"
    source = Path(__file__).with_name("interposer.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library


def pytest_sessionfinish(session):
    if session.config.getoption("--long-faults", default=False) and ROWS:
        lines = [
            f"| {r.number} | {r.fault} | {r.tried} | {r.result} | {r.seconds:.0f} | `{r.test}` |\n"
            for r in sorted(ROWS, key=lambda r: (r.number, r.test))
        ]
        heading = HEADING.format(python=platform.python_version(), machine=platform.machine())
        TABLE.write_text(heading + "".join(lines), encoding="utf-8")
