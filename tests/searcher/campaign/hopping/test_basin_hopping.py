"""Basin hopping: the same chains whatever interrupts or reorders them, and only valid, distinct minima."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms

from relax.analytic import AnalyticRuO
from relax.potential import PotentialSpec
from searcher.campaign.hopping.basin_hopping import (
    BasinHoppingSettings,
    basin_hopping,
    hop_counts,
    read_hops,
    write_minima,
)
from searcher.campaign.hopping.falling_back import FELL_BACK, falling_back
from searcher.campaign.hopping.paving import Paving
from searcher.campaign.problem import ReferenceEnergies, build_problem
from searcher.campaign.workers.executor import InlineExecutor, Outcome
from searcher.config import CampaignConfig
from searcher.errors import InputError, SearchFailed
from searcher.scoring.thermodynamics import BOLTZMANN
from searcher.scoring.validity import check_validity
from searcher.structures.crystal import Crystal
from searcher.structures.files import read_structures
from searcher.structures.templates import TemplateSettings, seed_structures

ANALYTIC = {"import_path": "relax.analytic:AnalyticRuO"}
POTENTIAL = PotentialSpec("calculator", **ANALYTIC)
THIN = 2.0  # Å; fewer frozen atoms, so that a force call costs less
SETTINGS = BasinHoppingSettings(
    steps=4,
    ladder=(-1.0, 0.0),
    relaxation={"fmax": 0.3, "max_calls": 60},  # coarse: these tests are about chains, not about energies
)


def energy(atoms):
    atoms.calc = AnalyticRuO()
    return float(atoms.get_potential_energy())


@pytest.fixture(scope="module")
def problem():
    crystal = Crystal()
    oxygen = Atoms("O2", [[0, 0, 0], [0, 0, 1.21]])
    bulk, half_o2 = energy(crystal.bulk()) / 2, energy(oxygen) / 2
    references = ReferenceEnergies(crystal.a, crystal.c, crystal.u, bulk, half_o2, -3.36)
    surface = {"facet": "110", "repeat": (1, 1), "frozen_thickness": THIN}
    config = CampaignConfig(name="test", potential=ANALYTIC, surface=surface, grid={"allow_coarse": True})
    return build_problem(config, references, gamma_bottom=0.07)


@pytest.fixture(scope="module")
def start(problem):
    return seed_structures(Crystal(), "110", (1, 1), TemplateSettings(frozen_thickness=THIN))["110-stoichiometric"]


@pytest.fixture(scope="module")
def finished(problem, start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hops")
    return folder, basin_hopping(problem, POTENTIAL, InlineExecutor(), start, SETTINGS, 5, folder)


class BackwardExecutor(InlineExecutor):
    """Answers in the reverse order."""

    def map(self, function, payloads):
        return iter(list(super().map(function, payloads))[::-1])


class FailingExecutor(InlineExecutor):
    """Loses every relaxation after the start."""

    def __init__(self):
        super().__init__()
        self.started = False

    def map(self, function, payloads):
        if function.__name__ == "relax_task" and self.started:
            yield from (Outcome(i, None, "worker_died", "lost") for i in range(len(payloads)))
        else:
            self.started = True
            yield from super().map(function, payloads)


def same(one, two):
    assert [m.id for m in one] == [m.id for m in two]
    assert all((a.positions == b.positions).all() and a.energy == b.energy for a, b in zip(one, two, strict=True))
    assert all(a.visits == b.visits and a.line == b.line for a, b in zip(one, two, strict=True))


def test_order_of_completion_does_not_matter(problem, start, finished, tmp_path):
    same(finished[1], basin_hopping(problem, POTENTIAL, BackwardExecutor(), start, SETTINGS, 5, tmp_path))


def test_going_on_equals_never_having_stopped(problem, start, finished, tmp_path):
    told = []
    basin_hopping(problem, POTENTIAL, InlineExecutor(), start, replace(SETTINGS, steps=2), 5, tmp_path)
    minima = basin_hopping(problem, POTENTIAL, InlineExecutor(), start, SETTINGS, 5, tmp_path, told.append)
    same(finished[1], minima)
    assert read_hops(tmp_path) == read_hops(finished[0])
    assert told == [4, 2, 2]  # two chains: four hops found, then two per step


def test_a_finished_folder_is_only_read(problem, start, finished):
    class NoRelaxation(InlineExecutor):
        def map(self, function, payloads):
            assert function.__name__ != "relax_task"
            return super().map(function, payloads)

    same(finished[1], basin_hopping(problem, POTENTIAL, NoRelaxation(), start, SETTINGS, 5, finished[0]))


def test_minima_are_valid_and_on_the_template(problem, finished):
    folder, minima = finished
    template = problem.template
    assert minima[0].step == 0 and len(minima) > 1
    for minimum in minima:
        assert check_validity(minimum.atoms, template.n_frozen, problem.thresholds, template.frozen_positions).valid
        fewest, most = problem.counts["O"]
        assert fewest <= minimum.oxygen_count <= most
        assert np.count_nonzero(minimum.numbers == 44) == np.count_nonzero(minima[0].numbers == 44)
    counts = hop_counts(hop for hops in read_hops(folder) for hop in hops)
    assert counts["hops"] == 8 and counts["valid"] + 1 == sum(m.visits for m in minima)


def test_downhill_is_always_taken_and_the_chain_stands_where_it_went(problem, finished):
    steps = read_hops(finished[0])
    place = {(hop.step, hop.chain): hop for hops in steps for hop in hops}
    for chain, delta_mu_o in enumerate(SETTINGS.ladder):
        mu_o = problem.references.half_energy_o2 + delta_mu_o
        before, paving = steps[0][0], Paving(SETTINGS.paving)
        for hops in steps[1:]:
            hop = hops[chain]
            rise = np.inf
            if hop.reason is None:
                rise = hop.energy - before.energy - mu_o * (hop.numbers.count(8) - before.numbers.count(8))
                rise += paving.at(hop.numbers.count(8), hop.energy) - paving.at(before.numbers.count(8), before.energy)
            assert hop.accepted or rise > 0
            # a uniform number below exp(-40) will not be met
            assert not hop.accepted or rise < 40 * BOLTZMANN * SETTINGS.temperature
            before = hop if hop.accepted else before
            paving.visit(before.numbers.count(8), before.energy)
            assert place[hop.current] == before


def test_chains_that_exchange_keep_their_structures(problem, start, finished, tmp_path):
    settings = replace(SETTINGS, exchange_every=1, steps=3)
    whole = basin_hopping(problem, POTENTIAL, InlineExecutor(), start, settings, 5, tmp_path / "whole")
    for steps in (1, 3):
        parts = basin_hopping(
            problem, POTENTIAL, InlineExecutor(), start, replace(settings, steps=steps), 5, tmp_path / "parts"
        )
    same(whole, parts)
    for before, after in pairwise(read_hops(tmp_path / "whole")[1:]):
        stood = {hop.current for hop in before} | {(h.step, h.chain) for h in after if h.accepted}
        assert {hop.current for hop in after} <= stood


def test_lost_relaxations_are_rejected_hops(problem, start, tmp_path):
    settings = replace(SETTINGS, steps=2)
    minima = basin_hopping(problem, POTENTIAL, FailingExecutor(), start, settings, 5, tmp_path)
    assert len(minima) == 1
    hops = [hop for hops in read_hops(tmp_path)[1:] for hop in hops]
    assert {hop.reason for hop in hops} == {"worker_died"} and not any(hop.accepted for hop in hops)


def test_cartesian_moves_give_other_minima_by_the_same_way(problem, start, tmp_path):
    settings = replace(SETTINGS, steps=1, moves="cartesian", oxygen_probability=0.0, relocation_probability=0.0)
    assert basin_hopping(problem, POTENTIAL, InlineExecutor(), start, settings, 5, tmp_path)
    assert {hop.move for hop in read_hops(tmp_path)[1]} == {"displacement"}


def test_a_chain_leaves_a_minimum_that_no_temperature_would_let_it_leave():
    """In two minima 1 eV apart a chain at 1000 K takes e^11 steps to go up; paved by 0.1 eV it takes about ten."""
    lower, upper, paving = -100.0, -99.0, Paving(0.1)
    steps = 0
    while lower + paving.at(8, lower) < upper:
        paving.visit(8, lower + 0.02 * (-1) ** steps)  # relaxations into one minimum differ by the force criterion
        steps += 1
        assert paving.at(8, upper) == paving.at(9, lower) == 0.0
    assert 10 <= steps <= 11


def test_a_structure_back_in_its_minimum_is_told_whatever_image_it_is_in(problem, start):
    n_frozen = problem.template.n_frozen
    criterion = falling_back(start.positions[n_frozen:].tolist(), 0.25)
    moved = start.copy()
    moved.positions[-1] += [0.2, -0.1, 0.0]
    assert criterion(moved, 0.0, 1) == FELL_BACK
    moved.positions[-1, 0] += problem.template.cell[0]
    assert criterion(moved, 0.0, 1) == FELL_BACK
    moved.positions[-2, 2] += 0.3
    assert criterion(moved, 0.0, 1) is None


def test_a_budget_of_force_calls_ends_the_chains(problem, start, finished):
    settings = replace(SETTINGS, steps=50, force_calls=1)
    same(finished[1], basin_hopping(problem, POTENTIAL, InlineExecutor(), start, settings, 5, finished[0]))


def test_other_chains_do_not_go_on_in_a_folder(problem, start, finished):
    with pytest.raises(InputError, match="`seed`"):
        basin_hopping(problem, POTENTIAL, InlineExecutor(), start, SETTINGS, 6, finished[0])
    with pytest.raises(InputError, match="`temperature`"):
        basin_hopping(problem, POTENTIAL, InlineExecutor(), start, replace(SETTINGS, temperature=500.0), 5, finished[0])


def test_a_bad_start_is_told(problem, start, tmp_path):
    with pytest.raises(InputError, match="does not begin with"):
        basin_hopping(problem, POTENTIAL, InlineExecutor(), start[3:], SETTINGS, 5, tmp_path)
    with pytest.raises(InputError, match="free O"):
        basin_hopping(
            problem, POTENTIAL, InlineExecutor(), start[: problem.template.n_frozen + 2], SETTINGS, 5, tmp_path
        )
    numbers, positions = problem.template.free_part(start)
    settings = replace(SETTINGS, relaxation={"fmax": 1e-6, "max_calls": 2})
    with pytest.raises(SearchFailed, match="max_calls"):
        shaken = problem.template.assemble(numbers, positions + np.array([0.2, 0.1, 0.2]))
        basin_hopping(problem, POTENTIAL, InlineExecutor(), shaken, settings, 5, tmp_path / "short")


def test_settings_out_of_range_are_refused():
    for change in (
        {"moves": "spiral"},
        {"ladder": ()},
        {"temperature": 0.0},
        {"mode_fraction": 1.5},
        {"steps": 0},
        {"paving": -1.0},
    ):
        with pytest.raises(InputError, match=next(iter(change))):
            BasinHoppingSettings(**change)


def test_written_minima_come_back_with_their_facts(finished, problem, tmp_path):
    minima = finished[1]
    write_minima(tmp_path / "minima.extxyz.xz", minima)
    for minimum, atoms in zip(minima, read_structures(tmp_path / "minima.extxyz.xz"), strict=True):
        assert atoms.info["id"] == minimum.id and atoms.info["label"] == minimum.label
        assert atoms.info["slab_energy_eV"] == pytest.approx(minimum.energy, abs=1e-8)  # digits of the file
        line = problem.gamma(atoms, atoms.info["slab_energy_eV"])
        assert atoms.info["gamma_zero_eV_per_A2"] == pytest.approx(line.gamma0, abs=1e-8)
        assert atoms.info["gamma_slope_per_A2"] == pytest.approx(line.slope, abs=1e-8)
        assert atoms.info["oxygen_count"] == minimum.oxygen_count
    write_minima(tmp_path / "all.extxyz.xz", minima, snapshots=True)
    frames = read_structures(tmp_path / "all.extxyz.xz")
    assert len(frames) == len(minima) + sum(len(m.path) for m in minima) > len(minima)
    assert {frame.info["kind"] for frame in frames} == {"minimum", "snapshot"}
