"""The direction of imports: searcher knows generators and relax, which know neither each other nor searcher."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {"generators": {"searcher", "relax"}, "relax": {"searcher", "generators"}, "searcher": set()}
ONE_MODULE_ONLY = ("quippy", "dscribe", "mlflow", "matplotlib", "distributed", "captum")


def imported_by(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_arrows_point_one_way(room):
    wrong = {str(p.relative_to(ROOT)): imported_by(p) & FORBIDDEN[room] for p in (ROOT / room).rglob("*.py")}
    assert not {path: names for path, names in wrong.items() if names}


@pytest.mark.parametrize("package", ONE_MODULE_ONLY)
def test_delicate_packages_have_one_door(package):
    doors = [p for room in FORBIDDEN for p in (ROOT / room).rglob("*.py") if package in imported_by(p)]
    assert len(doors) == 1, doors
