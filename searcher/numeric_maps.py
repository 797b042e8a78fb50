"""Pure numeric work over many items, on this machine's cores or on a Dask cluster.

The only module that uses joblib. What may end or hang a process, as potentials do, goes through an `Executor` instead.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

import joblib

from searcher.errors import EnvironmentProblem

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def mapped(
    function: Callable[[Item], Answer], items: Iterable[Item], workers: int = 1, scheduler: str = ""
) -> list[Answer]:
    """Answers in the order of the items.

    Parameters
    ----------
    workers : int
        Processes on this machine; with 1 everything happens in this one.
    scheduler : str
        Of a Dask cluster that runs: its address, or the path of its scheduler file (``.json``). Then `workers` does not
        matter.

    Raises
    ------
    EnvironmentProblem
        If the scheduler does not answer, or the extra `cluster` is not installed.
    """
    with ExitStack() as stack:
        if scheduler:
            client = stack.enter_context(_client(scheduler))
            stack.enter_context(joblib.parallel_config(backend="dask", client=client))
        parallel = joblib.Parallel(n_jobs=None if scheduler else workers)
        return list(parallel(joblib.delayed(function)(item) for item in items))


def _client(scheduler: str) -> AbstractContextManager[Any]:
    try:
        from searcher.campaign.workers.cluster import connected  # an extra of the installation
    except ModuleNotFoundError as error:
        raise EnvironmentProblem(f"a Dask cluster needs the extra `cluster` ({error.name})") from None
    return connected(scheduler)
