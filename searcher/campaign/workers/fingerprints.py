"""SOAP vectors of stored structures, computed in workers and kept while the driver runs."""

from collections.abc import Iterable, Mapping

from ase import Atoms

from searcher.campaign.workers.executor import Executor
from searcher.errors import SearchFailed
from searcher.scoring.descriptors import (
    LocalVectors,
    SoapSettings,
    collect_described,
    describe_payload,
    describe_task,
)

CHUNK = 32


class Fingerprints:
    """Descriptors by structure key.

    Parameters
    ----------
    executor : Executor
    settings : SoapSettings
    """

    def __init__(self, executor: Executor, settings: SoapSettings) -> None:
        self._executor = executor
        self._settings = settings
        self._kept: dict[str, LocalVectors | None] = {}

    def of(self, structures: Mapping[str, Atoms]) -> dict[str, LocalVectors | None]:
        """Vectors of all atoms of each structure; None where a structure cannot be described.

        Raises
        ------
        SearchFailed
            If a worker did not answer.
        """
        missing = [key for key in structures if key not in self._kept]
        chunks = [missing[i : i + CHUNK] for i in range(0, len(missing), CHUNK)]
        payloads = [describe_payload([structures[key] for key in chunk], self._settings) for chunk in chunks]
        for outcome in self._executor.map(describe_task, payloads):
            if outcome.result is None:
                raise SearchFailed(f"SOAP vectors could not be computed: {outcome.failure}, {outcome.message}")
            for key, vectors in zip(chunks[outcome.index], collect_described(outcome.result), strict=True):
                self._kept[key] = vectors
        return {key: self._kept[key] for key in structures}

    def forget(self, keys: Iterable[str]) -> None:
        """Drop vectors that will not be asked for again."""
        for key in keys:
            self._kept.pop(key, None)
