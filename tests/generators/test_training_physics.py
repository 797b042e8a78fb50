"""Terms that know of distances and energies: zero where nothing is wrong, and pushing the right way where it is."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gan_setting import CHEMICAL_POTENTIAL, CLASSES, NETWORKS, cell_grid, cell_records, grid, records, template

from generators.grids.density import densities, pack
from generators.grids.spec import GridSpec
from generators.networks.settings import NetworkSettings
from generators.proposal import TrainingRecord
from generators.training.close_atoms import CloseAtoms, least_distances
from generators.training.loop import Trainer
from generators.training.settings import TrainingSettings
from generators.training.view import View

SETTINGS = TrainingSettings(steps=2, batch_size=4, checkpoint_every=1, threads=1, check_every=0)
DISTANCES = {(0, 0): 2.4, (0, 1): 1.7, (1, 1): 2.2}
"""Å, of Ru and O"""
PAIRS = sorted(DISTANCES)
SPEC = GridSpec((20, 20, 20), ("Ru", "O"), 0.55, (0.0, 0.0, 0.0), (8.0, 8.0, 8.0))
NUMBERS = {0: 44, 1: 8}


def excess(numbers: np.ndarray, positions: np.ndarray, spec: GridSpec = SPEC) -> float:
    grids = densities(*pack([(numbers, positions)], spec, dtype=torch.float64), spec)
    return float(CloseAtoms(DISTANCES, spec).excess(grids))


def pair_excess(pair: tuple[int, int], distance: float, rng: np.random.Generator) -> float:
    """Of two atoms somewhere, in some direction."""
    direction = rng.normal(size=3)
    start = rng.uniform(3.0, 5.0, 3)
    positions = np.array([start, start + distance * direction / np.linalg.norm(direction)])
    return excess(np.array([NUMBERS[channel] for channel in pair]), positions)


@pytest.mark.parametrize("pair", PAIRS)
def test_nothing_is_seen_of_a_pair_at_an_allowed_distance(pair: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    distances = DISTANCES[pair] * rng.uniform(1.0, 1.6, 40)
    assert max(pair_excess(pair, distance, rng) for distance in distances) == 0.0


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_that_is_too_close_is_seen_in_every_direction(pair: tuple[int, int]) -> None:
    """Lags are 25° apart and rounded to voxels of 0.4 Å: what is closer than 0.8 of the limit is never missed."""
    rng = np.random.default_rng(1)
    assert min(pair_excess(pair, DISTANCES[pair] * share, rng) for share in rng.uniform(0.0, 0.8, 40)) > 1e-4


@pytest.mark.parametrize("pair", PAIRS)
def test_closer_is_worse(pair: tuple[int, int]) -> None:
    mean = [np.mean([pair_excess(pair, share * DISTANCES[pair], np.random.default_rng(2)) for _ in range(8)])
            for share in (1.0, 0.85, 0.7)]  # fmt: skip
    assert mean[0] < mean[1] < mean[2]


def packed(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """As many atoms as fit at allowed distances."""
    numbers: list[int] = []
    positions: list[np.ndarray] = []
    for _ in range(3000):
        at, channel = rng.uniform(0.0, 8.0, 3), int(rng.integers(2))
        for other, there in zip(numbers, positions, strict=True):
            apart = at - there
            apart[:2] -= 8.0 * np.round(apart[:2] / 8.0)
            pair = (min(channel, other), max(channel, other))
            if np.linalg.norm(apart) < DISTANCES[pair]:
                break
        else:
            numbers.append(channel)
            positions.append(at)
    return np.array([NUMBERS[channel] for channel in numbers]), np.array(positions)


@pytest.mark.parametrize("seed", range(3))
def test_tails_of_neighbours_are_no_overlap(seed: int) -> None:
    """Of a cell as full as it gets, denser than the oxide, less than a hundredth of a pair is seen."""
    numbers, positions = packed(np.random.default_rng(seed))
    assert len(numbers) > 40
    assert excess(numbers, positions) < 0.01


@pytest.mark.parametrize("pair", PAIRS)
def test_its_gradient_pushes_atoms_apart(pair: tuple[int, int]) -> None:
    spec = replace(SPEC, clip=False)
    numbers = np.array([NUMBERS[channel] for channel in pair])
    positions, channels = pack([(numbers, np.array([[3.7, 4.1, 4.0], [4.6, 4.6, 4.3]]))], spec, dtype=torch.float64)
    positions.requires_grad_(True)
    before = float((positions[0, 1] - positions[0, 0]).norm().detach())
    term = CloseAtoms(DISTANCES, spec)
    for _ in range(80):
        (slope,) = torch.autograd.grad(term.excess(densities(positions, channels, spec)).sum(), positions)
        step = 0.02 * slope / slope.norm().clamp(min=1e-12)  # Å
        positions = (positions - step).detach().requires_grad_(True)
    after = float((positions[0, 1] - positions[0, 0]).norm().detach())
    assert before == pytest.approx(math.sqrt(0.81 + 0.25 + 0.09))
    assert after > 0.85 * DISTANCES[pair]
    centre = positions.detach().mean(dim=1)[0].numpy()
    np.testing.assert_allclose(centre, [4.15, 4.35, 4.15], atol=0.15)  # a third of a voxel


def test_shortest_distances_are_those_of_the_structures_and_their_frozen_atoms() -> None:
    """The frozen Ru is at the corner, below the free atoms; the cell of 4 Å repeats each atom."""
    near = TrainingRecord(np.array([44, 8, 8]), np.array([[0.1, 0.0, 3.5], [3.9, 2.0, 3.5], [0.2, 2.0, 5.0]]), {})
    found = least_distances([near, *records(2)], grid(), template())
    assert found[0, 0] == pytest.approx(math.hypot(0.1, 2.5))
    assert found[1, 1] == pytest.approx(math.hypot(0.3, 1.5))
    assert found[0, 1] <= math.hypot(0.2, 2.0)
    alone = least_distances([TrainingRecord(np.array([8]), np.array([[1.0, 1.0, 3.0]]), {})], grid(), None)
    assert alone == {(1, 1): 4.0}


def trainer(terms: dict[str, float], view: View | None = None, seed: int = 0, **changes: Any) -> Trainer:
    settings = replace(SETTINGS, terms=terms, **changes)
    random = torch.Generator().manual_seed(seed)
    networks: NetworkSettings = replace(NETWORKS, conditions=(CLASSES, CHEMICAL_POTENTIAL))
    if view is not None:
        cells = [replace(record, condition={**record.condition, "delta_mu_o": -0.5}) for record in cell_records()]
        return Trainer(None, cell_grid(), networks, settings, cells, random, view=view)
    data = [replace(record, condition={**record.condition, "delta_mu_o": -0.5}) for record in records()]
    return Trainer(template(), grid(), networks, settings, data, random)


def test_structures_of_the_training_set_have_no_excess() -> None:
    made = trainer({"validity": 1.0})
    real = made.dataset.batch(48, torch.Generator().manual_seed(0)).grids + made.state.generator.frozen
    term = made.prepared["validity"]
    assert isinstance(term, CloseAtoms)
    assert float(term.excess(real).max()) < 1e-3  # one in a thousand of a pair: tails


@pytest.mark.parametrize("view", [None, View("cell")], ids=["window", "cell"])
@pytest.mark.parametrize("name", ["validity", "predictor"])
def test_a_term_with_something_of_its_own_resumes_to_the_bit(tmp_path: Path, name: str, view: View | None) -> None:
    whole = trainer({name: 0.1}, view)
    metrics = list(whole.run())
    assert all(math.isfinite(row[name]) for row in metrics)
    interrupted = trainer({name: 0.1}, view).run(tmp_path)
    next(interrupted)
    interrupted.close()
    resumed = trainer({name: 0.1}, view, seed=9)
    list(resumed.run(tmp_path))
    for term, other in zip(whole.prepared.values(), resumed.prepared.values(), strict=True):
        assert [n for n, tensor in term.tensors().items() if not torch.equal(tensor, other.tensors()[n])] == []
    expected, found = whole.state.tensors(), resumed.state.tensors()
    assert [n for n in expected if not torch.equal(expected[n], found[n])] == []


def test_the_predictor_learns_what_it_is_to_read() -> None:
    """Its error falls although nothing comes of it for the generator."""
    settings = {"steps": 40, "batch_size": 8}
    listening = trainer({"predictor": 0.0}, **settings)
    metrics = list(listening.run())
    last = np.mean([row["predictor_error"] for row in metrics[-15:]])
    first = np.mean([row["predictor_error"] for row in metrics[:5]])
    assert last < first


def test_the_predictor_pulls_generated_grids_down() -> None:
    """Against an idle critic the mean that is read from them falls; without the term it stays."""
    settings = {"steps": 30, "batch_size": 4, "critic_rate": 1e-9, "generator_rate": 1e-3}
    pulled, left = (
        [row["predictor"] for row in trainer({"predictor": weight}, **settings).run()] for weight in (20.0, 0.0)
    )
    assert np.mean(pulled[-10:]) < np.mean(left[-10:]) - 0.05


def test_without_the_terms_nothing_is_made() -> None:
    assert trainer({}).prepared == {}


def test_terms_that_have_nothing_to_go_by_are_refused() -> None:
    random = torch.Generator().manual_seed(0)
    bare = replace(NETWORKS, conditions=())
    with pytest.raises(ValueError, match="the term `predictor` needs the condition `energy_class`"):
        Trainer(template(), grid(), bare, replace(SETTINGS, terms={"predictor": 1.0}), records(), random)
    sliced = trainer({"validity": 1.0}, View("slice", axis=1, planes=(0.0, 0.5)))
    with pytest.raises(ValueError, match="three dimensions"):
        list(sliced.run())
