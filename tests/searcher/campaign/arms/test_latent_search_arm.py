"""An arm that searches a generator's noise: what its predictor says, whose networks it searches, what is refused."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from rich.console import Console

from generators.latent_search import LatentSearch
from generators.proposal import Proposal
from searcher.campaign.arms.kinds.latent_search import PromisedHeights, learn
from searcher.campaign.arms.knowledge import Knowledge
from searcher.campaign.beginning.preparation import recorded_problem
from searcher.campaign.campaign import open_campaign
from searcher.campaign.loop import run_campaign
from searcher.campaign.snapshot import take_snapshot
from searcher.campaign.storage.candidate import Gate
from searcher.errors import InputError
from searcher.loading import load_config
from searcher.scoring.surrogate import features

TINY = Path(__file__).parents[3] / "configs" / "tiny.yaml"
RANDOM = "{name: random, kind: random, share: 0.8, composition: uniform, screening: {oversampling: 30}}"
GAN = "{name: gan, kind: gan, share: 0.1, screening: {oversampling: 2}}"
LATENT = (
    "{name: deep, kind: latent_search, share: SHARE, generator: OF, screening: {oversampling: 2},"
    " latent: {starts: 1, population: 4, generations: 1}}"
)


def latent(share: float, of: str = "null") -> str:
    return LATENT.replace("SHARE", str(share)).replace("OF", of)


def tiny(runs, *arms, **overrides):
    return load_config(TINY, [f"runs={runs}", f"arms=[{', '.join(arms)}]", *(f"{k}={v}" for k, v in overrides.items())])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A campaign of three arms, closed at the end."""
    campaign = open_campaign(tiny(tmp_path_factory.mktemp("runs"), RANDOM, GAN, latent(0.1, "gan")), Event())
    run_campaign(campaign, Console(quiet=True), lambda campaign, iteration: None)
    yield campaign
    campaign.close()


def test_it_proposes_from_the_networks_of_the_arm_it_names(finished):
    assert finished.ledger.stage(0, "train:gan") is not None
    assert finished.ledger.stage(0, "train:deep") is None
    proposals = finished.ledger.candidates(arm="deep")
    assert {c.iteration for c in proposals} == {0, 1}
    assert all(c.finished for c in proposals)


def test_networks_of_its_own_are_trained_where_none_are_named(tmp_path):
    arms = RANDOM, latent(0.2)
    campaign = open_campaign(tiny(tmp_path, *arms, **{"budget.iterations": 1}), Event())
    try:
        run_campaign(campaign, Console(quiet=True), lambda campaign, iteration: None)
        assert campaign.ledger.stage(0, "train:deep") is not None
        assert campaign.ledger.candidates(arm="deep")
    finally:
        campaign.close()


def test_it_searches_once_there_is_something_to_be_led_by(finished):
    arm, problem = finished.config.arms[2], recorded_problem(finished.ledger)
    source = learn(finished, problem, take_snapshot(finished.ledger, 1, finished.line_of), arm, Console(quiet=True))
    nothing, everything = (
        Knowledge(finished, problem, take_snapshot(finished.ledger, before), arm.screening) for before in (0, 9)
    )
    assert nothing.surrogate is None, "seeds and their relaxations alone are too few"
    assert everything.surrogate is not None
    assert not isinstance(source.given(nothing), LatentSearch)
    assert isinstance(source.given(everything), LatentSearch)


def free_part(campaign, problem, key):
    return Proposal(*problem.template.free_part(campaign.ledger.structure(key)))


def test_it_promises_what_the_surrogate_does_of_what_screening_lets_through(finished):
    arm, problem = finished.config.arms[2], recorded_problem(finished.ledger)
    known = Knowledge(finished, problem, take_snapshot(finished.ledger, 9), arm.screening)
    anywhere = arm.model_copy(update={"screening": arm.screening.model_copy(update={"known_basins": False})})
    outside, everything = (PromisedHeights(finished, problem, known, known.surrogate, one) for one in (arm, anywhere))
    minimum = free_part(finished, problem, known.snapshot.known[0].structure)
    overlapping = Proposal(minimum.numbers, np.repeat(minimum.positions[:1], len(minimum.numbers), axis=0))
    valid = finished.ledger.candidates(arm="random", reached=Gate.VALID)
    proposals = [overlapping, minimum, *(free_part(finished, problem, c.proposed) for c in valid)]
    answer = everything(proposals)
    assert np.isnan(answer.mean[0]) and np.isfinite(answer.mean[1:]).all() and (answer.deviation[1:] > 0.0).all()
    assert np.isnan(outside(proposals).mean[:2]).all(), "not valid, and known"
    atoms = problem.template.assemble(proposals[2].numbers, proposals[2].positions)
    (vectors,) = finished.fingerprints.of({"one": atoms}).values()
    row = features(
        vectors.subset(range(problem.template.n_frozen, len(atoms))), problem.soap,
        problem.excess_oxygen_per_area(atoms),
    )  # fmt: skip
    expected = known.surrogate.predict([row])
    assert answer.mean[2] == pytest.approx(expected.mean[0], abs=1e-9)  # eV/Å², other sums in another batch
    assert answer.deviation[2] == pytest.approx(expected.deviation[0], abs=1e-9)


@pytest.mark.parametrize("arms", [(GAN, RANDOM, latent(0.1, "random")), (RANDOM, latent(0.1, "gan"), GAN)])
def test_it_needs_a_gan_before_it(tmp_path, arms):
    with pytest.raises(InputError, match="must name an arm of kind `gan` before it"):
        tiny(tmp_path, *arms)


def test_it_needs_the_surrogate(tmp_path):
    blind = latent(0.1).replace("oversampling: 2", "oversampling: 2, surrogate: false")
    with pytest.raises(InputError, match=r"screening.surrogate"):
        tiny(tmp_path, RANDOM, GAN, blind)


def test_relaxed_ones_pass_the_same_gates(finished):
    assert all(c.passed >= Gate.VALID for c in finished.ledger.candidates(arm="deep", reached=Gate.SELECTED))
