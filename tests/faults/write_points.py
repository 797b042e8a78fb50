"""Runs the tiny campaign under the interposer: ``write_points.py FOLDER count``, or ``kill``, ``full`` with points.

Prints one JSON object per line. Each run is a fork of this process, which has imported everything and computed nothing.
"""

import ctypes
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from threading import Event

from rich.console import Console

from searcher.campaign import gan_arm, verification
from searcher.campaign.campaign import open_campaign
from searcher.campaign.ledger import LEDGER, Ledger
from searcher.campaign.loop import run_campaign
from searcher.cli import main as command_line
from searcher.loading import load_config

COUNT, KILL, NO_SPACE = range(3)
TINY = Path(__file__).parents[1] / "configs" / "tiny.yaml"
LONGEST_S = 240
assert gan_arm  # torch and the networks are imported before the first fork

interposer = ctypes.CDLL(None)
interposer.interposer_name.restype = ctypes.c_char_p
interposer.interposer_count.restype = ctypes.c_long
interposer.interposer_arm.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_long)


def in_child(action: Callable[[], None]) -> int:
    """Exit status of an action in a fork; negative for a signal."""
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
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def campaign(runs: Path) -> None:
    opened = open_campaign(load_config(TINY, [f"runs={runs}"]), Event())
    try:
        run_campaign(opened, Console(quiet=True), lambda *_: None)
    finally:
        opened.close()


def count(runs: Path) -> None:
    runs.mkdir(parents=True)
    interposer.interposer_arm(str(runs).encode(), COUNT, -1)
    campaign(runs)
    interposer.interposer_disarm()
    names = [interposer.interposer_name(i).decode() for i in range(interposer.interposer_count())]
    print(json.dumps({"points": names, "digest": digest(runs)}), flush=True)


def digest(runs: Path) -> str:
    """Of a campaign in which nothing is damaged."""
    ledger = Ledger(runs / "tiny" / LEDGER, read_only=True)
    assert verification.damage(runs / "tiny", ledger) == []
    return verification.digest(ledger)


def command(runs: Path) -> None:
    """The same through the command line, for its exit code."""
    sys.argv = ["searcher", "run", str(TINY), "--set", f"runs={runs}"]
    command_line()


def at_point(runs: Path, what: int, point: int) -> None:
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)

    def broken() -> None:
        interposer.interposer_arm(str(runs).encode(), what, point)
        (campaign if what == KILL else command)(runs)

    first = in_child(broken)
    second = in_child(lambda: campaign(runs))
    told = {"point": point, "first": first, "second": second}
    if in_child(lambda: print(json.dumps({**told, "digest": digest(runs)}))):
        print(json.dumps({**told, "digest": None}), flush=True)


if __name__ == "__main__":
    folder, mode, *chosen = sys.argv[1:]
    if mode == "count":
        sys.exit(in_child(lambda: count(Path(folder) / "whole")))
    for number in chosen:
        at_point(Path(folder) / "broken", {"kill": KILL, "full": NO_SPACE}[mode], int(number))
