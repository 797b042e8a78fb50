"""Orthogonal supercells hold the same matter: energy per formula unit stays, extensive quantities grow."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule, surface
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from relax.analytic import AnalyticRuO
from searcher.errors import InputError
from searcher.structures.crystal import Crystal
from searcher.structures.orthogonal import (
    is_orthorhombic,
    orthogonal_supercell,
    repeat_towards_square,
    with_vacuum,
)


def slab(miller: tuple[int, int, int], seed: int = 1) -> Atoms:
    """A rattled slab as a library cuts it: primitive lateral cell, oblique on (111), periodic along z too."""
    atoms = surface(Crystal().bulk(), miller, 2, vacuum=10.0, periodic=True)
    atoms.positions += np.random.default_rng(seed).normal(0.0, 0.05, atoms.positions.shape)
    return atoms


def energy_per_formula_unit(atoms: Atoms) -> float:
    measured = atoms.copy()
    measured.calc = AnalyticRuO()
    return measured.get_potential_energy() / np.count_nonzero(measured.numbers == 44)


@pytest.mark.parametrize("miller", [(1, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 1), (1, 2, 1)])
def test_energy_per_formula_unit_survives_every_step(miller):
    atoms = slab(miller)
    squared = orthogonal_supercell(atoms)
    assert is_orthorhombic(squared)
    n = round(len(squared) / len(atoms))
    assert len(squared) == n * len(atoms)
    # the same atoms in the same surroundings: only rounding, and the squaring off of angles that are right already
    expected = energy_per_formula_unit(atoms)
    assert energy_per_formula_unit(squared) == pytest.approx(expected, abs=1e-8)
    square = repeat_towards_square(squared)
    assert energy_per_formula_unit(square) == pytest.approx(expected, abs=1e-8)
    cut = with_vacuum(square, 12.0)
    assert energy_per_formula_unit(cut) == pytest.approx(expected, abs=1e-8)
    assert cut.cell[2, 2] - np.ptp(cut.positions[:, 2]) == pytest.approx(12.0)


def test_extensive_quantities_grow_and_forces_turn_with_the_atoms():
    atoms = slab((1, 1, 1))
    atoms.set_array("site", np.arange(len(atoms)))
    atoms.calc = AnalyticRuO()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.info = {"slab_energy_eV": energy, "label": "x"}
    squared = orthogonal_supercell(atoms, extensive=("slab_energy_eV",))
    n = round(len(squared) / len(atoms))
    assert n > 1
    assert squared.get_potential_energy() == pytest.approx(n * energy)
    assert squared.info == {"slab_energy_eV": pytest.approx(n * energy), "label": "x"}
    again = squared.copy()
    again.calc = AnalyticRuO()
    np.testing.assert_allclose(squared.get_forces(), again.get_forces(), atol=1e-8)
    lengths = np.linalg.norm(forces, axis=1)
    np.testing.assert_allclose(np.linalg.norm(squared.get_forces(), axis=1), lengths[squared.arrays["site"]], atol=1e-8)
    square = repeat_towards_square(squared, extensive=("slab_energy_eV",))
    assert square.info["slab_energy_eV"] / len(square) == pytest.approx(energy / len(atoms))


def test_smallest_orthogonal_cells_of_known_lattices():
    # a hexagonal plane needs two cells, a × √3 a
    two = orthogonal_supercell(graphene(vacuum=6.0))
    assert len(two) == 4
    assert sorted(two.cell.lengths()[:2]) == pytest.approx([2.46, 2.46 * np.sqrt(3)])
    # the third vector of ABC stacking leans; z is normal to the plane all the same
    leaning = fcc111("Cu", (1, 1, 4), a=3.6, vacuum=8.0, orthogonal=False)
    assert is_orthorhombic(orthogonal_supercell(leaning))
    assert len(orthogonal_supercell(bulk("Cu", a=3.6))) % 2 == 0
    right = Crystal().bulk()
    np.testing.assert_allclose(orthogonal_supercell(right).positions, right.positions, atol=1e-12)


def test_repetition_goes_towards_a_square_and_respects_the_limit():
    atoms = Atoms("Ru2", positions=[[0, 0, 0], [1.5, 1.5, 2]], cell=[3.0, 10.0, 20.0], pbc=True)
    assert repeat_towards_square(atoms).cell.lengths() == pytest.approx([9.0, 10.0, 20.0])
    assert len(repeat_towards_square(atoms, most_atoms=5)) == 2


def test_vacuum_is_cut_also_where_the_slab_lies_across_the_end_of_the_cell():
    atoms = with_vacuum(orthogonal_supercell(slab((1, 1, 0))), 20.0)
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0)
    shifted = atoms.copy()
    shifted.set_constraint()
    shifted.positions[:, 2] = (shifted.positions[:, 2] + 0.8 * shifted.cell[2, 2]) % shifted.cell[2, 2]
    one, other = with_vacuum(atoms), with_vacuum(shifted)
    np.testing.assert_allclose(np.sort(one.positions[:, 2]), np.sort(other.positions[:, 2]), atol=1e-9)
    assert one.cell[2, 2] == pytest.approx(atoms.cell[2, 2] - 8.0)
    assert one.get_potential_energy() == -3.0
    assert len(one.constraints) == 1


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (molecule("H2O"), "molecule"),
        (Atoms("O", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True), "independent"),
        (Atoms("O", cell=[3, 3.1, 3.2, 90, 90, 71.3], pbc=True), "no orthogonal supercell"),
    ],
)
def test_cells_without_an_orthogonal_one_are_refused(atoms, message):
    with pytest.raises(InputError, match=message):
        orthogonal_supercell(atoms)


def test_what_is_no_slab_has_no_vacuum_to_cut():
    with pytest.raises(InputError, match="is this a slab"):
        with_vacuum(Crystal().bulk())
    with pytest.raises(InputError, match="`vacuum` is -1"):
        with_vacuum(orthogonal_supercell(slab((1, 1, 0))), -1.0)
    with pytest.raises(InputError, match="not orthorhombic"):
        repeat_towards_square(graphene(vacuum=6.0))
