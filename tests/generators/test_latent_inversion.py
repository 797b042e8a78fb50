"""A grid that the generator made is found again; what it cannot make stays unexplained."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gan_setting import NETWORKS, grid, records, template

from generators.grids.density import densities, pack
from generators.latent_inversion import InversionSettings, between, invert, unexplained_share
from generators.sampling import Sampler
from generators.training.loop import Trainer
from generators.training.settings import TrainingSettings

SETTINGS = TrainingSettings(
    steps=10, batch_size=8, threads=1, check_every=0, generator_rate=2e-3, terms={"feature_matching": 0.1}
)
SEARCH = InversionSettings(tried=64, starts=4, steps=150, rate=0.2)


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    """A little trained, so that its grids hold atoms."""
    trainer = Trainer(template(), grid(), NETWORKS, SETTINGS, records(), torch.Generator().manual_seed(0))
    list(trainer.run())
    return Sampler.of(trainer)


def drawn(sampler: Sampler, n: int, length: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    noise = length * torch.randn(n, NETWORKS.latent, generator=torch.Generator().manual_seed(3))
    rows = torch.tensor([[float(i % 3)] for i in range(n)])
    return noise, rows


def test_a_grid_that_the_generator_made_is_found_again(sampler: Sampler) -> None:
    """Eight numbers of noise are few: less than a thousandth of the grid's variance stays."""
    noise, rows = drawn(sampler, 3)
    made = sampler.at(noise, rows)
    found = invert(sampler, made.grids, rows, torch.Generator().manual_seed(0), SEARCH)
    assert float(found.unexplained.max()) < 1e-3
    assert torch.equal(found.drawn.grids, sampler.at(found.noise, rows).grids)


def test_a_structure_unlike_anything_stays_unexplained(sampler: Sampler) -> None:
    """A grid of one atom where no structure has any is less explained than the data, and by itself badly."""
    strange = densities(*pack([(np.array([44]), np.array([[0.0, 0.0, 5.0]]))], grid(), dtype=torch.float32), grid())
    real = densities(*pack([(one.numbers, one.positions) for one in records(4)], grid(), dtype=torch.float32), grid())
    rows = torch.tensor([[float(one.condition["energy_class"])] for one in records(4)])
    search = replace(SEARCH, steps=60)
    far = invert(sampler, strange, rows[:1], torch.Generator().manual_seed(0), search).unexplained
    near = invert(sampler, real, rows, torch.Generator().manual_seed(0), search).unexplained
    assert float(far) > 0.9  # a featureless grid leaves 1
    assert float(near.max()) < float(far)


def test_steps_only_bring_it_nearer(sampler: Sampler) -> None:
    noise, rows = drawn(sampler, 2)
    made = sampler.at(noise, rows).grids
    left = [
        invert(sampler, made, rows, torch.Generator().manual_seed(1), replace(SEARCH, steps=steps)).unexplained
        for steps in (0, 20)
    ]
    assert bool((left[1] <= left[0]).all()) and float(left[1].sum()) < float(left[0].sum())


def test_noise_stays_where_the_generator_was_trained(sampler: Sampler) -> None:
    """χ² of 8 numbers exceeds 26.12 once in a thousand times."""
    noise, rows = drawn(sampler, 2, length=6.0)
    found = invert(
        sampler, sampler.at(noise, rows).grids, rows, torch.Generator().manual_seed(0), replace(SEARCH, steps=60)
    )
    assert float(found.noise.norm(dim=1).max()) <= math.sqrt(26.125)


def test_a_way_begins_and_ends_where_it_should(sampler: Sampler) -> None:
    noise, rows = drawn(sampler, 2)
    way = between(sampler, noise, rows, 7)
    ends = sampler.at(noise, rows).grids
    assert torch.allclose(way.grids[[0, -1]], ends, atol=1e-4)  # sines of single precision
    assert way.rows[:, 0].tolist() == [0.0] * 4 + [1.0] * 3
    still = between(sampler, noise[[0, 0]], rows[[0, 0]], 3)
    assert torch.allclose(still.grids, ends[:1].expand(3, -1, -1, -1, -1), atol=1e-4)


def test_unexplained_is_none_of_itself_and_all_of_its_mean() -> None:
    given = torch.rand(3, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    assert unexplained_share(given, given).tolist() == [0.0, 0.0, 0.0]
    flat = given.mean(dim=(2, 3, 4), keepdim=True).expand_as(given)
    assert torch.allclose(unexplained_share(given, flat), torch.ones(3))


@pytest.mark.parametrize(
    ("changes", "name"), [({"starts": 0}, "starts"), ({"tried": 1}, "tried"), ({"rate": 0.0}, "rate")]
)
def test_settings_that_make_no_search_are_refused(changes: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}`"):
        replace(SEARCH, **changes)


def test_what_cannot_be_inverted_is_refused(sampler: Sampler) -> None:
    random = torch.Generator().manual_seed(0)
    rows = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="`grids` has shape"):
        invert(sampler, torch.zeros(1, 2, 4, 4, 4), rows, random)
    with pytest.raises(ValueError, match="the same everywhere"):
        invert(sampler, torch.zeros(1, 2, 8, 8, 8), rows, random)
    with pytest.raises(ValueError, match="`rows` has shape"):
        invert(sampler, torch.rand(1, 2, 8, 8, 8), torch.zeros(2, 1), random)
    with pytest.raises(ValueError, match="two ends"):
        between(sampler, torch.ones(2, 8), torch.zeros(2, 1), 1)
