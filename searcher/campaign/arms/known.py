"""What an arm need not find or try again, as SOAP vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Attempt, KnownTermination, Snapshot
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.known_set import KnownSet
from searcher.scoring.thermodynamics import Line


class _OfArm(Protocol):
    @property
    def arm(self) -> str: ...


Found = TypeVar("Found", bound=_OfArm)


@dataclass(frozen=True)
class KnownBasins:
    """Minima, the recorded structures that relaxed into them, and where relaxations began that need no repeating.

    Attributes
    ----------
    minima, paths, starts, begun : KnownSet
        Path structures are named ``ID@STEP``; starts are those of relaxations in vain; begun those of relaxations in
        the surrogate potential, wherever they led.
    lines : dict
        γ(Δμ_O) of the minima by id.
    """

    minima: KnownSet = field(default_factory=KnownSet)
    paths: KnownSet = field(default_factory=KnownSet)
    starts: KnownSet = field(default_factory=KnownSet)
    begun: KnownSet = field(default_factory=KnownSet)
    lines: dict[str, Line] = field(default_factory=dict)

    def nearest(self, queries: Sequence[LocalVectors], begun: bool = True) -> list[tuple[float, str | None]]:
        """Smallest κ to any minimum, path structure or start, and its name, for the free atoms of each query.

        Parameters
        ----------
        begun : bool
            Whether starts of relaxations in the surrogate count; not for what these relaxations led to.
        """
        sets = (self.minima, self.paths, self.starts, *([self.begun] if begun else []))
        found = zip(*(known.nearest(queries) for known in sets), strict=True)
        return [min(each, key=lambda one: one[0]) for each in found]


def known_to(snapshot: Snapshot, arm: str, control_arms: Sequence[str]) -> Snapshot:
    """What counts as known for an arm, see `of_interest`."""
    known, tried = of_interest(snapshot.known, arm, control_arms), of_interest(snapshot.tried, arm, control_arms)
    return Snapshot(snapshot.iteration, known, tried)


def of_interest(found: Sequence[Found], arm: str, control_arms: Sequence[str]) -> tuple[Found, ...]:
    """A control arm knows the references and what it relaxed itself; every other arm knows everything."""
    kept = (arm, "seed", "pretraining", "known")
    return tuple(one for one in found if arm not in control_arms or one.arm in kept)


def describe_known(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, with_paths: bool) -> KnownBasins:
    """SOAP vectors of what a snapshot holds; only stored structures that can be described are in it."""
    basins = KnownBasins()
    add_known(campaign, problem, basins, snapshot.known, with_paths)
    if with_paths:
        add_tried(campaign, problem, basins, snapshot.tried)
    return basins


def add_known(
    campaign: Campaign,
    problem: SurfaceProblem,
    basins: KnownBasins,
    found: Sequence[KnownTermination],
    with_paths: bool,
) -> None:
    """Make further terminations known, with what was recorded of their relaxations if asked for."""
    named = [(k.id, k.structure, basins.minima) for k in found]
    if with_paths:
        named += [(f"{k.id}@{i}", key, basins.paths) for k in found for i, (key, _) in enumerate(k.path)]
    _add(campaign, problem, named)
    basins.lines.update({k.id: k.line for k in found})


def add_tried(campaign: Campaign, problem: SurfaceProblem, basins: KnownBasins, tried: Sequence[Attempt]) -> None:
    """Make known where relaxations in vain began: what begins alike ends alike."""
    _add(campaign, problem, [(one.id, one.start, basins.starts) for one in tried])


def add_begun(campaign: Campaign, problem: SurfaceProblem, basins: KnownBasins, begun: Sequence[Attempt]) -> None:
    """Make known where relaxations in the surrogate began; many, and of this iteration alone: no vectors are kept."""
    structures = {one.id: campaign.ledger.structure(one.start) for one in begun}
    for name, described in campaign.fingerprints.of_free(structures, 0).items():
        basins.begun.add(name, described, problem.excess_oxygen_per_area(structures[name]))


def _add(campaign: Campaign, problem: SurfaceProblem, named: Sequence[tuple[str, str, KnownSet]]) -> None:
    structures = {key: campaign.ledger.structure(key) for _, key, _ in named}
    vectors = campaign.fingerprints.of(structures)
    for name, key, known in named:
        described = vectors[key]
        if described is not None:
            known.add(name, described, problem.excess_oxygen_per_area(structures[key]))
