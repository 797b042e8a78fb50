"""Stop criteria that tests inject by import path."""

from collections.abc import Callable

from ase import Atoms


def stop_after(calls: int) -> Callable[[Atoms, float, int], str | None]:
    """A criterion that has enough after so many force calls."""

    def criterion(atoms: Atoms, energy: float, made: int) -> str | None:
        return "enough" if made >= calls else None

    return criterion
