"""What a generator cannot make is found, named, and told by what it has in common."""

import numpy as np
import pytest
import torch
from ase import Atoms
from rich.console import Console

from generators.denoising.sampling import DenoiserSampler
from generators.grids.spec import GridSpec
from generators.latent_inversion import InversionSettings
from generators.networks.settings import NetworkSettings
from generators.proposal import TrainingRecord
from generators.sampling import Sampler
from generators.training.loop import Trainer
from generators.training.settings import TrainingSettings
from generators.training.view import View
from searcher.errors import InputError
from searcher.generation.reach import (
    Known,
    Reached,
    as_told,
    print_reach,
    reach,
    shared_features,
    spread_over,
    unreached_picture,
)

QUICK = InversionSettings(tried=8, starts=2, steps=5)
NOTHING = np.zeros((1, 2, 2, 2), dtype=np.float32)
SPEC = GridSpec.for_cell((4.8, 4.8, 6.0), (8, 8, 8), ("Ru", "O"), 0.6)
NETWORKS = NetworkSettings(latent=4, generator_channels=(4, 4), critic_channels=(4, 4), critic_hidden=4, lattice=False)


def reached(name: str, unexplained: float, **features: str) -> Reached:
    return Reached(name, unexplained, "RuO2", features, NOTHING, NOTHING)


def structure(name: str, n_oxygen: int) -> Known:
    numbers = np.array([44] + [8] * n_oxygen)
    positions = np.array([[1.0, 1.0, 1.0 + 1.9 * i] for i in range(len(numbers))])
    record = TrainingRecord(numbers, positions, {}, lengths=(4.8, 4.8, 6.0))
    return Known(name, record, Atoms(numbers, positions, cell=(4.8, 4.8, 6.0), pbc=True), {"family": "110"})


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    settings = TrainingSettings(steps=1, batch_size=2, threads=1, check_every=0)
    data = [structure("a", 1).record, structure("b", 2).record]
    random = torch.Generator().manual_seed(0)
    return Sampler.of(Trainer(None, SPEC, NETWORKS, settings, data, random, view=View("cell")))


def test_structures_come_with_the_least_explained_first(sampler: Sampler) -> None:
    found = reach(sampler, None, [structure("a", 1), structure("b", 2)], 0, QUICK)
    assert [one.unexplained for one in found] == sorted((one.unexplained for one in found), reverse=True)
    features = {one.name: one.features for one in found}
    assert features["a"] == {
        "composition": "RuO",
        "fewest neighbours of O": "1",  # of metal
        "fewest neighbours of Ru": "1",
        "family": "110",
    }
    assert features["b"]["composition"] == "RuO2"
    assert features["b"]["fewest neighbours of Ru"] == "2"  # one of them through the cell's end, 2.2 Å below
    assert unreached_picture(found).startswith(b"\x89PNG")
    assert reach(sampler, None, [], 0, QUICK) == []


def test_the_same_seed_finds_the_same(sampler: Sampler) -> None:
    first, second = (reach(sampler, None, [structure("a", 1)], 5, QUICK)[0].unexplained for _ in range(2))
    assert first == second


def test_what_only_the_worst_have_is_told_with_its_chance() -> None:
    """Of 12 the worst 3 alone have four oxygen atoms: 1 in C(12, 3) = 220 draws; what all have says nothing."""
    rows = [reached(str(i), 1.0 - 0.05 * i, composition="RuO4" if i < 3 else "RuO2", family="110") for i in range(12)]
    (only,) = shared_features(rows)
    assert (only["feature"], only["value"], only["of_worst"], only["of_all"]) == ("composition", "RuO4", 1.0, 0.25)
    assert only["chance"] == pytest.approx(1.0 / 220.0)


def test_of_few_structures_nothing_is_said() -> None:
    assert shared_features([reached(str(i), 0.5, composition=str(i)) for i in range(3)]) == []
    assert as_told([])["structures"] == 0


def test_what_is_told_is_printed() -> None:
    rows = [reached(str(i), 1.0 - 0.05 * i, composition="RuO4" if i < 3 else "RuO2") for i in range(12)]
    console = Console(record=True, width=100, file=None)
    with console.capture() as printed:
        print_reach(as_told(rows), console)
    text = printed.get()
    assert "of 12 structures" in text and "composition RuO4: 100% of the worst, 25% of all (chance 0.0045)" in text


def test_a_part_is_spread_over_all() -> None:
    every = [structure(str(i), 1) for i in range(7)]
    assert [one.name for one in spread_over(every, 3)] == ["0", "3", "6"]
    assert spread_over(every, 9) == every


def test_weights_without_noise_to_search_are_refused() -> None:
    with pytest.raises(InputError, match="a search of the noise of a GAN of whole structures"):
        reach(DenoiserSampler.__new__(DenoiserSampler), None, [structure("a", 1)], 0, QUICK)
