"""Cells for DFT and starts of a round: the sizes, facets and cells that are promised, from a seed."""

from collections import Counter

import numpy as np
import pytest

from relax.labelling.limits import LabelLimits, too_close
from searcher.errors import InputError
from searcher.structures.crystal import Crystal, orient
from searcher.structures.distorted_slabs import FACETS, SUPERCELLS, supercell, thin_slab
from searcher.structures.faces import known_faces
from searcher.structures.potential_round import RoundSizes, build_round
from searcher.structures.reference_cells import LARGEST, SMALLEST, VACUUM, primitive, small_cells
from searcher.structures.terminations import enumerate_terminations

CRYSTAL = Crystal("Ru", a=4.548, c=3.137, u=0.3056)
SIZES = RoundSizes(thermal=70, hot=2, relaxing=3, insertions=2)


def test_small_cells_are_small_and_of_every_facet() -> None:
    cells = small_cells(7, CRYSTAL, 30, "x")
    again = small_cells(7, CRYSTAL, 30, "x")
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(cells, again, strict=True))
    slabs = [atoms for atoms in cells if atoms.info["config_type"] == "slab"]
    assert {atoms.info["family"].split("-")[1] for atoms in slabs} == set(FACETS)
    assert len({atoms.info["family"] for atoms in cells}) == 30
    assert all(SMALLEST <= len(atoms) <= LARGEST for atoms in cells)
    assert all(too_close(atoms, LabelLimits()) is None for atoms in cells)
    for atoms in slabs:
        thickness = np.ptp(atoms.positions[:, 2])
        # the rattle of up to 0.16 Å per component comes after the cell was centred; four of its deviations
        assert atoms.cell[2, 2] - thickness == pytest.approx(VACUUM, abs=1.3)


def test_a_centred_cell_is_halved_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    for facet, halved in (("111", True), ("110", False)):
        oriented = orient(CRYSTAL, facet)
        slab = thin_slab(oriented, enumerate_terminations(oriented)[0], rng)
        half = primitive(slab)
        assert len(half) == (len(slab) // 2 if halved else len(slab))
        # the same crystal: equal density of each element over the area
        assert half.get_volume() / len(half) == pytest.approx(slab.get_volume() / len(slab))


def test_supercells_have_the_area_of_their_name() -> None:
    oriented = orient(CRYSTAL, "110")
    slab = thin_slab(oriented, enumerate_terminations(oriented)[0], np.random.default_rng(0))
    copies = {name: len(supercell(slab, name)) / len(slab) for name in SUPERCELLS}
    assert copies == {"1x1": 1, "2x1": 2, "1x2": 2, "c2x2": 2}


def test_a_round_goes_through_every_termination_and_cell_before_it_repeats_one() -> None:
    tasks = build_round(3, CRYSTAL, "r", SIZES)
    kinds = Counter(atoms.info["config_type"] for atoms in tasks)
    assert kinds == {"thermal": 70, "slab": 5, "insertion": 2}
    families = [atoms.info["family"] for atoms in tasks if atoms.info["config_type"] == "thermal"]
    firsts = [family for family in families if family.endswith("-0")]
    terminations = sum(len(enumerate_terminations(orient(CRYSTAL, facet))) for facet in FACETS)
    assert len(firsts) == len(set(firsts)) == terminations * len(SUPERCELLS)
    assert all(atoms.info["temperature"] <= 800 for atoms in tasks if atoms.info["config_type"] == "thermal")
    with pytest.raises(InputError, match="negative"):
        build_round(3, CRYSTAL, "r", RoundSizes(hot=-1))


@pytest.mark.parametrize("a", [4.25, 4.33, 4.41, 4.43, 4.7])
def test_faces_have_the_layers_of_the_crystal_that_they_are_compared_with(a: float) -> None:
    """12.5 Å are 3.9 to 4.1 repeats of (110) at these lattices, and a cut may lie exactly at the end of the fifth."""
    for c, u in ((3.1, 0.3053), (3.7, 0.316), (3.0, 0.29)):
        like, other = Crystal("Ru", a, 3.2, 0.31), Crystal("Ru", a + 0.1, c, u)
        for facet, slabs in known_faces(other, like).items():
            expected = {name: len(slab) for name, slab in known_faces(like)[facet].items()}
            assert {name: len(slab) for name, slab in slabs.items()} == expected, facet


def test_known_faces_are_symmetric_and_thick() -> None:
    faces = known_faces(CRYSTAL)
    assert set(faces) == set(FACETS)
    assert {"O-poor", "stoichiometric", "O-rich"} <= set(faces["110"])
    for slabs in faces.values():
        for name, slab in slabs.items():
            metal = slab.positions[slab.numbers != 8, 2]
            assert np.ptp(metal) > 9
            if name.startswith("stoichiometric"):
                assert Counter(slab.get_chemical_symbols())["O"] == 2 * len(metal)
