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
        found, why = self._described({key: structures[key] for key in structures if key not in self._kept})
        self._kept |= found
        if why and not poison:
            key, reason = next(iter(why.items()))
            raise SearchFailed(f"SOAP vectors of structure `{key}` could not be computed: {reason}")
        return {key: self._kept.get(key) for key in structures}

    def of_free(self, structures: Mapping[str, Atoms], n_frozen: int) -> dict[str, LocalVectors]:
        """Vectors of the atoms above the frozen ones, of many structures that will not be asked for again.

        What cannot be described, or what every worker died of, is left out; nothing is kept.
        """
        found, _ = self._described(structures, n_frozen)
        return {key: vectors for key in structures if (vectors := found.get(key)) is not None}

    def _described(
        self, structures: Mapping[str, Atoms], n_frozen: int = 0
    ) -> tuple[dict[str, LocalVectors | None], dict[str, str]]:
        """Vectors of the atoms from `n_frozen` on, and why there was no answer for the others."""
        keys = list(structures)
        found: dict[str, LocalVectors | None] = {}
        chunks = [keys[i : i + CHUNK] for i in range(0, len(keys), CHUNK)]
        together = self._asked(structures, chunks, n_frozen, found)
        # what shares a chunk with a structure that ends its worker is asked for alone
        alone = self._asked(structures, [[key] for chunk in together for key in chunk], n_frozen, found)
        return found, {key: why for (key,), why in alone.items()}

    def _asked(
        self,
        structures: Mapping[str, Atoms],
        chunks: Sequence[Sequence[str]],
        n_frozen: int,
        found: dict[str, LocalVectors | None],
    ) -> dict[tuple[str, ...], str]:
        """Add the vectors of every chunk that is answered; the others with the reason why not."""
        unanswered = {}
        payloads = []
        for chunk in chunks:
            slabs = [structures[key] for key in chunk]
            payloads.append(describe_payload(slabs, self._settings, [range(n_frozen, len(atoms)) for atoms in slabs]))
        for outcome in self._executor.map(describe_task, payloads):
            chunk = chunks[outcome.index]
            if outcome.result is None:
                unanswered[tuple(chunk)] = f"{outcome.failure}, {outcome.message}"
            else:
                found |= dict(zip(chunk, collect_described(outcome.result), strict=True))
        return unanswered

    def forget(self, keys: Iterable[str]) -> None:
        """Drop vectors that will not be asked for again."""
        for key in keys:
            self._kept.pop(key, None)
