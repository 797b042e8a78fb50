"""The report's diagram γ(Δμ_O): the campaign's own facet, and those of campaigns beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from searcher.campaign.storage.candidate import Candidate, Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import InputError
from searcher.results import svg
from searcher.results.status import arm_names
from searcher.results.terminations import reference_labels
from searcher.scoring.thermodynamics import lower_envelope

SEED = "seed"
PRESSURES = (1.0, 1e-10)  # bar
ARM_COLOURS = 6


@dataclass(frozen=True)
class StableWindow:
    """Where a termination is the lowest of its facet; Δμ_O in eV."""

    facet: str
    label: str
    start: float
    stop: float


def all_curves(ledger: Ledger, beside: Sequence[Path]) -> list[svg.Curve]:
    """Lines of what is known and accepted, here and in campaigns beside this one.

    Raises
    ------
    InputError
        If a campaign beside this one measures energies with another potential.
    StorageError
        If its folder holds no campaign.
    """
    curves = _curves(ledger, "")
    for folder in beside:
        other = Ledger.of_run(folder)
        if other.fact("potential") != ledger.fact("potential"):
            raise InputError(
                f"`--beside {folder}` has potential {other.fact('potential')}, this campaign "
                f"{ledger.fact('potential')}: their surface energies cannot be compared"
            )
        curves += _curves(other, f"{folder.name} ")
        other.close()
    return curves


def drawing(curves: Sequence[svg.Curve], delta_mu_range: tuple[float, float]) -> Markup:
    """The diagram, empty if nothing has a γ."""
    return svg.diagram(curves, delta_mu_range, PRESSURES) if curves else Markup("")


def stable_windows(curves: Sequence[svg.Curve], delta_mu_range: tuple[float, float]) -> list[StableWindow]:
    """Windows of every facet, by rising Δμ_O."""
    labels = {curve.id: curve.label for curve in curves}
    found = []
    for facet in dict.fromkeys(curve.facet for curve in curves):
        lines = {curve.id: curve.line for curve in curves if curve.facet == facet}
        found += [StableWindow(facet, labels[w.id], w.start, w.stop) for w in lower_envelope(lines, delta_mu_range)]
    return found


def arm_class(arm: str, arms: Sequence[str]) -> str:
    """Class of the style sheet for an arm; what is no arm is a seed."""
    return f"arm{arms.index(arm) % ARM_COLOURS}" if arm in arms else SEED


def _curves(ledger: Ledger, prefix: str) -> list[svg.Curve]:
    """References come first, so that a termination found again does not take the place of a known one."""
    labels, arms, facet = reference_labels(ledger), arm_names(ledger), str(ledger.template.get("facet", "?"))
    usable = [c for c in ledger.candidates(verdict=Verdict.REFERENCE) if c.reason is None]
    found = []
    for candidate in [*usable, *ledger.candidates(verdict=Verdict.ACCEPTED)]:
        if candidate.line is not None:
            label = prefix + labels.get(candidate.id, candidate.id)
            kind = _kind(candidate, arms)
            found.append(svg.Curve(prefix + candidate.id, label, kind, candidate.line, facet))
    return found


def _kind(candidate: Candidate, arms: Sequence[str]) -> str:
    if candidate.verdict == Verdict.REFERENCE and candidate.arm != SEED:
        return "reference"
    return arm_class(candidate.arm, arms)
