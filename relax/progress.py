"""Bars for what takes minutes, on stderr: on a terminal they move, elsewhere a line says what is done."""

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def shown(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """The items one after another, with a bar named `what`; `total` is their number where they have no length."""
    return track(items, description=what, total=total, console=Console(stderr=True))


def tell(text: str) -> None:
    """One line for a step that has no parts to count."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)
