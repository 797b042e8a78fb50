"""Hops of basin hopping: what one move of one chain led to, and the folder that keeps them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from generators.template import Template
from searcher.errors import InputError, StorageError
from searcher.files import write_text

IDENTITY = "identity.json"


@dataclass(frozen=True)
class Hop:
    """One move of one chain, from its proposal to the Metropolis decision.

    Attributes
    ----------
    move : str
        ``start``, ``displacement``, ``insertion``, ``removal``, ``relocation``.
    draws : int
        Proposals drawn until one was fit to be relaxed.
    reason : str or None
        Why there is no valid minimum: a code of the proposal, the relaxation, the executor, or ``relaxed_`` and one of
        the validity rules.
    accepted : bool
        Whether the chain went to this minimum.
    energy : float or None
        In eV, of a valid minimum.
    numbers, positions : list
        Free atoms of a valid minimum, positions in Å.
    path : list of (int, float, list)
        Snapshots: force call, energy in eV above the minimum, positions of the free atoms in Å.
    current : (int, int)
        Step and chain of the hop whose minimum the chain stands on afterwards.
    generator : dict
        State of the chain's random generator afterwards.
    """

    step: int
    chain: int
    move: str
    draws: int
    reason: str | None
    accepted: bool
    force_calls: int
    current: tuple[int, int]
    generator: dict[str, Any]
    energy: float | None = None
    numbers: list[int] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    path: list[tuple[int, float, list[list[float]]]] = field(default_factory=list)

    def atoms(self, template: Template) -> Atoms:
        """The minimum on its template."""
        return template.assemble(np.array(self.numbers, dtype=int), np.array(self.positions))


class HopFolder:
    """One file per step, each complete or not there; what was written is never changed.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it does not exist.
    identity : dict
        JSON values on which the hops depend.

    Raises
    ------
    InputError
        If the folder holds hops of another identity.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        identity = json.loads(json.dumps(identity))
        if (folder / IDENTITY).is_file():
            stored = _read_json(folder / IDENTITY)
            changed = sorted(key for key in {*stored, *identity} if stored.get(key) != identity.get(key))
            if changed:
                raise InputError(
                    f"`{folder}` holds basin hopping with `{changed[0]}` {stored.get(changed[0])}, now it is "
                    f"{identity.get(changed[0])}; take another folder, or the former value to go on"
                )
        else:
            _write_json(folder / IDENTITY, identity)

    def write(self, step: int, hops: Sequence[Hop]) -> None:
        """Keep the hops of a step."""
        _write_json(self.folder / f"step-{step:06d}.json", [asdict(hop) for hop in hops])


def read_hops(folder: Path) -> list[list[Hop]]:
    """Hops by step and chain.

    Raises
    ------
    StorageError
        If a file is damaged or a step is missing.
    """
    paths = sorted(folder.glob("step-*.json"))
    for step, path in enumerate(paths):
        if path.name != f"step-{step:06d}.json":
            raise StorageError(f"`{folder}` lacks `step-{step:06d}.json`: a step of the chains was deleted")
    return [[Hop(**{**row, "current": tuple(row["current"])}) for row in _read_json(path)] for path in paths]


def hop_counts(hops: Iterable[Hop]) -> dict[str, int]:
    """How many hops passed each gate, the force calls spent, and how often each reason occurred (``reason:CODE``)."""
    moves = [hop for hop in hops if hop.move != "start"]
    counts = {
        "hops": len(moves),
        "draws": sum(hop.draws for hop in moves),
        "relaxed": sum(hop.force_calls > 0 for hop in moves),
        "valid": sum(hop.reason is None for hop in moves),
        "accepted": sum(hop.accepted for hop in moves),
        "force_calls": sum(hop.force_calls for hop in moves),
    }
    for code in sorted({hop.reason for hop in moves if hop.reason is not None}):
        counts[f"reason:{code}"] = sum(hop.reason == code for hop in moves)
    return counts


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise StorageError(f"`{path}` is damaged ({error}); delete it and later steps to go on from there") from None


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, allow_nan=False))
