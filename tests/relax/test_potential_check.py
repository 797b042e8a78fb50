"""A potential judged by its own labels is without fault; one judged by another's is not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from relax_structures import distorted_slab, rutile

from relax.fitting.held_out import hold_out
from relax.labelling.frames import ENERGY_KEY, FORCES_KEY
from relax.model_card import write_model_card
from relax.potential import CountingCalculator, PotentialError, PotentialSpec
from relax.potential_check import check
from relax.potential_figures import PotentialFigures, worsened
from relax.surface_figures import Labeller, read_surface_figures, surface_figures, write_surface_figures
from searcher.structures.crystal import Crystal
from searcher.structures.faces import symmetric_slabs


def _slabs(a: float, c: float, u: float) -> dict[str, dict[str, Atoms]]:
    return {"110": symmetric_slabs(Crystal("Ru", a, c, u), thickness=3.0)}


def _labelled_slabs(calculator: CountingCalculator) -> list[Atoms]:
    frames = [distorted_slab(seed) for seed in range(4)]
    for index, frame in enumerate(frames):
        measured = frame.copy()
        measured.calc = calculator
        frame.info = {
            "config_type": "thermal",
            "family": f"made-thermal-110-O-rich-{index}",
            ENERGY_KEY: measured.get_potential_energy(),
        }
        frame.arrays[FORCES_KEY] = measured.get_forces(apply_constraint=False)
    return frames


@pytest.fixture(scope="module")
def judged() -> tuple[PotentialFigures, list[Atoms]]:
    from relax.analytic import AnalyticRuO

    calculator = CountingCalculator(AnalyticRuO())
    frames = _labelled_slabs(calculator)
    reference = surface_figures(calculator, "stand-in", rutile(), _slabs)
    spec = PotentialSpec("calculator", import_path="relax.analytic:AnalyticRuO")
    return check(spec, frames, reference, rutile(), _slabs, [distorted_slab(seed=9)]), frames


def test_a_potential_agrees_with_itself(judged: tuple[PotentialFigures, list[Atoms]]) -> None:
    figures, _ = judged
    # the same arithmetic on both sides
    assert figures.energy_rmse["surfaces"] == pytest.approx(0.0, abs=1e-12)
    assert figures.force_rmse["thermal 110"] == pytest.approx(0.0, abs=1e-12)
    assert all(figures.repulsive.values())
    assert (figures.survived, figures.proposals) == (1, 1)
    # the processor's speed is not this test's concern
    assert replace(figures, milliseconds_per_atom=1.0).shortcomings() == []


def test_what_is_missed_is_named_with_its_limit(judged: tuple[PotentialFigures, list[Atoms]], tmp_path: Path) -> None:
    figures, frames = judged
    errors = dict.fromkeys(figures.energy_rmse, 0.02)
    worse = replace(figures, energy_rmse=errors, megabytes=20.0, milliseconds_per_atom=1.0)
    missed = worse.shortcomings()
    assert [line.split(":")[0] for line in missed] == [
        "energy error, thermal, meV/atom",
        "energy error, thermal 110, meV/atom",
        "size, MB",
    ]
    assert "20, asked for at most 15" in missed[2]
    write_model_card(worse, frames, frames[:1], tmp_path / "MODEL_CARD.md")
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert figures.potential_hash in card
    assert missed[0] in card


def test_the_card_names_who_labelled(judged: tuple[PotentialFigures, list[Atoms]], tmp_path: Path) -> None:
    figures, frames = judged
    card = tmp_path / "MODEL_CARD.md"
    known = Labeller("sevenn.calculator:SevenNetCalculator", {"model": "7net-mf-0", "modal": "PBE"})
    for labeller, named, distance in (
        (known, "by `sevenn.calculator:SevenNetCalculator(modal='PBE', model='7net-mf-0')`;", True),
        (Labeller("mine:Own", {}), "by `mine:Own()`;", False),
        (None, "by a calculator that its figures do not name;", False),
    ):
        write_model_card(replace(figures, reference=replace(figures.reference, labeller=labeller)), frames, [], card)
        text = card.read_text()
        assert f"Labelled {named}" in text
        assert ("by 0.58 eV/Å" in text) == distance, "what was measured of one labeller says nothing of another"


def test_crossovers_follow_from_the_two_surface_energies(judged: tuple[PotentialFigures, list[Atoms]]) -> None:
    surfaces = judged[0].surfaces.facets["110"]
    at = surfaces.crossover("stoichiometric", "O-rich")

    def gamma(name: str) -> float:
        return surfaces.gamma[name] - surfaces.excess_oxygen[name] / (2 * surfaces.area) * at

    assert gamma("stoichiometric") == pytest.approx(gamma("O-rich"), abs=1e-12)
    with pytest.raises(PotentialError, match="more oxygen"):
        surfaces.crossover("O-rich", "stoichiometric")


def test_worse_is_what_exceeds_the_noise_of_a_fit(judged: tuple[PotentialFigures, list[Atoms]]) -> None:
    figures, _ = judged
    assert worsened(figures, figures) == []
    before = replace(figures, energy_rmse={"thermal": 0.010}, force_rmse={"thermal": 0.2})
    assert worsened(before, replace(before, energy_rmse={"thermal": 0.0109})) == []
    (line,) = worsened(before, replace(before, energy_rmse={"thermal": 0.0112}))
    assert line.startswith("energy thermal, meV/atom: 10 before")
    facet = figures.surfaces.facets["110"]
    higher = replace(facet, gamma={**facet.gamma, "O-rich": facet.gamma["O-rich"] + 0.002})
    lost = replace(facet, gamma={**facet.gamma, "O-rich": np.nan})
    for changed in (higher, lost):
        surfaces = replace(figures.surfaces, facets={"110": changed})
        assert any("γ 110 O-rich" in line for line in worsened(figures, replace(figures, surfaces=surfaces)))
    hole = {**figures.repulsive, "O-O": False}
    assert worsened(figures, replace(figures, repulsive=hole)) == ["hole O-O: 0 before, 1 after"]


def test_surface_figures_survive_their_file(judged: tuple[PotentialFigures, list[Atoms]], tmp_path: Path) -> None:
    surfaces = judged[0].surfaces
    for kept in (surfaces, replace(surfaces, labeller=Labeller("mine:Own", {"model": "m"}))):
        write_surface_figures(kept, tmp_path / "labeller.json")
        assert read_surface_figures(tmp_path / "labeller.json") == kept
    with pytest.raises(PotentialError, match="does not exist"):
        read_surface_figures(tmp_path / "absent.json")


def test_figures_beside_others_are_of_their_minima(judged: tuple[PotentialFigures, list[Atoms]]) -> None:
    from relax.analytic import AnalyticRuO

    found = judged[0].reference
    facet = found.facets["110"]
    raised = np.asarray(facet.displacements["O-rich"])
    raised[-1] = [0.0, 0.0, 8.0]  # an oxygen atom that has left: a minimum of its own
    elsewhere = replace(facet, displacements={"O-rich": raised.tolist()})
    beside = replace(found, facets={"110": elsewhere})
    again = surface_figures(CountingCalculator(AnalyticRuO()), "stand-in", rutile(), _slabs, beside).facets["110"]
    assert again.gamma["O-rich"] > facet.gamma["O-rich"] + 0.01  # a bond is missing
    assert again.gamma["stoichiometric"] == pytest.approx(facet.gamma["stoichiometric"], abs=1e-9)  # begun at the cut
    with pytest.raises(PotentialError, match="other slabs"):
        fewer = replace(facet, displacements={"O-rich": raised[:-1].tolist()})
        surface_figures(AnalyticRuO(), "stand-in", rutile(), _slabs, replace(found, facets={"110": fewer}))


def test_no_family_is_on_both_sides() -> None:
    frames = []
    for index in range(120):
        atoms = Atoms("O")
        atoms.info = {"family": f"family-{index // 3}", "config_type": "isolated_atom" if index < 3 else "slab"}
        frames.append(atoms)
    training, validation = hold_out(frames)
    families = [{atoms.info["family"] for atoms in part} for part in (training, validation)]
    assert not families[0] & families[1]
    assert len(training) + len(validation) == 120
    # 40 families with a chance of one in ten: outside of 1 to 10 with a probability below 2 %
    assert 1 <= len(families[1]) <= 10
    assert "family-0" in families[0]
    assert np.all([atoms in training for atoms in frames[:3]])
