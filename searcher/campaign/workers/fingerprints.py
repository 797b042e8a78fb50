"""SOAP vectors of stored structures, computed in workers and kept while the driver runs."""

from collections.abc import Iterable, Mapping, Sequence

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

    def of(self, structures: Mapping[str, Atoms], poison: bool = False) -> dict[str, LocalVectors | None]:
        """Vectors of all atoms of each structure; None where a structure cannot be described.

        Parameters
        ----------
        structures : mapping of str to ase.Atoms
        poison : bool
            Whether a structure may be set aside, too, for which every worker died or gave no answer in time. Of known
            structures none may: without it a duplicate would pass as novel.

        Raises
        ------
        SearchFailed
            If workers gave no answer for a structure that may not be set aside.
        """
        missing = [key for key in structures if key not in self._kept]
        chunks = [missing[i : i + CHUNK] for i in range(0, len(missing), CHUNK)]
        together = self._describe(structures, chunks)
        alone = self._describe(structures, [[key] for chunk in together for key in chunk])
        if alone and not poison:
            ((key, *_), why) = next(iter(alone.items()))
            raise SearchFailed(f"SOAP vectors of structure `{key}` could not be computed: {why}")
        return {key: self._kept.get(key) for key in structures}

    def _describe(self, structures: Mapping[str, Atoms], chunks: Sequence[Sequence[str]]) -> dict[tuple[str, ...], str]:
        """Keep the vectors of every chunk that is answered; the others with the reason why not."""
        unanswered = {}
        payloads = [describe_payload([structures[key] for key in chunk], self._settings) for chunk in chunks]
        for outcome in self._executor.map(describe_task, payloads):
            chunk = chunks[outcome.index]
            if outcome.result is None:
                unanswered[tuple(chunk)] = f"{outcome.failure}, {outcome.message}"
                continue
            for key, vectors in zip(chunk, collect_described(outcome.result), strict=True):
                self._kept[key] = vectors
        return unanswered

    def forget(self, keys: Iterable[str]) -> None:
        """Drop vectors that will not be asked for again."""
        for key in keys:
            self._kept.pop(key, None)
