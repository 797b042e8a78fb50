"""Tasks on the workers of a Dask cluster; what Dask forgets, the ledger knows.

The only module that uses `distributed`.
"""

import hashlib
import multiprocessing
import pickle
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Event
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError, FutureCancelledError

from searcher.campaign.stopping import stopped
from searcher.campaign.workers.executor import LocalExecutor, Outcome, Task
from searcher.errors import EnvironmentProblem

POLL_S = 0.2
CONNECT_S = 30.0
AWAIT_SCHEDULER_S = 600.0
"""How long a scheduler that has gone may take to come back."""
ALLOWED_LOSSES = 3
"""How often a task may lose its worker before it counts as what kills workers."""
FORGOTTEN_S = 1.0
"""until a client no longer takes a lost task for one that is done"""
RETURNED, LOST, FAILED = "finished", ("cancelled", "lost"), "error"


class DaskExecutor:
    """Runs tasks on a Dask cluster whose scheduler already runs.

    Each Dask worker keeps one isolated process of its own, as on a single machine: deadline, memory limit and the
    second try of a task are the same, and a worker whose task hangs can still answer its scheduler. A worker, nanny or
    scheduler that is lost costs only what had not been returned.

    Parameters
    ----------
    scheduler : str
        Its address, or the path of its scheduler file (``.json``).
    deadline_s, memory_gib, tasks_per_worker : float, float, int
        As for `LocalExecutor`.
    stop : threading.Event

    Raises
    ------
    EnvironmentProblem
        If the scheduler does not answer.
    """

    def __init__(
        self, scheduler: str, deadline_s: float, memory_gib: float, tasks_per_worker: int, stop: Event | None = None
    ) -> None:
        self._scheduler = scheduler
        self._limits = (deadline_s, memory_gib, tasks_per_worker)
        self._stop = stop or Event()
        self._client = self._connected(CONNECT_S)

    def map(self, function: Task, payloads: Sequence[dict[str, Any]]) -> Iterator[Outcome]:
        open_tasks = {index: self._submitted(function, payload) for index, payload in enumerate(payloads)}
        losses = dict.fromkeys(open_tasks, 0)
        again: dict[int, float] = {}
        try:
            while open_tasks or again:
                ended = [index for index, future in open_tasks.items() if future.status != "pending"]
                if self._stop.is_set() or (not ended and self._stop.wait(POLL_S)):
                    raise stopped(self._stop)
                if self._client.scheduler is None or self._client.status not in ("running", "connecting"):
                    self._client = self._connected(AWAIT_SCHEDULER_S)
                for index in ended:
                    outcome = self._outcome(index, open_tasks.pop(index))
                    if outcome is not None:
                        yield outcome
                        continue
                    losses[index] += 1
                    if losses[index] > ALLOWED_LOSSES * 10:
                        raise EnvironmentProblem(f"the cluster at `{self._scheduler}` loses every task")
                    again[index] = time.monotonic() + FORGOTTEN_S
                for index in [index for index, due in again.items() if time.monotonic() > due]:
                    del again[index]
                    open_tasks[index] = self._submitted(function, payloads[index])
        finally:
            with suppress(OSError, TimeoutError):
                self._client.cancel(list(open_tasks.values()), force=True)

    def close(self) -> None:
        self._client.close(timeout=5)

    def _submit(self, function: Task, payload: dict[str, Any]) -> Future:
        content = hashlib.sha256(pickle.dumps((function.__module__, function.__name__, payload))).hexdigest()
        key = f"{function.__name__}-{content[:32]}"
        return self._client.submit(isolated, function, payload, *self._limits, key=key, retries=0)

    def _submitted(self, function: Task, payload: dict[str, Any]) -> Future:
        """A task on a scheduler that may have been started anew, since the last batch or the last try."""
        end = time.monotonic() + AWAIT_SCHEDULER_S
        while True:
            try:
                return self._submit(function, payload)
            except (OSError, TimeoutError, RuntimeError, FutureCancelledError, ClosedClientError):
                if time.monotonic() > end:
                    raise EnvironmentProblem(f"the scheduler at `{self._scheduler}` does not come back") from None
                if self._stop.wait(POLL_S):
                    raise stopped(self._stop) from None
                self._client.close(timeout=1)
                self._client = self._connected(end - time.monotonic())

    def _outcome(self, index: int, future: Future) -> Outcome | None:
        """A task's outcome, or None if it was lost on the way."""
        if future.status == RETURNED:
            try:
                return replace(future.result(timeout=CONNECT_S), index=index)
            except (OSError, TimeoutError, FutureCancelledError):
                return None
        if future.status in LOST:
            return None
        error = future.exception(timeout=CONNECT_S)
        if isinstance(error, KilledWorker):
            return Outcome(index, None, "worker_died", f"its workers died {ALLOWED_LOSSES} times")
        if isinstance(error, FutureCancelledError | OSError):
            return None
        raise EnvironmentProblem(f"a worker of `{self._scheduler}` cannot do its task: {error}") from error

    def _connected(self, within_s: float) -> Client:
        end = time.monotonic() + within_s
        while True:
            try:
                return Client(**where(self._scheduler), timeout=5, set_as_default=False, name="searcher")
            except (OSError, TimeoutError, ValueError) as error:
                if time.monotonic() > end:
                    raise EnvironmentProblem(
                        f"`execution.scheduler`: nothing answers at `{self._scheduler}` ({error}); start it, then "
                        "`searcher run` goes on"
                    ) from None
                if self._stop.wait(POLL_S):
                    raise stopped(self._stop) from None


def connected(scheduler: str) -> Client:
    """A client, to be closed by its context.

    Raises
    ------
    EnvironmentProblem
        If nothing answers.
    """
    try:
        return Client(**where(scheduler), timeout=CONNECT_S, set_as_default=False, name="searcher")
    except (OSError, TimeoutError, ValueError) as error:
        raise EnvironmentProblem(f"nothing answers at `{scheduler}` ({error})") from None


def where(scheduler: str) -> dict[str, str]:
    """The argument of `Client` that an address or a scheduler file is."""
    return {"scheduler_file" if scheduler.endswith(".json") else "address": scheduler}


_isolating: dict[tuple[float, float, int], LocalExecutor] = {}
"""this Dask worker's isolated process, by its limits"""


def isolated(
    function: Task, payload: dict[str, Any], deadline_s: float, memory_gib: float, tasks_per_worker: int
) -> Outcome:
    """On a Dask worker: one task in the isolated process that the worker keeps."""
    if multiprocessing.current_process().daemon:
        raise ValueError("workers must be started with DASK_DISTRIBUTED__WORKER__DAEMON=False in their environment")
    limits = (deadline_s, memory_gib, tasks_per_worker)
    if limits not in _isolating:
        _isolating[limits] = LocalExecutor(1, *limits)
    return next(iter(_isolating[limits].map(function, [payload])))
