"""What is said of a termination: laws of the planar cuts and of supercells."""

from pathlib import Path

import numpy as np
import pytest

from searcher.results.description import (
    coordination,
    describe_candidate,
    describe_surface,
    lateral_translations,
    layer_group,
    superstructure,
    wood_notation,
)
from searcher.results.terminations import described
from searcher.structures.crystal import Crystal
from searcher.structures.templates import TemplateSettings, seed_structures

ALL = {"O_br": 1.0, "O_cus": 1.0}


def frozen(atoms):
    return int((atoms.get_tags() == 0).sum())


def surface(atoms, facet="110", repeat=(1, 2)):
    return describe_surface(atoms, frozen(atoms), facet, repeat, Crystal(), TemplateSettings())


@pytest.mark.parametrize(
    ("name", "coverages", "excess"),
    [("O-poor", {"O_br": 0, "O_cus": 0}, -1), ("stoichiometric", {"O_br": 1, "O_cus": 0}, 0), ("O-rich", ALL, 1)],
)
def test_planar_terminations_of_110(name, coverages, excess):
    found = surface(seed_structures(Crystal(), "110", (1, 2))[f"110-{name}"])
    assert found["coverages"] == coverages and found["vacancies"] == 0
    assert (found["wood"], found["matrix"]) == ("(1×1)", [[1, 0], [0, 1]])
    area = 4.4968 * np.sqrt(2) * 3.1049 / 100  # nm² of the (1×1) cell
    assert found["excess_oxygen_per_nm2"] == pytest.approx(excess / area, abs=1e-6)
    assert found["layer_change_percent"] == pytest.approx([0.0], abs=1e-3)
    # both faces of the stoichiometric cut are the same
    assert found["layer_group"]["symbol"] == ("pmmm" if name == "stoichiometric" else "pmm2")


def test_one_missing_oxygen_halves_a_coverage_and_doubles_the_cell():
    atoms = seed_structures(Crystal(), "110", (1, 2))["110-O-rich"]
    del atoms[int(atoms.positions[:, 2].argmax())]  # one of two O_cus
    found = surface(atoms)
    assert found["coverages"] == {"O_br": 1.0, "O_cus": 0.5}
    assert (found["wood"], found["matrix"]) == ("(1×2)", [[1, 0], [0, 2]])


def test_a_vacancy_below_the_surface_is_counted():
    atoms = seed_structures(Crystal(), "110", (1, 2))["110-stoichiometric"]
    free = np.arange(frozen(atoms), len(atoms))
    oxygen = [i for i in free if atoms.numbers[i] == 8]
    del atoms[min(oxygen, key=lambda i: atoms.positions[i, 2])]
    assert surface(atoms)["vacancies"] == 1


def test_coordination_of_the_bridging_termination():
    atoms = seed_structures(Crystal(), "110", (1, 1))["110-stoichiometric"]
    # a fivefold and a sixfold Ru, O_br with two Ru, three O of the plane and below with three
    assert coordination(atoms, frozen(atoms)) == {"O": {2: 1, 3: 3}, "Ru": {5: 1, 6: 1}}


def test_description_does_not_depend_on_noise_of_a_relaxation():
    atoms = seed_structures(Crystal(), "110", (1, 2))["110-O-rich"]
    noisy = atoms.copy()
    free = np.arange(len(atoms)) >= frozen(atoms)
    noisy.positions[free] += np.random.default_rng(2).normal(0, 0.02, (int(free.sum()), 3))
    for key in ("wood", "coverages", "vacancies", "coordination", "stoichiometry"):
        assert surface(noisy)[key] == surface(atoms)[key]


@pytest.mark.parametrize("facet", ["001", "100", "101", "111"])
def test_other_facets_have_full_sites_where_oxygen_is_richest(facet):
    seeds = seed_structures(Crystal(), facet, (1, 1))
    richest = max(seeds, key=lambda n: int((seeds[n].numbers == 8).sum()) - 2 * int((seeds[n].numbers == 44).sum()))
    found = surface(seeds[richest], facet, (1, 1))
    assert found["coverages"] and set(found["coverages"].values()) == {1.0} and found["vacancies"] == 0


def test_superstructures_and_their_names():
    two_by_two = (2, 2)
    whole = np.zeros((1, 2))
    assert wood_notation(superstructure(whole, two_by_two)) == "(2×2)"
    centred = superstructure(np.array([[0, 0], [0.5, 0.5]]), two_by_two)
    assert wood_notation(centred) == "c(2×2)" and np.linalg.det(centred) == pytest.approx(2)
    oblique = superstructure(np.array([[0, 0], [1 / 3, 1 / 3], [2 / 3, 2 / 3]]), (3, 3))
    assert oblique.tolist() == [[3, 0], [1, 1]] and wood_notation(oblique) is None


def test_translations_of_a_supercell_form_its_lattice():
    atoms = seed_structures(Crystal(), "110", (2, 3))["110-O-rich"]
    assert len(lateral_translations(atoms)) == 6
    assert layer_group(atoms)["number"] == 23


def test_a_campaigns_candidate_carries_its_provenance(tmp_path: Path):
    from results_campaign import build_campaign

    ledger = build_campaign(tmp_path / "invented", iterations=1)
    termination = described(ledger, ledger.candidates(verdict="accepted"))[0]
    found = describe_candidate(ledger, termination)
    assert found["provenance"]["campaign"] == "invented" and found["nearest"]["label"] == "110-stoichiometric"
    assert found["potential"] and found["provenance"]["arm"] in ("gan", "random")
