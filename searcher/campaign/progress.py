"""Progress bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY_S = 15.0


@contextmanager
def counting(console: Console, label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` steps are done; the caller advances by the number it is given."""
    if console.is_terminal:
        columns = (TextColumn(f"  {label}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda steps: bar.advance(task, steps)
        return
    done, shown = 0, time.monotonic()

    def advance(steps: int) -> None:
        nonlocal done, shown
        done += steps
        if done == total or time.monotonic() - shown > PLAIN_EVERY_S:
            shown = time.monotonic()
            console.print(f"  {label}: {done}/{total}")

    yield advance
