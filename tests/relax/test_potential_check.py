"""A potential judged by its own labels is without fault; one judged by another's is not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from relax_structures import distorted_slab, rutile

from relax.gap_fit import hold_out
from relax.labelling import ENERGY_KEY, FORCES_KEY
from relax.model_card import write_model_card
from relax.potential import CountingCalculator, PotentialError, PotentialSpec
from relax.potential_check import PotentialFigures, check
from relax.surface_figures import read_surface_figures, surface_figures, write_surface_figures
from searcher.structures.crystal import Crystal
from searcher.structures.potential_set import symmetric_slabs


def _slabs(a: float, c: float, u: float) -> dict[str, Atoms]:
    return symmetric_slabs(Crystal("Ru", a, c, u), repeats=2)


def _labelled_slabs(calculator: CountingCalculator) -> list[Atoms]:
    frames = [distorted_slab(seed) for seed in range(4)]
    for index, frame in enumerate(frames):
        measured = frame.copy()
        measured.calc = calculator
        frame.info = {
            "config_type": "slab",
            "family": f"slab-{index}",
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
    assert figures.force_rmse["slab"] == pytest.approx(0.0, abs=1e-12)
    assert all(figures.repulsive.values())
    assert (figures.survived, figures.proposals) == (1, 1)
    # the processor's speed is not this test's concern
    assert replace(figures, milliseconds_per_atom=1.0).shortcomings() == []


def test_what_is_missed_is_named_with_its_limit(judged: tuple[PotentialFigures, list[Atoms]], tmp_path: Path) -> None:
    figures, frames = judged
    worse = replace(figures, energy_rmse={"surfaces": 0.02, "slab": 0.02}, megabytes=20.0, milliseconds_per_atom=1.0)
    missed = worse.shortcomings()
    assert len(missed) == 2
    assert "20, asked for at most 15" in missed[0]
    write_model_card(worse, frames, frames[:1], tmp_path / "MODEL_CARD.md")
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert figures.potential_hash in card
    assert missed[0] in card


def test_crossovers_follow_from_the_two_surface_energies(judged: tuple[PotentialFigures, list[Atoms]]) -> None:
    surfaces = judged[0].surfaces
    at = surfaces.crossover("stoichiometric", "O-rich")

    def gamma(name: str) -> float:
        return surfaces.gamma[name] - surfaces.excess_oxygen[name] / (2 * surfaces.area) * at

    assert gamma("stoichiometric") == pytest.approx(gamma("O-rich"), abs=1e-12)
    with pytest.raises(PotentialError, match="more oxygen"):
        surfaces.crossover("O-rich", "stoichiometric")


def test_surface_figures_survive_their_file(judged: tuple[PotentialFigures, list[Atoms]], tmp_path: Path) -> None:
    surfaces = judged[0].surfaces
    write_surface_figures(surfaces, tmp_path / "labeller.json")
    assert read_surface_figures(tmp_path / "labeller.json") == surfaces
    with pytest.raises(PotentialError, match="does not exist"):
        read_surface_figures(tmp_path / "absent.json")


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
