"""What a proposal goes through before anything is spent on it: the template, rules, SOAP vectors, what is known."""

from collections.abc import Mapping
from dataclasses import dataclass

from ase import Atoms

from generators.proposal import Proposal
from searcher.campaign.arms.known import KnownBasins
from searcher.campaign.problem import SurfaceProblem
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.validity import check_validity


@dataclass(frozen=True)
class Nearest:
    """Of what is known the nearest to a proposal.

    Attributes
    ----------
    kappa : float
    name : str or None
        None if nothing is known.
    same_basin : bool
        Whether the proposal is so near that it is expected to relax to it.
    """

    kappa: float
    name: str | None
    same_basin: bool


def assembled(problem: SurfaceProblem, proposal: Proposal) -> tuple[Atoms, str | None]:
    """A proposal in its template, and the reason why it is not allowed or not valid, if there is one."""
    template = problem.template
    atoms = template.assemble(proposal.numbers, proposal.positions)
    if not problem.counts_allowed(proposal.numbers):
        return atoms, "composition_out_of_range"
    validity = check_validity(atoms, template.n_frozen, problem.thresholds, first_only=True)
    return atoms, None if validity.valid else validity.reasons[0]


def nearest_known(
    known: KnownBasins, free: Mapping[str, LocalVectors], reach: float, begun: bool = True
) -> dict[str, Nearest]:
    """What is known beside each proposal, by its name.

    Parameters
    ----------
    free : mapping of str to LocalVectors
        Of the proposals' free atoms.
    reach : float
        κ up to which a proposal lies in the basin of something known.
    begun : bool
        Whether it counts what relaxations in the surrogate potential began with.
    """
    found = zip(free, known.nearest(list(free.values()), begun), strict=True)
    return {name: Nearest(kappa, nearest, kappa <= reach) for name, (kappa, nearest) in found}
