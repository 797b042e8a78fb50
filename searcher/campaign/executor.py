"""Where tasks run: in this process for tests, or in isolated worker processes."""

import resource
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import get_context
from threading import Event
from typing import Any, Protocol

from pebble import ProcessExpired, ProcessPool

from searcher.errors import EnvironmentProblem, StoppedOnRequest

Task = Callable[[dict[str, Any]], dict[str, Any]]
POLL_S = 0.2
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
        self._pool = ProcessPool(
            max_workers=workers,
            max_tasks=tasks_per_worker,
            context=get_context("spawn"),
            initializer=_limit_memory,
            initargs=(memory_gib,),
        )

    def map(self, function: Task, payloads: Sequence[dict[str, Any]]) -> Iterator[Outcome]:
        open_tasks = {self._submit(function, payload): (i, 1) for i, payload in enumerate(payloads)}
        try:
            while open_tasks:
                finished = [future for future in open_tasks if future.done()]
                if not finished:
                    if self._stop.wait(POLL_S):
                        raise StoppedOnRequest("stopped on request; `searcher run` with the same file goes on")
                    continue
                for future in finished:
                    index, tries = open_tasks.pop(future)
                    outcome = self._outcome(index, future)
                    if outcome.failure and tries < TRIES:
                        open_tasks[self._submit(function, payloads[index])] = (index, tries + 1)
                    else:
                        yield outcome
        finally:
            for future in open_tasks:
                future.cancel()

    def close(self) -> None:
        self._pool.stop()
        self._pool.join()

    def _submit(self, function: Task, payload: dict[str, Any]) -> Future[dict[str, Any]]:
        return self._pool.schedule(function, args=(payload,), timeout=self._deadline)

    def _outcome(self, index: int, future: Future[dict[str, Any]]) -> Outcome:
        error = future.exception()
        if error is None:
            return Outcome(index, future.result())
        if isinstance(error, TimeoutError):
            return Outcome(index, None, "timeout", f"no answer within {self._deadline:g} s")
        if isinstance(error, ProcessExpired):
            return Outcome(index, None, "worker_died", f"the worker ended with code {error.exitcode}")
        if isinstance(error, MemoryError):
            return Outcome(index, None, "out_of_memory", "the worker reached its memory limit")
        raise EnvironmentProblem(f"a worker cannot do its task: {error}") from error


def _limit_memory(memory_gib: float) -> None:
    size = int(memory_gib * 2**30)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size, hard))
