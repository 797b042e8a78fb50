"""Progress bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
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
        before, done = done, done + steps
        if before < total <= done or time.monotonic() - shown > PLAIN_EVERY_S:
            shown = time.monotonic()
            console.print(f"  {label}: {done}/{total}")

    yield advance


@contextmanager
def following(console: Console, label: str, total: int) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Show how far a training is, its losses and the time left; the caller hands in each step's metrics."""
    if console.is_terminal:
        columns = (TextColumn(f"  {label}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[losses]}"), console=console, transient=True) as bar:
            task = bar.add_task(label, total=total, losses="")
            yield lambda metrics: bar.update(task, completed=int(metrics["step"]), losses=_losses(metrics))
        return
    shown, seconds = time.monotonic(), 0.0

    def follow(metrics: Mapping[str, float]) -> None:
        nonlocal shown, seconds
        step = int(metrics["step"])
        seconds += metrics["seconds"]
        if step == total or time.monotonic() - shown > PLAIN_EVERY_S:
            shown = time.monotonic()
            left = seconds / step * (total - step)
            console.print(f"  {label}: {step}/{total}, {_losses(metrics)}, {left:.0f} s left", highlight=False)

    yield follow


def _losses(metrics: Mapping[str, float]) -> str:
    ending = "_loss"
    return ", ".join(f"{n.removesuffix(ending)} {value:.3g}" for n, value in metrics.items() if n.endswith(ending))
