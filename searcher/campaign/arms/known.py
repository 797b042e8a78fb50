"""The terminations an arm may not find again, as SOAP vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import KnownTermination, Snapshot
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.novelty import KnownSet
from searcher.scoring.thermodynamics import Line


@dataclass(frozen=True)
class KnownBasins:
    """Minima, and the recorded structures that relaxed into them.

    Attributes
    ----------
    minima, paths : KnownSet
        Path structures are named ``ID@STEP``.
    lines : dict
        γ(Δμ_O) of the minima by id.
    """

    minima: KnownSet
    paths: KnownSet
    lines: dict[str, Line]

    def nearest(self, queries: Sequence[LocalVectors]) -> list[tuple[float, str | None]]:
        """Smallest κ to any minimum or path structure, and its name, for the free atoms of each query."""
        pairs = zip(self.minima.nearest(queries), self.paths.nearest(queries), strict=True)
        return [min(pair, key=lambda found: found[0]) for pair in pairs]


def known_to(snapshot: Snapshot, arm: str, control_arms: Sequence[str]) -> Snapshot:
    """What counts as known for an arm, see `of_interest`."""
    return Snapshot(snapshot.iteration, of_interest(snapshot.known, arm, control_arms))


def of_interest(
    found: Sequence[KnownTermination], arm: str, control_arms: Sequence[str]
) -> tuple[KnownTermination, ...]:
    """A control arm knows the references and what it found itself; every other arm knows everything."""
    kept = (arm, "seed", "pretraining", "known")
    return tuple(one for one in found if arm not in control_arms or one.arm in kept)


def describe_known(campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, with_paths: bool) -> KnownBasins:
    """SOAP vectors of what a snapshot holds; only stored structures that can be described are in it."""
    basins = KnownBasins(KnownSet(), KnownSet(), {})
    add_known(campaign, problem, basins, snapshot.known, with_paths)
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
    structures = {key: campaign.ledger.structure(key) for _, key, _ in named}
    vectors = campaign.fingerprints.of(structures)
    for name, key, known in named:
        described = vectors[key]
        if described is not None:
            known.add(name, described, problem.excess_oxygen_per_area(structures[key]))
    basins.lines.update({k.id: k.line for k in found})
