"""Requests to stop: signals and the wall time, answered in time and without leaving processes behind."""

import os
import signal
import threading
import time
from types import FrameType

import psutil

from searcher.errors import StoppedOnRequest

INTERRUPTED = 130
ANSWER_WITHIN_S = 30.0
"""From a request to the end of the process."""
END_AT_S = 27.0
"""When what has not ended by itself is ended; the ledger loses nothing by that."""
POLL_S = 0.1


class StopRequest(threading.Event):
    """Set by whatever asks a campaign to stop; remembers what it was and when.

    It holds no lock, which a signal's handler could find held by the very code that it interrupts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reason = "stopped on request"
        self.exit_code = StoppedOnRequest.exit_code
        self._asked_at: float | None = None

    def is_set(self) -> bool:
        return self._asked_at is not None

    def set(self) -> None:
        self.ask(self.reason)

    def wait(self, timeout: float | None = None) -> bool:
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while not self.is_set() and time.monotonic() < end:
            time.sleep(min(POLL_S, max(0.0, end - time.monotonic())))
        return self.is_set()

    def ask(self, reason: str, exit_code: int = StoppedOnRequest.exit_code) -> None:
        """Ask the campaign to stop; only the first request counts."""
        if not self.is_set():
            self.reason, self.exit_code = reason, exit_code
            self._asked_at = time.monotonic()

    def seconds_left(self) -> float:
        """Until the process is ended; all of `END_AT_S` before anything was asked."""
        now = time.monotonic()
        return max(0.0, (now if self._asked_at is None else self._asked_at) + END_AT_S - now)


def stopped(stop: threading.Event) -> StoppedOnRequest:
    """The exception that ends a campaign that was asked to stop."""
    reason = stop.reason if isinstance(stop, StopRequest) else "stopped on request"
    return StoppedOnRequest(f"{reason}; `searcher run` with the same file goes on")


def stop_if_asked(stop: threading.Event) -> None:
    """End here if asked to.

    Raises
    ------
    StoppedOnRequest
    """
    if stop.is_set():
        raise stopped(stop)


def answer_signals(stop: StopRequest) -> None:
    """SIGTERM and SIGUSR1 (a cluster's warning) ask to stop; so does the first Ctrl-C, and the second ends at once.

    From a request on, the process ends within `ANSWER_WITHIN_S`, whatever it is doing.
    """

    def asked(number: int, frame: FrameType | None) -> None:
        stop.ask(f"stopped by {signal.Signals(number).name}")

    def interrupted(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            end_now(INTERRUPTED)
        stop.ask("interrupted, once more ends it at once", INTERRUPTED)

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGUSR1, asked)
    signal.signal(signal.SIGINT, interrupted)
    threading.Thread(target=_end_in_time, args=(stop,), daemon=True, name="stop").start()


def stop_before_wall_time(stop: StopRequest, hours: float) -> None:
    """Ask to stop so early that everything is saved when the wall time, counted from the process's start, is over."""
    wall_time = hours * 3600
    early = max(0.9 * wall_time, wall_time - ANSWER_WITHIN_S)
    left = early - (time.time() - psutil.Process().create_time())

    def ask_in_time() -> None:
        if not stop.wait(left):
            stop.ask(f"the wall time of {hours:g} h is used up")

    threading.Thread(target=ask_in_time, daemon=True, name="wall time").start()


def end_now(exit_code: int) -> None:
    """End this process and all that it started."""
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    os._exit(exit_code)


def _end_in_time(stop: StopRequest) -> None:
    stop.wait()
    time.sleep(stop.seconds_left())
    end_now(stop.exit_code)
