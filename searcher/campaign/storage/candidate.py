"""One proposed structure and how far it came."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from searcher.errors import StorageError
from searcher.scoring.thermodynamics import Line

PREPARATION = -1
"""the iteration of what happens once before the first: references, seeds, known structures"""


class Gate(IntEnum):
    """Gates in the order in which a candidate passes them; a funnel counts the last one passed."""

    PROPOSED = 0
    DECODED = 1
    VALID = 2
    SELECTED = 3
    CONVERGED = 4
    VALID_RELAXED = 5
    UNIQUE = 6
    NOVEL = 7
    ACCEPTED = 8


class Verdict:
    """What a candidate ended as; anything but `OPEN` is final."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"
    REFERENCE = "reference"
    """seeds and known structures, which nothing judges"""


@dataclass(frozen=True)
class Candidate:
    """A row of the ledger.

    Attributes
    ----------
    id : str
        ``ITERATION-ARM-INDEX``.
    passed : Gate
        Last gate passed.
    verdict, reason : str
        See `Verdict`; the reason code says why it went no further.
    proposed, relaxed : str or None
        Keys of the structures before and after relaxation.
    gamma_zero : float or None
        γ in eV/Å² at Δμ_O = 0; `gamma_slope` is dγ/dΔμ_O in 1/Å².
    """

    id: str
    iteration: int
    arm: str
    index: int
    seed: int
    passed: Gate = Gate.PROPOSED
    verdict: str = Verdict.OPEN
    reason: str | None = None
    condition: Mapping[str, int | float] = field(default_factory=dict)
    confidence: float | None = None
    proposed: str | None = None
    relaxed: str | None = None
    force_calls: int = 0
    fmax: float | None = None
    gamma_zero: float | None = None
    gamma_slope: float | None = None
    energy_class: int | None = None
    kappa: float | None = None
    nearest: str | None = None
    above_envelope: float | None = None
    """smallest distance in eV/Å² from the envelope of the known over the allowed Δμ_O"""
    label: str | None = None
    """name of a termination by construction, for example ``110-O-rich``"""

    @property
    def finished(self) -> bool:
        return self.verdict != Verdict.OPEN

    @property
    def line(self) -> Line | None:
        """γ(Δμ_O), or None if it was not relaxed to a valid minimum."""
        if self.gamma_zero is None or self.gamma_slope is None:
            return None
        return Line(self.gamma_zero, self.gamma_slope)

    @property
    def measured_line(self) -> Line:
        """γ(Δμ_O) of a minimum.

        Raises
        ------
        StorageError
            If the ledger has none.
        """
        if self.line is None:
            raise StorageError(f"candidate `{self.id}` counts as a minimum but the ledger has no surface energy of it")
        return self.line


def candidate_id(iteration: int, arm: str, index: int) -> str:
    """The id of the `index`-th proposal of an arm in an iteration; ``prep`` stands for what precedes the first."""
    return f"{f'{iteration:03d}' if iteration >= 0 else 'prep'}-{arm}-{index:05d}"


def spawn_seed(campaign_seed: int, iteration: int, arm: str, index: int) -> int:
    """A seed that depends on nothing but its four arguments."""
    entropy = [campaign_seed, iteration + 1, zlib.crc32(arm.encode()), index + 1]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def slab(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, n_frozen: int) -> Atoms:
    """A slab from plain arrays, the first `n_frozen` atoms fixed."""
    atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=(True, True, False))
    atoms.set_tags([0] * n_frozen + [1] * (len(atoms) - n_frozen))
    atoms.set_constraint(FixAtoms(indices=range(n_frozen)))
    return atoms
