"""The documentation: it builds without a warning, every command in it exists, every key is listed."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from searcher.cli import app

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"])


def command_lines(path: Path) -> list[str]:
    """Lines of shell blocks that call the program, comments taken off."""
    lines: list[str] = []
    fence: str | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fence = line.removeprefix("```") if fence is None else None
        elif fence in ("", "sh"):
            lines.append(line.partition(" #")[0].strip().removeprefix(".venv/bin/"))
    return [line for line in lines if line.startswith("searcher ")]


def test_every_walk_through_page_has_commands():
    """A block that is not recognised would hide its commands from the tests."""
    for name in ("install", "first-campaign", "your-oxide", "your-potential", "cluster", "results"):
        assert command_lines(DOCS / f"{name}.md"), name


@pytest.mark.parametrize(
    "line", sorted({line for page in PAGES for line in command_lines(page) if "--help" not in line and "…" not in line})
)
def test_every_command_in_the_documentation_is_one(line):
    command = get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    command.make_context(name, list(words))


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("configuration_reference", DOCS / "configuration_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_key_of_a_configuration_is_on_its_page(reference):
    page, keys = reference.reference_page(), reference.configuration_keys()
    assert len(keys) > 50 and "surface.facet" in keys and "arms[].share" in keys
    for key in keys:
        assert f"| `{key}` |" in page
    assert "| `surface.vacuum` | number, ≥ 10 | `12.0` | Å |" in page
    assert "| `potential.gap` |" in page and "**required**" in page
    assert "| `validity.metal_o_min` | float | `1.6` |" in page


def test_every_key_has_a_meaning_and_every_number_a_unit(reference):
    page = reference.reference_page()
    for key in reference.configuration_keys():
        allowed, default, unit, meaning = re.search(rf"\| `{re.escape(key)}` \| (.*) \|", page)[1].split(" | ")
        assert meaning.strip(), f"`{key}` has no description"
        assert default.strip()
        numbers = re.sub("whole number", "", allowed)
        assert unit.strip() or "number" not in numbers, f"`{key}` has no unit in docs/configuration_reference.py"
    for section in reference.FREE_SECTIONS:
        for name, kind, default, meaning in reference.free_keys(section):
            assert meaning and kind and default, f"`{section}.{name}` has no description"


@pytest.mark.slow
def test_documentation_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="the optional extra `docs` is not installed")
    found = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "surface.facet" in (tmp_path / "configuration.html").read_text(encoding="utf-8")
    formulas = (tmp_path / "how-it-works.html").read_text(encoding="utf-8")
    assert "<math" in formulas and not re.search(r'<script[^>]*src="https?:', formulas)  # nothing from a network
