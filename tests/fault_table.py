"""Faults in their short and long forms: how much to try, what was tried, and the table that `make faults` writes.

A test of a fault either carries the marker ``fault(number, what, result)`` or calls the fixture `tell`. With
``--long-faults`` only these run, in their long form. What passed is kept in ``.faults.jsonl``, so that a run that was
cut short goes on with the rest, as long as no source has changed.
"""

import hashlib
import json
import platform
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "faults.md"
DONE = ROOT / ".faults.jsonl"
SOURCES = ("searcher", "generators", "relax", "tests")
HEADING = """# Faults, as measured

Written by `make faults`; what each row promises is in [reliability.md](reliability.md). A digest is compared with that
of an uninterrupted campaign wherever one is run. Tried on Python {python}, {machine}, at commit {commits};
{seconds:.0f} s in all.

| # | fault | tried | result | seconds | test |
|---|---|---|---|---|---|
"""
told: dict[str, list[dict[str, Any]]] = {}
"""rows by the id of the test that told them"""


def pytest_addoption(parser):
    parser.addoption("--long-faults", action="store_true", help="every point, every length, 200 kills (an hour)")


def pytest_configure(config):
    config.addinivalue_line("markers", "fault(number, what, result): a row of the table of faults")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long-faults"):
        return
    done = {entry["node"] for entry in entries() if entry["code"] == code()}
    chosen = [item for item in items if item.get_closest_marker("fault") or "tell" in item.fixturenames]
    rest = [item for item in chosen if item.nodeid not in done]
    config.hook.pytest_deselected(items=[item for item in items if item not in rest])
    items[:] = rest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if call.when != "call" or not item.config.getoption("--long-faults") or not report.passed:
        return
    rows = told.get(item.nodeid, [])
    marker = item.get_closest_marker("fault")
    if marker is not None:
        number, what, result = marker.args
        rows = [{"number": number, "fault": what, "tried": 1, "result": result, "seconds": report.duration}]
    entry = {"code": code(), "commit": commit(), "node": item.nodeid, "rows": rows}
    with DONE.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")


def pytest_sessionfinish(session, exitstatus):
    config, whole = session.config, (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if config.getoption("--long-faults") and not config.option.collectonly and exitstatus in whole and entries():
        write_table()


@pytest.fixture(scope="session")
def amount(request) -> Callable[[int, int], int]:
    """How much of a test to run: (short, long)."""
    long = request.config.getoption("--long-faults")
    return lambda short, longest: longest if long else short


@pytest.fixture
def tell(request):
    """Add a row to the table once a test has got through."""
    began = time.monotonic()

    def add(number: int, fault: str, tried: int, result: str) -> None:
        seconds = time.monotonic() - began
        row = {"number": number, "fault": fault, "tried": tried, "result": result, "seconds": seconds}
        told.setdefault(request.node.nodeid, []).append(row)

    return add


@cache
def code() -> str:
    """A hash of all sources: what was kept counts for these only."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".c", ".yaml", ".html", ".js", ".css"):
                digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def commit() -> str:
    """The commit that is tried, with a plus sign if files differ from it."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=10"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def entries() -> list[dict[str, Any]]:
    """The last time that each test passed."""
    if not DONE.is_file():
        return []
    found = [json.loads(line) for line in DONE.read_text(encoding="utf-8").splitlines()]
    return list({entry["node"]: entry for entry in found}.values())


def write_table() -> None:
    """One line per fault and test; parametrised tests that say the same are counted together."""
    found = entries()
    lines: dict[tuple[Any, ...], list[float]] = {}
    for entry in found:
        test = entry["node"].partition("[")[0].removeprefix("tests/")
        for row in entry["rows"]:
            line = lines.setdefault((row["number"], test, row["fault"], row["result"]), [0, 0.0])
            line[0] += row["tried"]
            line[1] += row["seconds"]
    total = sum(seconds for _, seconds in lines.values())
    commits = ", ".join(sorted({entry["commit"] for entry in found}))
    text = HEADING.format(python=platform.python_version(), machine=platform.machine(), commits=commits, seconds=total)
    for (number, test, fault, result), (tried, seconds) in sorted(lines.items(), key=lambda item: item[0][:2]):
        text += f"| {number} | {fault} | {tried} | {result} | {seconds:.1f} | `{test}` |\n"
    TABLE.write_text(text, encoding="utf-8")
