"""Terminations by basin hopping, for seeds or to be withheld from training."""

from pathlib import Path

from ase import Atoms
from rich.console import Console

from searcher.campaign.beginning.preparation import seed_lines
from searcher.campaign.campaign import Campaign
from searcher.campaign.hopping.basin_hopping import VisitedMinimum, basin_hopping, write_minima
from searcher.campaign.hopping.settings import basin_hopping_settings
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.progress import counting
from searcher.campaign.storage.candidate import PREPARATION, Gate
from searcher.errors import SearchFailed
from searcher.scoring.novelty import Fingerprint, same_termination
from searcher.scoring.thermodynamics import Envelope


def hop_for_seeds(
    campaign: Campaign,
    problem: SurfaceProblem,
    out: Path,
    steps: int,
    lowest: int | None,
    snapshots: bool,
    console: Console,
) -> None:
    """Run the chains from the stoichiometric seed and write what they found, lowest γ first.

    Parameters
    ----------
    steps : int
        Hops per chain; a repeated call goes on from where the chains are.
    lowest : int, optional
        Write only so many: those nearest to the envelope that are not seeds.
    snapshots : bool
        Write the recorded steps of each relaxation after its minimum.

    Raises
    ------
    SearchFailed
        If there is no relaxed seed whose oxygen count is allowed, or nothing was found.
    """
    seeds = campaign.ledger.candidates(iteration=PREPARATION, arm="seed", reached=Gate.VALID_RELAXED)
    structures = {str(c.label): campaign.ledger.structure(str(c.relaxed)) for c in seeds}
    allowed = {n: a for n, a in structures.items() if problem.counts_allowed(problem.template.free_part(a)[0])}
    if not allowed:
        raise SearchFailed("no relaxed seed has an allowed number of free atoms to start from")
    start = allowed.get(f"{problem.template.facet}-stoichiometric", next(iter(allowed.values())))
    config = campaign.config
    settings = basin_hopping_settings({"relaxation": dict(config.relaxation), **config.basin_hopping, "steps": steps})
    with counting(console, "basin hopping", steps * len(settings.ladder)) as advance:
        found = basin_hopping(
            problem,
            campaign.potential,
            campaign.executor,
            start,
            settings,
            campaign.config.seed,
            campaign.folder / "basin-hopping",
            advance,
        )
    envelope = Envelope({m.id: m.line for m in found} | seed_lines(campaign), problem.delta_mu_o_range)
    ordered = sorted(found, key=lambda minimum: (envelope.distance(minimum.line), minimum.id))
    if lowest is not None:
        ordered = _without_seeds(campaign, problem, ordered, structures)[:lowest]
    write_minima(out, ordered, snapshots)
    console.print(f"{len(found)} distinct minima, {len(ordered)} written: {out}")


def _without_seeds(
    campaign: Campaign, problem: SurfaceProblem, minima: list[VisitedMinimum], seeds: dict[str, Atoms]
) -> list[VisitedMinimum]:
    described = campaign.fingerprints.of({m.id: m.atoms for m in minima} | seeds)
    n_frozen = problem.template.n_frozen

    def fingerprint(name: str, atoms: Atoms) -> Fingerprint | None:
        whole = described[name]
        if whole is None:
            return None
        excess = problem.excess_oxygen_per_area(atoms)
        return Fingerprint(whole.subset(range(n_frozen, whole.n_centers)), whole, excess)

    constructed = [f for name, atoms in seeds.items() if (f := fingerprint(name, atoms)) is not None]
    kept = []
    for minimum in minima:
        own = fingerprint(minimum.id, minimum.atoms)
        if own is not None and not any(same_termination(own, seed) for seed in constructed):
            kept.append(minimum)
    return kept
