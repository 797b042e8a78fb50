"""Facets, terminations and templates of rutile RuO2."""

import numpy as np
import pytest

from searcher.errors import InputError
from searcher.structures.crystal import Crystal, orient
from searcher.structures.templates import TemplateSettings, bottom_slab, build_template, seed_structures
from searcher.structures.terminations import enumerate_terminations

FACETS = ("001", "100", "101", "110", "111")
# (1×1) areas of the experimental cell in Å²; on (111) the smallest orthogonal cell holds two
AREAS = {"001": 20.22, "100": 13.96, "101": 24.57, "110": 19.75, "111": 2 * 28.26}
# excess oxygen per orthogonal cell, by name
EXCESS = {
    "001": {"O-poor": -2, "stoichiometric": 0, "O-rich": 2},
    "100": {"O-poor": -1, "stoichiometric": 0, "O-rich": 1},
    "101": {"O-poor": -2, "stoichiometric": 0, "O-rich": 2},
    "110": {"O-poor": -1, "stoichiometric": 0, "O-rich": 1},
    "111": {"O-poor": -2, "stoichiometric": 0, "stoichiometric-2": 0, "O-rich": 2, "super-O-rich": 4},
}


@pytest.mark.parametrize("facet", FACETS)
def test_areas_are_those_of_the_experimental_crystal(facet):
    assert orient(Crystal(), facet).area == pytest.approx(AREAS[facet], abs=0.01)  # areas are given to 0.01 Å²


@pytest.mark.parametrize("facet", FACETS)
def test_terminations_and_their_excess_oxygen(facet):
    found = {t.name: t.excess_oxygen for t in enumerate_terminations(orient(Crystal(), facet))}
    assert found == EXCESS[facet]


@pytest.mark.parametrize("facet", FACETS)
def test_oriented_atoms_have_the_crystals_density_and_bonds(facet):
    oriented = orient(Crystal(), facet)
    numbers, _ = oriented.atoms_between(-0.01, 6 * oriented.period - 0.01)
    bulk = Crystal().bulk()
    density = len(bulk) / bulk.get_volume()
    assert len(numbers) / (oriented.area * 6 * oriented.period) == pytest.approx(density)
    assert np.count_nonzero(numbers == 8) == 2 * np.count_nonzero(numbers == 44)


@pytest.mark.parametrize("facet", FACETS)
def test_bottom_slab_is_stoichiometric_and_inversion_symmetric(facet):
    slab = bottom_slab(Crystal(), facet)
    assert np.count_nonzero(slab.numbers == 8) == 2 * np.count_nonzero(slab.numbers == 44)
    heights = np.sort(slab.positions[:, 2])
    assert np.allclose(heights + heights[::-1], heights[0] + heights[-1])


@pytest.mark.parametrize("facet", FACETS)
def test_template_leaves_the_potentials_reach_below_the_free_atoms(facet):
    settings = TemplateSettings(frozen_thickness=5.0)
    template = build_template(Crystal(), facet, (1, 2), settings)
    for atoms in seed_structures(Crystal(), facet, (1, 2), settings).values():
        _, free = template.free_part(atoms)
        assert free[:, 2].min() - template.frozen_positions[:, 2].min() >= settings.frozen_thickness
        assert template.free_floor < free[:, 2].min() and free[:, 2].max() < template.free_ceiling


@pytest.mark.parametrize("facet", FACETS)
def test_operations_map_frozen_atoms_onto_themselves(facet):
    template = build_template(Crystal(), facet, (1, 2))
    positions = template.frozen_positions
    assert np.allclose(template.rotations[0], np.eye(3)) and np.allclose(template.translations[0], 0)
    for rotation, translation in zip(template.rotations, template.translations, strict=True):
        images = positions @ rotation.T + translation
        difference = images[:, None] - positions[None]
        difference[..., :2] -= template.cell[:2] * np.round(difference[..., :2] / template.cell[:2])
        distances = np.linalg.norm(difference, axis=-1)
        assert (distances.min(axis=1) < 1e-3).all()
        assert (template.frozen_numbers[distances.argmin(axis=1)] == template.frozen_numbers).all()


def test_110_has_the_plane_group_p2mm_of_its_supercell():
    # p2mm has four operations; two translations of the doubled cell make eight
    assert len(build_template(Crystal(), "110", (1, 1)).rotations) == 4
    assert len(build_template(Crystal(), "110", (1, 2)).rotations) == 8


def test_seeds_have_no_atoms_closer_than_the_bulk():
    for facet in FACETS:
        for atoms in seed_structures(Crystal(), facet, (2, 2)).values():
            distances = atoms.get_all_distances(mic=True)[~np.eye(len(atoms), dtype=bool)]
            assert distances.min() == pytest.approx(1.942, abs=0.001)  # Ru–O of the experimental cell


@pytest.mark.parametrize("facet", ["11", "abc", "000", "1-10"])
def test_a_facet_that_is_none_is_refused(facet):
    with pytest.raises(InputError, match="facet"):
        orient(Crystal(), facet)


def test_an_unknown_metal_is_refused():
    with pytest.raises(InputError, match="Qq"):
        Crystal(metal="Qq")
