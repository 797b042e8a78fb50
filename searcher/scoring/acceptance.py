"""The verdict on a batch of relaxed structures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from searcher.scoring.known_set import KnownSet
from searcher.scoring.novelty import Fingerprint, same_termination_matrix
from searcher.scoring.thermodynamics import DELTA_MU_O_RANGE, Envelope, Line

LARGEST_MARGIN = 1.0  # eV/Å²; above it the margin was surely meant in meV/Å²


@dataclass(frozen=True)
class AcceptanceSettings:
    """What makes a minimum worth keeping.

    Attributes
    ----------
    kappa_min : float
        Novel above this κ to everything known.
    margin : float
        Largest distance in eV/Å² from the envelope of all known, at the best Δμ_O of the allowed range.
    """

    kappa_min: float = 0.075
    margin: float = 0.025

    def __post_init__(self) -> None:
        if not 0.0 <= self.kappa_min < math.sqrt(2.0):
            raise ValueError(f"`kappa_min` is {self.kappa_min}; allowed is 0 up to √2, where nothing would be novel")
        if not 0.0 <= self.margin <= LARGEST_MARGIN:
            raise ValueError(
                f"`margin` is {self.margin} eV/Å²; allowed is 0 to {LARGEST_MARGIN:g}. Was it given in meV/Å²?"
            )


@dataclass(frozen=True)
class Minimum:
    """A converged, valid relaxed structure that awaits its verdict."""

    id: str
    line: Line
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Judgement:
    """What became of a minimum, and why.

    Attributes
    ----------
    id : str
    verdict : {"accepted", "rejected"}
    reason : str or None
        First gate that was not passed: ``duplicate_in_batch``, ``known``, ``above_margin``; None if accepted.
    unique : bool
        Not the same termination as an earlier one of the batch.
    novel : bool
        κ to everything known exceeds `kappa_min`. A funnel counts as novel what is unique and novel.
    kappa : float
        Smallest κ to anything known; infinite if nothing was.
    nearest : str or None
        The known structure that κ belongs to.
    distance_to_envelope : float
        In eV/Å², negative below the envelope.
    duplicate_of : str or None
        The earlier structure of the batch that is the same termination.
    """

    id: str
    verdict: Literal["accepted", "rejected"]
    reason: str | None
    unique: bool
    novel: bool
    kappa: float
    nearest: str | None
    distance_to_envelope: float
    duplicate_of: str | None


def judge_batch(
    candidates: Sequence[Minimum],
    known: KnownSet,
    known_lines: Mapping[str, Line],
    settings: AcceptanceSettings,
    delta_mu_range: tuple[float, float] = DELTA_MU_O_RANGE,
    *,
    delta_mu_o: float,
) -> list[Judgement]:
    """Judge a batch after all of its relaxations have ended.

    Known set and envelope are those of the iteration's start and stay as they are. The order is (γ at `delta_mu_o`,
    id), so that the order in which relaxations ended cannot matter. Each minimum, accepted or not, counts for those
    after it.

    Parameters
    ----------
    candidates : sequence of Minimum
        Converged and valid, in any order.
    known : KnownSet
    known_lines : mapping of str to Line
        γ(Δμ_O) of what is known.
    settings : AcceptanceSettings
    delta_mu_range : tuple of float
        Allowed Δμ_O in eV.
    delta_mu_o : float
        Conditioning Δμ_O in eV.

    Returns
    -------
    list of Judgement
        In the order of judging.

    Raises
    ------
    ValueError
        If an id occurs twice, a γ is not finite, or `known_lines` is empty.
    """
    envelope = Envelope(known_lines, delta_mu_range)
    ordered = _in_order(candidates, delta_mu_o)
    novelty = known.nearest([minimum.fingerprint.free for minimum in ordered])
    same = same_termination_matrix([minimum.fingerprint for minimum in ordered], settings.kappa_min)
    judgements = []
    for row, (minimum, (kappa, nearest)) in enumerate(zip(ordered, novelty, strict=True)):
        earlier = np.flatnonzero(same[row, :row])
        novel = kappa > settings.kappa_min
        distance = envelope.distance(minimum.line)
        reason = None
        if len(earlier):
            reason = "duplicate_in_batch"
        elif not novel:
            reason = "known"
        elif distance > settings.margin:
            reason = "above_margin"
        judgements.append(
            Judgement(
                id=minimum.id,
                verdict="accepted" if reason is None else "rejected",
                reason=reason,
                unique=not len(earlier),
                novel=novel,
                kappa=kappa,
                nearest=nearest,
                distance_to_envelope=distance,
                duplicate_of=ordered[earlier[0]].id if len(earlier) else None,
            )
        )
    return judgements


def _in_order(candidates: Sequence[Minimum], delta_mu_o: float) -> list[Minimum]:
    if len({minimum.id for minimum in candidates}) != len(candidates):
        raise ValueError("`candidates` holds an id twice: a candidate is judged once")
    unusable = [minimum.id for minimum in candidates if not math.isfinite(minimum.line.at(delta_mu_o))]
    if unusable:
        raise ValueError(
            f"`candidates` {', '.join(unusable)}: γ is not finite; such relaxations fail before they are judged"
        )
    return sorted(candidates, key=lambda minimum: (minimum.line.at(delta_mu_o), minimum.id))
