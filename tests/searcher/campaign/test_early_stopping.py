"""Early stops: what may still become acceptable goes on, and workers know only what the snapshot held."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from relax.stopping import FORMING_O2, forming_o2
from relax.worker import relax_task, stop_criterion
from searcher.campaign.early_stopping import HOPELESS, KNOWN_MINIMUM, StopPlan, hopeless
from searcher.campaign.problem import ReferenceEnergies, build_problem
from searcher.config import CampaignConfig, StoppingSection
from searcher.scoring.thermodynamics import Envelope, Line
from searcher.structures.crystal import Crystal
from searcher.structures.templates import TemplateSettings, seed_structures

ANALYTIC = {"import_path": "relax.analytic:AnalyticRuO"}
THIN = 2.0  # Å


@pytest.fixture(scope="module")
def problem():
    crystal = Crystal()
    references = ReferenceEnergies(crystal.a, crystal.c, crystal.u, -20.0, -5.0, -3.36)
    surface = {"facet": "110", "repeat": (1, 1), "frozen_thickness": THIN}
    config = CampaignConfig(name="test", potential=ANALYTIC, surface=surface, grid={"allow_coarse": True})
    return build_problem(config, references, gamma_bottom=0.07)


@pytest.fixture(scope="module")
def seed():
    return seed_structures(Crystal(), "110", (1, 1), TemplateSettings(frozen_thickness=THIN))["110-stoichiometric"]


def plan(problem, seed, **changes):
    settings = {"known_minimum": True, **changes}
    lines = {"seed": problem.gamma(seed, -200.0)}
    return StopPlan(
        problem=problem,
        settings=StoppingSection(**settings),
        kappa_min=0.075,
        margin=0.025,
        minima={np.asarray(seed.numbers, dtype=int).tobytes(): (seed.positions,)},
        envelope=Envelope(lines),
    )


def at_rest(atoms, moved=0.0):
    """A frame without forces whose last atom stands elsewhere."""
    frame = atoms.copy()
    frame.positions[-1, 2] += moved
    frame.calc = SinglePointCalculator(frame, energy=0.0, forces=np.zeros((len(frame), 3)))
    return frame


def criterion(problem, seed, **settings):
    switches = {"forming_o2": False, "known_minimum": False, "hopeless": False, **settings}
    (description,) = plan(problem, seed, **switches).criteria(seed)
    return stop_criterion(description)


def test_the_ceiling_is_where_the_margin_ends(problem, seed):
    ceiling = plan(problem, seed).ceiling(seed)
    area = problem.template.area
    assert ceiling == pytest.approx(-200.0 + 0.025 * area, abs=1e-9)  # the seed itself is the envelope
    line = problem.gamma(seed, ceiling)
    assert Envelope({"seed": problem.gamma(seed, -200.0)}).distance(line) == pytest.approx(0.025, abs=1e-12)


def test_a_ceiling_holds_for_other_compositions_too(problem, seed):
    fewer = seed[:-1]
    made = plan(problem, seed)
    distance = made.envelope.distance(problem.gamma(fewer, made.ceiling(fewer)))
    assert distance == pytest.approx(0.025, abs=1e-12)


def test_hopeless_is_told_at_its_calls_only_and_never_below_the_ceiling():
    looks = [(2, 1.0), (4, 0.5)]
    assert [hopeless(-10.0, looks)(Atoms(), -8.0, calls) for calls in range(1, 6)] == [
        None,
        HOPELESS,
        None,
        HOPELESS,
        None,
    ]
    assert [hopeless(-10.0, looks)(Atoms(), -9.2, calls) for calls in range(1, 6)] == [None, None, None, HOPELESS, None]
    assert [hopeless(-10.0, looks)(Atoms(), -10.5, calls) for calls in range(1, 6)] == [None] * 5


def test_what_may_still_be_gained_grows_with_the_cell(problem, seed):
    (description,) = plan(problem, seed, forming_o2=False, known_minimum=False).criteria(seed)
    looks = description["arguments"]["looks"]
    call, gain_mev_per_a2 = StoppingSection().hopeless_looks[0]
    assert looks[0] == pytest.approx((call, 1e-3 * gain_mev_per_a2 * problem.template.area), abs=1e-12)


def test_a_known_minimum_is_told_at_the_second_look(problem, seed):
    stop = criterion(problem, seed, known_minimum=True, known_minimum_every=2)
    assert [stop(at_rest(seed), 0.0, calls) for calls in range(1, 5)] == [None, None, None, KNOWN_MINIMUM]


def test_another_place_or_a_violent_force_is_no_known_minimum(problem, seed):
    stop = criterion(problem, seed, known_minimum=True, known_minimum_every=1)
    assert [stop(at_rest(seed, 0.8), 0.0, calls) for calls in range(1, 4)] == [None] * 3
    violent = at_rest(seed)
    violent.calc.results["forces"][-1] = [0.0, 0.0, 3.0]
    assert [stop(violent, 0.0, calls) for calls in range(1, 4)] == [None] * 3


def test_nothing_of_the_same_composition_means_no_look(problem, seed):
    descriptions = plan(problem, seed, forming_o2=False, hopeless=False).criteria(seed[:-1])
    assert descriptions == []


def test_every_switch_takes_its_criterion_out(problem, seed):
    whole = {d["import_path"].partition(":")[2] for d in plan(problem, seed).criteria(seed)}
    assert whole == {"forming_o2", "hopeless", "known_minimum"}
    for name in whole:
        left = {d["import_path"].partition(":")[2] for d in plan(problem, seed, **{name: False}).criteria(seed)}
        assert left == whole - {name}


def test_criteria_pass_through_a_worker(problem, seed):
    start = seed.copy()
    start.positions[-1] += [0.01, 0.01, 0.01]
    payload = {
        "potential": {"kind": "calculator", "import_path": ANALYTIC["import_path"], "path": "", "arguments": {}},
        "numbers": start.numbers,
        "positions": start.positions,
        "cell": start.cell.array,
        "pbc": start.pbc.tolist(),
        "frozen": range(problem.template.n_frozen),
        "settings": {"fmax": 1e-4, "maxstep": 0.01},  # the seed is no minimum of the stand-in
        "criteria": plan(
            problem, seed, hopeless=False, known_minimum_every=1, known_minimum_share=1.0, calm_force=100.0
        ).criteria(start),
    }
    result = relax_task(payload)
    assert (result["reason"], result["force_calls"], result["converged"]) == (KNOWN_MINIMUM, 2, False)


def test_a_molecule_that_stays_is_told_and_one_passing_by_is_not(seed):
    n = len(seed)
    pair = seed + Atoms("O2", [seed.positions[-1] + [0, 0, 2.5], seed.positions[-1] + [0, 0, 3.8]])
    pair.set_constraint(FixAtoms(range(n)))
    near, apart = at_rest(pair), at_rest(pair, 1.0)
    stop = forming_o2(bond=1.6, patience=2)
    assert [stop(frame, 0.0, 1) for frame in (near, apart, near, near)] == [None, None, None, FORMING_O2]
    violent = at_rest(pair)
    violent.calc.results["forces"][-1] = [0.0, 0.0, 9.0]
    assert [stop(violent, 0.0, 1) for _ in range(3)] == [None] * 3


def test_lines_of_other_references_do_not_matter(problem, seed):
    """A ceiling is an energy difference: shifting every line shifts it by as much."""
    made = plan(problem, seed)
    raised = StopPlan(
        **{
            **vars(made),
            "envelope": Envelope(
                {"seed": Line(made.envelope.lines["seed"].gamma0 + 0.01, made.envelope.lines["seed"].slope)}
            ),
        }
    )
    assert raised.ceiling(seed) - made.ceiling(seed) == pytest.approx(0.01 * problem.template.area, abs=1e-9)
