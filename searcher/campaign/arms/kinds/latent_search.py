"""Arms of kind `latent_search`."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console

from generators.gan import GanProposer
from generators.latent_search import LatentSearch, LatentSearchSettings, Promise
from generators.proposal import Proposal, Proposer
from searcher.campaign.arms.conditions import asked_conditions
from searcher.campaign.arms.kinds.gan import GanLearner
from searcher.campaign.arms.knowledge import Knowledge
from searcher.campaign.arms.learned import learned_generator
from searcher.campaign.arms.proposal_checks import assembled, nearest_known
from searcher.campaign.arms.ranking import guess_heights
from searcher.campaign.arms.source import Source
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Snapshot
from searcher.campaign.stopping import stop_if_asked
from searcher.config.arm_kinds.latent_search import LatentSearchArm
from searcher.scoring.surrogate import HeightSurrogate

learner = GanLearner


class PromisedHeights:
    """Heights above the envelope that the surrogate expects of proposals; none of those that screening would drop.

    Parameters
    ----------
    campaign : Campaign
    problem : SurfaceProblem
    known : Knowledge
        What the arm knows, with its basins.
    surrogate : HeightSurrogate
    arm : LatentSearchArm
    """

    def __init__(
        self,
        campaign: Campaign,
        problem: SurfaceProblem,
        known: Knowledge,
        surrogate: HeightSurrogate,
        arm: LatentSearchArm,
    ) -> None:
        self._campaign, self._problem, self._arm = campaign, problem, arm
        self._known, self._surrogate = known, surrogate

    def __call__(self, proposals: Sequence[Proposal]) -> Promise:
        """Mean and deviation in eV/Å²; NaN for what is not valid, or in the basin of something known.

        Raises
        ------
        StoppedOnRequest
            If the campaign is asked to stop.
        """
        stop_if_asked(self._campaign.stop)
        problem, screening = self._problem, self._arm.screening
        structures = {}
        for index, proposal in enumerate(proposals):
            atoms, reason = assembled(problem, proposal)
            if reason is None:
                structures[f"searched-{index}"] = atoms
        free = self._campaign.fingerprints.of_free(structures, problem.template.n_frozen)
        if screening.known_basins and free:
            reach = screening.reach * self._campaign.config.acceptance.kappa_min
            nearest = nearest_known(self._known.basins, free, reach)
            free = {name: vectors for name, vectors in free.items() if not nearest[name].same_basin}
        excess = {name: problem.excess_oxygen_per_area(structures[name]) for name in free}
        mean, deviation = np.full((2, len(proposals)), np.nan)
        for name, guess in guess_heights(self._surrogate, problem, free, excess).items():
            index = int(name.removeprefix("searched-"))
            mean[index], deviation[index] = guess.mean, guess.deviation
        return Promise(mean, deviation)


def learn(
    campaign: Campaign, problem: SurfaceProblem, snapshot: Snapshot, arm: LatentSearchArm, console: Console
) -> Source:
    """Train, or share what another arm trains; draw while nothing can be promised, and search from then on."""
    trained = next((other for other in campaign.config.arms if other.name == arm.generator), arm)
    generator = learned_generator(campaign, problem, snapshot, trained, learner(campaign, problem, arm), console)
    assert isinstance(generator, GanProposer)
    settings = LatentSearchSettings(
        **arm.latent.model_dump(exclude={"conditions"}), deviations=arm.screening.deviations
    )

    def given(known: Knowledge) -> Proposer:
        if known.surrogate is None:
            return generator
        return LatentSearch(generator, PromisedHeights(campaign, problem, known, known.surrogate, arm), settings)

    if arm.latent.conditions == "searched":
        return Source(given)
    return Source(given, *asked_conditions(campaign, problem, snapshot))
