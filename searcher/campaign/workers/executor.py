"""Where tasks run: in this process for tests, or in isolated worker processes."""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, NoReturn, Protocol

import psutil
from pebble import ProcessExpired, ProcessPool

from relax.lifetime import end_with_parent
from searcher.campaign.stopping import stopped
from searcher.errors import EnvironmentProblem

Task = Callable[[dict[str, Any]], dict[str, Any]]
FIRST_POLL_S, POLL_S = 0.002, 0.2
"""Between looks at tasks: after one that has ended, and at most"""
TRIES = 2
ANSWER_UNDER_WAY_S = 1.0
"""from a worker's end until its answer must have reached the driver"""
RECYCLE_SHARE = 0.5
"""Of its memory limit; a worker that has come to hold more is replaced before its next task."""
RECYCLED, OUT_OF_MEMORY = "recycled", "out_of_memory"
"""Why a worker gives up its process; it says so in its note and waits for its end."""
GIVING_UP = {reason: f" {reason}".encode() for reason in (RECYCLED, OUT_OF_MEMORY)}


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

    def __init__(self, stop: Event | None = None) -> None:
        self._stop = stop or Event()

    def map(self, function: Task, payloads: Sequence[dict[str, Any]]) -> Iterator[Outcome]:
        for index, payload in enumerate(payloads):
            if self._stop.is_set():
                raise stopped(self._stop)
            yield Outcome(index, function(payload))

    def close(self) -> None:
        """Nothing to close."""


class LocalExecutor:
    """Isolated processes on this machine.

    A task that runs past the deadline is killed from outside; a worker that dies, with whatever exit code, fails only
    its own task. Each task is tried twice before it counts as failed. A worker that memory has leaked into is replaced
    between two tasks, and one that reaches its limit within a task leaves that task to a fresh one.

    Parameters
    ----------
    workers : int
    deadline_s : float
        Seconds per task.
    memory_gib : float
        Limit of a worker's data, in GiB.
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
        self._new_pool = partial(
            ProcessPool,
            max_workers=workers,
            max_tasks=tasks_per_worker,
            context=get_context("spawn"),
            initializer=_start_worker,
            initargs=(memory_gib,),
        )
        self._pool = self._new_pool()

    def map(self, function: Task, payloads: Sequence[dict[str, Any]]) -> Iterator[Outcome]:
        open_tasks = [self._submit(function, payload, index) for index, payload in enumerate(payloads)]
        broken_for_nothing, pause = 0, FIRST_POLL_S
        try:
            while open_tasks:
                broken = not self._pool.active
                ended = [task for task in open_tasks if task.ended(broken)]
                if self._stop.is_set() or (not (ended or broken) and self._stop.wait(pause)):
                    raise stopped(self._stop)
                pause = FIRST_POLL_S if ended else min(2 * pause, POLL_S)
                if broken:
                    broken_for_nothing += not ended
                    self._renew_pool(broken_for_nothing)
                    lost = [task for task in open_tasks if task not in ended]
                    anew = [self._submit(function, payloads[task.index], task.index, task.tries) for task in lost]
                    open_tasks = [*ended, *anew]
                for task in ended:
                    open_tasks.remove(task)
                    outcome = self._outcome(task)
                    task.note.unlink(missing_ok=True)
                    if outcome.failure and self._stop.is_set():
                        raise stopped(self._stop)  # the signal may have reached the workers as well
                    if outcome.failure == RECYCLED:
                        open_tasks.append(self._submit(function, payloads[task.index], task.index, task.tries))
                    elif outcome.failure and task.tries < TRIES:
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
        future: Future[dict[str, Any]]
        try:
            future = self._pool.schedule(_noted, args=(function, payload, str(note)), timeout=self._deadline)
        except RuntimeError as error:  # the pool has just broken; `map` sees it
            future = Future()
            future.set_exception(BrokenProcessPool(str(error)))
        return _Submitted(future, index, tries, note)

    def _renew_pool(self, broken_for_nothing: int) -> None:
        """A pool breaks if a worker ends before the pool has read what it was at; its tasks begin anew in another."""
        if broken_for_nothing > TRIES:
            raise EnvironmentProblem(
                "the workers end before they begin a task: there is too little memory for them, or the script that "
                'starts them makes its calls outside of `if __name__ == "__main__":`, so that workers repeat it'
            )
        self._pool.stop()
        self._pool.join()
        self._pool = self._new_pool()

    def _outcome(self, task: "_Submitted") -> Outcome:
        index = task.index
        if not task.answered():
            task.future.cancel()
            if reason := task.given_up():
                return Outcome(index, None, reason, "the worker reached its memory limit")
            return Outcome(index, None, "worker_died", "the worker ended without an answer")
        error = task.future.exception()
        if error is None:
            return Outcome(index, task.future.result())
        if isinstance(error, TimeoutError):
            return Outcome(index, None, "timeout", f"no answer within {self._deadline:g} s")
        if isinstance(error, ProcessExpired):
            return Outcome(index, None, "worker_died", f"the worker ended with code {error.exitcode}")
        raise EnvironmentProblem(f"a worker cannot do its task: {error}") from error


@dataclass
class _Submitted:
    """A task that a worker has or will have, and the note in which that worker leaves its process id.

    Behind the id stands why the worker gave up, if it did. It does not end by itself: the pool loses the task of a
    worker that is gone before the pool has read that it took the task.
    """

    future: Future[dict[str, Any]]
    index: int
    tries: int
    note: Path
    dead_since: float | None = None

    def ended(self, broken: bool) -> bool:
        """Whether there is an answer, or will never be one; of a broken pool none is under way."""
        if self.answered():
            return True
        if broken:
            return self.given_up() is not None or self._dead()
        return (self.given_up() is not None and self.future.running()) or self.worker_vanished()

    def answered(self) -> bool:
        if self.future.cancelled() or not self.future.done():
            return False
        return not isinstance(self.future.exception(), BrokenProcessPool)

    def given_up(self) -> str | None:
        """Why the worker gave up, if it did."""
        words = self._words()
        return words[1] if len(words) > 1 else None

    def worker_vanished(self) -> bool:
        """Whether the worker is gone though the pool did not notice, as it does not for exit code 0.

        Some time after its end only, since an answer may still be under way.
        """
        if not self._dead():
            self.dead_since = None
            return False
        now = time.monotonic()
        self.dead_since = self.dead_since or now
        return now - self.dead_since > ANSWER_UNDER_WAY_S

    def _dead(self) -> bool:
        words = self._words()
        return bool(words) and not _alive(int(words[0]))

    def _words(self) -> list[str]:
        return self.note.read_text(encoding="ascii").split() if self.note.exists() else []


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@dataclass
class _Worker:
    """What a worker process knows about itself."""

    memory_limit: float = 0.0
    """bytes"""
    tasks_done: int = 0


_worker = _Worker()


def _noted(function: Task, payload: dict[str, Any], note: str) -> dict[str, Any]:
    descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, str(os.getpid()).encode())
    if _worker.tasks_done and psutil.Process().memory_info().rss > RECYCLE_SHARE * _worker.memory_limit:
        _give_up(descriptor, RECYCLED)
    try:
        answer = function(payload)
    except MemoryError:
        _give_up(descriptor, OUT_OF_MEMORY)  # what filled the memory may be still there
    os.close(descriptor)
    _worker.tasks_done += 1
    return answer


def _give_up(descriptor: int, reason: str) -> NoReturn:
    """Say why in the note, without asking for memory, and wait for the driver to end this process."""
    os.write(descriptor, GIVING_UP[reason])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        signal.pause()


def _start_worker(memory_gib: float) -> None:
    """Limit the worker's memory, leave signals to the driver, and die with it: a GAP call would go on for minutes."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    _worker.memory_limit = memory_gib * 2**30
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(_worker.memory_limit), hard))
