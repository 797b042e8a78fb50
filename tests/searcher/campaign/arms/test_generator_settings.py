"""Whole cells, every condition and a square surface are reached from a campaign's configuration."""

from pathlib import Path

import pytest
from inline_campaign import run

from searcher.campaign.arms.gan_arm import COUNT_WEIGHT, check_settings, training_settings
from searcher.campaign.problem import surface_repeat
from searcher.campaign.storage.ledger import Ledger
from searcher.config import SurfaceSection
from searcher.errors import InputError
from searcher.loading import load_config
from searcher.structures.crystal import Crystal

TINY = Path(__file__).parents[3] / "configs" / "tiny.yaml"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    overrides = [
        f"runs={runs}",
        "budget.iterations=1",
        "grid.window=cell",
        "grid.shape=[16, 8, 40]",
        "surface.vacuum=10",
        "training.settings.check_every=2",
        "conditioning.conditions=[energy_class, n_oxygen, n_metal, delta_mu_o]",
        "conditioning.delta_mu_o_ladder=[-1.0, 0.0]",
    ]
    config = load_config(TINY, overrides)
    run(config)
    return Ledger.of_run(runs / config.name)


def test_whole_cells_are_learned_with_their_lengths(ledger):
    assert {"critic_lattice", "generator_lattice"} <= set(ledger.metrics(0))


def test_every_condition_is_asked_for(ledger):
    asked = [candidate.condition for candidate in ledger.candidates(iteration=0, arm="gan")]
    assert asked
    assert all(set(condition) == {"energy_class", "n_oxygen", "n_metal", "delta_mu_o"} for condition in asked)
    assert {condition["delta_mu_o"] for condition in asked} <= {-1.0, 0.0}


def test_checks_of_the_training_are_recorded(ledger):
    assert "health_diversity" in ledger.metrics(0)
    assert isinstance(ledger.stage(0, "train:gan")["findings"], list)


def test_counts_are_drawn_to_what_is_asked_unless_said_otherwise():
    def terms(*overrides):
        return dict(training_settings(load_config(TINY, overrides)).terms)

    assert terms() == {"count": COUNT_WEIGHT}
    assert terms("training.settings.terms={}") == {}
    assert terms("conditioning.conditions=[energy_class]") == {}
    assert terms("conditioning.enabled=false") == {}


@pytest.mark.parametrize(
    "override", ["network.settings.latent=0", "network.settings.doubling=none", "training.settings.batch_size=0"]
)
def test_unfit_settings_are_refused_before_a_campaign_begins(override):
    check_settings(load_config(TINY))
    name = override.partition("=")[0].rpartition(".")[2]
    with pytest.raises(InputError, match=f"`{name}` is"):
        check_settings(load_config(TINY, [override]))


def test_a_square_repeats_the_shorter_side():
    """(110): sides 6.36 and 3.10 Å, so two of the shorter; (001): both sides equal."""
    crystal = Crystal()
    assert surface_repeat(SurfaceSection(facet="110", repeat="square"), crystal) == (1, 2)
    assert surface_repeat(SurfaceSection(facet="001", repeat="square"), crystal) == (1, 1)
    assert surface_repeat(SurfaceSection(facet="110", repeat=(3, 1)), crystal) == (3, 1)
