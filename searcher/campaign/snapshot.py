"""What is known when an iteration starts; nothing that happens later in the iteration changes it."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from searcher.campaign.storage.candidate import Candidate, Gate, Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.scoring.thermodynamics import Line


@dataclass(frozen=True)
class KnownTermination:
    """A converged valid minimum: a seed, a user's known structure, or a relaxed candidate, accepted or not."""

    id: str
    arm: str
    structure: str
    line: Line
    energy_class: int | None
    accepted: bool
    path: tuple[tuple[str, float], ...]
    """recorded structures along its relaxation, each with its energy in eV above the minimum"""
    novel: bool = False
    """like nothing known when it was judged, whether low enough to be accepted or not"""


@dataclass(frozen=True)
class Attempt:
    """A relaxation not to be repeated: it ended early, in something known, or nowhere, or was one in a surrogate."""

    id: str
    arm: str
    start: str
    """the structure that it began with"""


@dataclass(frozen=True)
class Snapshot:
    """The known terminations at the start of an iteration, and what was relaxed in vain.

    Attributes
    ----------
    iteration : int
    known : tuple of KnownTermination
        In the order of their ids.
    tried : tuple of Attempt
        Likewise.
    """

    iteration: int
    known: tuple[KnownTermination, ...]
    tried: tuple[Attempt, ...] = ()

    @property
    def hash(self) -> str:
        """Changes with ids, structures, γ, paths or what was tried."""
        rows = [
            [k.id, k.structure, k.line.gamma0, k.line.slope, k.energy_class, k.accepted, k.path] for k in self.known
        ]
        tried = [[t.id, t.start] for t in self.tried]
        return hashlib.sha256(json.dumps([rows, tried]).encode()).hexdigest()

    @property
    def lines(self) -> dict[str, Line]:
        """γ(Δμ_O) by id."""
        return {k.id: k.line for k in self.known}


def is_known(candidate: Candidate) -> bool:
    """Whether a candidate is a converged valid minimum."""
    return candidate.finished and candidate.passed >= Gate.VALID_RELAXED


def take_snapshot(
    ledger: Ledger, iteration: int, line_of: Callable[[Candidate], Line] = lambda candidate: candidate.measured_line
) -> Snapshot:
    """Everything known before an iteration, in the order of ids.

    Parameters
    ----------
    line_of : callable
        γ(Δμ_O) of a minimum by the potential in use; by default the one that was recorded with it.
    """
    relaxed = ledger.candidates(before=iteration, reached=Gate.SELECTED)
    known = tuple(_termination(ledger, candidate, line_of) for candidate in relaxed if is_known(candidate))
    return Snapshot(iteration, known, tuple(_attempt(c) for c in relaxed if _in_vain(c)))


def found_among(
    ledger: Ledger,
    ids: Iterable[str],
    line_of: Callable[[Candidate], Line] = lambda candidate: candidate.measured_line,
) -> tuple[KnownTermination, ...]:
    """Those of the candidates that have relaxed to a valid minimum, judged or not, in the order of ids."""
    relaxed = [c for c in map(ledger.candidate, sorted(ids)) if c.passed >= Gate.VALID_RELAXED]
    return tuple(_termination(ledger, candidate, line_of) for candidate in relaxed)


def tried_among(ledger: Ledger, ids: Iterable[str]) -> tuple[Attempt, ...]:
    """Those of the candidates that were relaxed in vain, in the order of ids."""
    return tuple(_attempt(c) for c in map(ledger.candidate, sorted(ids)) if _in_vain(c))


def _in_vain(candidate: Candidate) -> bool:
    """Whether a relaxation ended without a valid minimum; one that failed says nothing of its structure."""
    relaxed = Gate.SELECTED <= candidate.passed < Gate.VALID_RELAXED
    return relaxed and candidate.verdict == Verdict.REJECTED and candidate.proposed is not None


def _attempt(candidate: Candidate) -> Attempt:
    return Attempt(candidate.id, candidate.arm, str(candidate.proposed))


def _termination(ledger: Ledger, candidate: Candidate, line_of: Callable[[Candidate], Line]) -> KnownTermination:
    assert candidate.relaxed is not None
    return KnownTermination(
        id=candidate.id,
        arm=candidate.arm,
        structure=candidate.relaxed,
        line=line_of(candidate),
        energy_class=candidate.energy_class,
        accepted=candidate.verdict == Verdict.ACCEPTED,
        path=tuple((key, energy) for _, key, energy in ledger.snapshots(candidate.id)),
        novel=candidate.passed >= Gate.NOVEL,
    )
