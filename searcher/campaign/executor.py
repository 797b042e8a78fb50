"""Where tasks run: in this process for tests, or in isolated worker processes."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, Protocol

import psutil
from pebble import ProcessExpired, ProcessPool

from searcher.errors import EnvironmentProblem, StoppedOnRequest

Task = Callable[[dict[str, Any]], dict[str, Any]]
POLL_S = 0.2
PR_SET_PDEATHSIG = 1  # of Linux's prctl
TRIES = 2


@dataclass(frozen=True)
class Outcome:
    """The answer of one task, or the reason code of its failure."""

    index: int
    result: dict[str, Any] | None
    failure: str | None = None
    message: str = ""


class Executor(Protocol):
    """Runs one function over many payloads; outcomes come in the order of completion."""

    def map(self, function: Task, payloads: Sequence[dict[str, Any]]) -> Iterator[Outcome]: ...

    def close(self) -> None: ...


class InlineExecutor:
    """Runs tasks in the driver's own process: for tests with an analytic potential."""

    def map(self, function: Task, payloads: Sequence[dict[str, Any]]) -> Iterator[Outcome]:
        for index, payload in enumerate(payloads):
            yield Outcome(index, function(payload))

    def close(self) -> None:
        """Nothing to close."""


class LocalExecutor:
    """Isolated processes on this machine.

    A task that runs past the deadline is killed from outside; a worker that dies, with whatever exit code, fails only
    its own task. Each task is tried twice before it counts as failed.

    Parameters
    ----------
    workers : int
    deadline_s : float
        Seconds per task.
    memory_gib : float
        Address space that a worker may grow by, in GiB.
    tasks_per_worker : int
        After so many tasks a worker is replaced, since the potential leaks memory.
    stop : threading.Event
        When set, no further outcome is given and `StoppedOnRequest` is raised.
    """

    def __init__(
        self, workers: int, deadline_s: float, memory_gib: float, tasks_per_worker: int, stop: Event | None = None
    ) -> None:
        self._deadline = deadline_s
        self._stop = stop or Event()
        self._notes = TemporaryDirectory(prefix="searcher-")
        self._count = 0
        self._pool = ProcessPool(
            max_workers=workers,
            max_tasks=tasks_per_worker,
            context=get_context("spawn"),
            initializer=_start_worker,
            initargs=(memory_gib,),
        )

    def map(self, function: Task, payloads: Sequence[dict[str, Any]]) -> Iterator[Outcome]:
        open_tasks = [self._submit(function, payload, index) for index, payload in enumerate(payloads)]
        try:
            while open_tasks:
                ended = [task for task in open_tasks if task.future.done() or task.worker_vanished()]
                if not ended and self._stop.wait(POLL_S):
                    raise StoppedOnRequest("stopped on request; `searcher run` with the same file goes on")
                for task in ended:
                    open_tasks.remove(task)
                    outcome = self._outcome(task)
                    if outcome.failure and task.tries < TRIES:
                        open_tasks.append(self._submit(function, payloads[task.index], task.index, task.tries + 1))
                    else:
                        yield outcome
        finally:
            for task in open_tasks:
                task.future.cancel()

    def close(self) -> None:
        self._pool.stop()
        self._pool.join()
        self._notes.cleanup()

    def _submit(self, function: Task, payload: dict[str, Any], index: int, tries: int = 1) -> "_Submitted":
        self._count += 1
        note = Path(self._notes.name) / str(self._count)
        future = self._pool.schedule(_noted, args=(function, payload, str(note)), timeout=self._deadline)
        return _Submitted(future, index, tries, note)

    def _outcome(self, task: "_Submitted") -> Outcome:
        index = task.index
        if not task.future.done():
            task.future.cancel()
            return Outcome(index, None, "worker_died", "the worker ended without an answer")
        error = task.future.exception()
        if error is None:
            return Outcome(index, task.future.result())
        if isinstance(error, TimeoutError):
            return Outcome(index, None, "timeout", f"no answer within {self._deadline:g} s")
        if isinstance(error, ProcessExpired):
            return Outcome(index, None, "worker_died", f"the worker ended with code {error.exitcode}")
        if isinstance(error, MemoryError):
            return Outcome(index, None, "out_of_memory", "the worker reached its memory limit")
        raise EnvironmentProblem(f"a worker cannot do its task: {error}") from error


@dataclass
class _Submitted:
    """A task that a worker has or will have, and the note in which that worker leaves its process id."""

    future: Future[dict[str, Any]]
    index: int
    tries: int
    note: Path
    seen_dead: bool = False

    def worker_vanished(self) -> bool:
        """Whether the worker is gone though the pool did not notice, as it does not for exit code 0.

        True at the second look only, since an answer may still be under way.
        """
        if not self.note.exists():
            return False
        pid = self.note.read_text(encoding="ascii")
        dead = pid != "" and not _alive(int(pid))
        vanished, self.seen_dead = dead and self.seen_dead, dead
        return vanished


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _noted(function: Task, payload: dict[str, Any], note: str) -> dict[str, Any]:
    Path(note).write_text(str(os.getpid()), encoding="ascii")
    return function(payload)


def _start_worker(memory_gib: float) -> None:
    """Limit the worker's memory, and let it die with the driver: a GAP call would go on for minutes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    size = int(memory_gib * 2**30)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size, hard))
