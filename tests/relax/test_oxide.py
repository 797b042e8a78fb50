"""Lengths of another oxide follow from its metal; those of RuO2 are the ones that were chosen."""

import pytest
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list

from relax.checks import CheckLimits, overlapping
from relax.fitting.settings import FitError, FitSettings
from relax.labelling.limits import LabelLimits, too_close
from relax.overlaps import push_apart
from relax.oxide import carried_over, length_ratio, metal_crystal, of_species, pair_name

LENGTHS = {"O-O": 1.6, "O-Ru": 1.45, "Ru-Ru": 2.2}


def test_nothing_changes_for_ruthenium() -> None:
    assert carried_over(LENGTHS, "Ru") == LENGTHS == of_species(LENGTHS, {"O", "Ru"})
    assert LabelLimits.of_metal("Ru") == LabelLimits()
    assert FitSettings.for_data([Atoms("O"), Atoms("RuO2")]) == FitSettings() == FitSettings.for_data([Atoms("O2")])


@pytest.mark.parametrize("metal", ["Ir", "Ti", "Pb", "Ta"])
def test_lengths_keep_their_ratio_to_the_covalent_radii(metal: str) -> None:
    radius = {symbol: covalent_radii[atomic_numbers[symbol]] for symbol in ("O", "Ru", metal)}
    carried = carried_over(LENGTHS, metal)
    assert carried["O-O"] == LENGTHS["O-O"]
    for one, two, of_ruo2 in (("O", metal, "O-Ru"), (metal, metal, "Ru-Ru")):
        first, second = of_ruo2.split("-")
        expected = LENGTHS[of_ruo2] * (radius[one] + radius[two]) / (radius[first] + radius[second])
        assert carried[pair_name(one, two)] == pytest.approx(expected, abs=0.005)  # they are rounded to 0.01 Å
        assert length_ratio(metal, one, two) == pytest.approx(expected / LENGTHS[of_ruo2])


def test_a_metal_that_is_named_keeps_its_lengths() -> None:
    own = {**LENGTHS, "Ir-Ir": 3.0}
    assert of_species(own, {"Ir", "O"}) == own
    assert of_species({}, {"Ir", "O"}) == {}
    assert of_species(LENGTHS, {"Ir", "O"}) == LENGTHS | carried_over(LENGTHS, "Ir")


def test_iridium_atoms_overlap_and_part_as_ruthenium_atoms_do() -> None:
    atoms = Atoms("Ir2", positions=[[5, 5, 5], [5, 5, 6.2]], cell=[10, 10, 10], pbc=True)  # 1.45 Å are an overlap
    assert overlapping(atoms, CheckLimits())
    assert too_close(atoms, LabelLimits.of_metal("Ir")) == "Ir-Ir"
    push_apart(atoms, LENGTHS)
    assert atoms.get_distance(0, 1) >= carried_over(LENGTHS, "Ir")["Ir-Ir"] - 1e-6
    assert not overlapping(atoms, CheckLimits())


@pytest.mark.parametrize(("metal", "structure"), [("Mn", "hcp"), ("Sn", "hcp"), ("Ru", "fcc"), ("Ir", "bcc")])
def test_a_metal_unknown_in_a_structure_starts_at_two_covalent_radii(metal: str, structure: str) -> None:
    nearest = neighbor_list("d", metal_crystal(metal, structure), 5.0).min()
    assert nearest == pytest.approx(2 * covalent_radii[atomic_numbers[metal]], abs=1e-9)


def test_a_metal_in_its_own_structure_has_its_own_lattice() -> None:
    assert metal_crystal("Ir", "fcc").cell.lengths() == pytest.approx(3 * [3.84 / 2**0.5])  # ASE's table: 3.84 Å


def test_a_fit_is_of_one_oxide() -> None:
    settings = FitSettings.for_data([Atoms("O2"), Atoms("IrO2")])
    assert settings.n_sparse == {"O": 1500, "Ir": 1000}
    assert settings.core_cutoffs == carried_over(FitSettings().core_cutoffs, "Ir")
    with pytest.raises(FitError, match=r"hold the metals \['Ir', 'Ru'\]"):
        FitSettings.for_data([Atoms("RuO2"), Atoms("IrO2")])
