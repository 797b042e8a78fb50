"""Runs the tiny campaign under the interposer and prints one JSON object per line: ``write_points.py FOLDER MODE …``

``count``
    Names of all points of an uninterrupted campaign and its digest: those of its iterations, and those of the whole
    command, which writes report and accepted structures as well.
``kill POINT …``
    Killed at a point of the iterations, then taken up again.
``kill-command POINT …``, ``full POINT …``
    The command killed at one of its points, or the disk full from there on; then taken up again.
``states FIRST N``
    Stopped at `N` points from `FIRST` on; wherever its files have changed, a copy of them is taken up: what a kill
    there would have left.
``instants SEED N``
    Killed at `N` random instants.

Each run is a fork of this process, which has run the campaign once: relaxations, energies and SOAP are remembered, so
that what is left is what is tested, the writing and the taking up.
"""

import ctypes
import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

from searcher.campaign.campaign import open_campaign
from searcher.campaign.loop import run_campaign
from searcher.campaign.storage import verification
from searcher.campaign.storage.ledger import LEDGER, Ledger
from searcher.campaign.workers.executor import InlineExecutor, Outcome
from searcher.cli import main as command_line
from searcher.loading import load_config

COUNT, KILL, NO_SPACE, STOP = range(4)
TINY = Path(__file__).parents[1] / "configs" / "tiny.yaml"
LONGEST_S = 240

interposer = ctypes.CDLL(None)
interposer.interposer_name.restype = ctypes.c_char_p
interposer.interposer_count.restype = ctypes.c_long
interposer.interposer_arm.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_long)

answers: dict[str, dict[str, Any]] = {}


def remembered(
    self: InlineExecutor, function: Callable[..., dict[str, Any]], payloads: Sequence[dict[str, Any]]
) -> Iterator[Outcome]:
    """`InlineExecutor.map` with a memory."""
    for index, payload in enumerate(payloads):
        key = hashlib.sha256(pickle.dumps((function.__name__, payload))).hexdigest()
        if key not in answers:
            answers[key] = function(payload)
        yield Outcome(index, answers[key])


def fork(action: Callable[[], None]) -> int:
    """Process id of a fork that does something and ends."""
    child = os.fork()
    if child == 0:
        signal.alarm(LONGEST_S)
        code = 1
        try:
            action()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:  # noqa: BLE001 - a fork ends here, whatever happened
            traceback.print_exc()
        finally:
            interposer.interposer_disarm()
            sys.stdout.flush()
            os._exit(code)
    return child


def in_child(action: Callable[[], None]) -> int:
    """Exit status of an action in a fork; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(fork(action), 0)[1])


def campaign(runs: Path) -> None:
    opened = open_campaign(load_config(TINY, [f"runs={runs}"]), Event())
    try:
        run_campaign(opened, Console(quiet=True), lambda *_: None)
    finally:
        opened.close()


def watched(run: Callable[[Path], None], runs: Path, what: int, point: int) -> None:
    interposer.interposer_arm(str(runs).encode(), what, point)
    run(runs)


def count(run: Callable[[Path], None], runs: Path) -> None:
    runs.mkdir(parents=True)
    watched(run, runs, COUNT, -1)
    interposer.interposer_disarm()
    names = [interposer.interposer_name(i).decode() for i in range(interposer.interposer_count())]
    print(json.dumps({"points": names, "digest": digest(runs)}), flush=True)


def digest(runs: Path) -> str:
    """Of a campaign in which nothing is damaged."""
    ledger = Ledger(runs / "tiny" / LEDGER, read_only=True)
    assert verification.damage(runs / "tiny", ledger) == []
    return verification.digest(ledger)


def command(runs: Path) -> None:
    """The same through the command line: with report and accepted structures, and with its exit code."""
    sys.argv = ["searcher", "run", str(TINY), "--set", f"runs={runs}"]
    try:
        command_line()
    except SystemExit as ended:
        if ended.code:
            raise


def taken_up(runs: Path, what: dict[str, object], run: Callable[[Path], None] = campaign) -> None:
    """Go on in a fork, and tell the exit status and the digest."""

    def go_on() -> None:
        run(runs)
        print(json.dumps({**what, "digest": digest(runs)}))

    second = in_child(go_on)
    if second:
        print(json.dumps({**what, "second": second, "digest": None}), flush=True)


def at_point(runs: Path, mode: str, point: int) -> None:
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    run, what, again = {
        "kill": (campaign, KILL, campaign),
        "kill-command": (command, KILL, command),
        "full": (command, NO_SPACE, campaign),
    }[mode]
    taken_up(runs, {"point": point, "first": in_child(lambda: watched(run, runs, what, point))}, again)


def states(folder: Path, first: int, n: int) -> None:
    runs, copy = folder / "stopped", folder / "copy"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    child = fork(lambda: watched(campaign, runs, STOP, first))
    seen = None
    for point in range(first, first + n):
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return
        now = content(runs)
        if now != seen:
            seen = now
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(runs, copy)
            taken_up(copy, {"point": point})
        os.kill(child, signal.SIGCONT)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def content(runs: Path) -> dict[str, bytes]:
    """All files by name, by the hash of what they hold."""
    paths = sorted(path for path in runs.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).digest() for path in paths}


def instants(runs: Path, seed: int, n: int) -> None:
    draws, kills, campaigns = random.Random(seed), 0, 0
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    began = time.monotonic()
    in_child(lambda: campaign(runs / "whole"))
    longest = time.monotonic() - began
    while kills < n:
        campaigns += 1
        place = runs / str(campaigns)
        for _ in range(5):
            child = fork(partial(campaign, place))
            time.sleep(draws.uniform(0.0, 0.7 * longest))
            os.kill(child, signal.SIGKILL)
            kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        taken_up(place, {"kills": kills})
        shutil.rmtree(place)


if __name__ == "__main__":
    folder, mode, *rest = sys.argv[1:]
    InlineExecutor.map = remembered
    warm = Path(folder) / f"warm-{os.getpid()}"
    warm.mkdir(parents=True)
    campaign(warm)
    shutil.rmtree(warm)
    if mode == "count":
        codes = [in_child(partial(count, run, Path(folder) / run.__name__)) for run in (campaign, command)]
        sys.exit(max(map(abs, codes)))
    if mode == "states":
        states(Path(folder), *map(int, rest))
    elif mode == "instants":
        instants(Path(folder) / "instants", *map(int, rest))
    else:
        for number in rest:
            at_point(Path(folder) / "broken", mode, int(number))
