"""Laws of the analytic stand-in."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from relax_structures import distorted_slab, rutile

from relax.analytic import AnalyticRuO
from relax.references import measure_references


def test_forces_are_the_negative_gradient() -> None:
    atoms = distorted_slab(seed=3)
    atoms.calc = AnalyticRuO()
    forces = atoms.get_forces(apply_constraint=False)
    # central differences of 1e-4 Å: their error is about 1e-8 eV/Å times the third derivative, here below 1e-4
    for index, axis in ((0, 0), (7, 1), (len(atoms) - 1, 2)):
        energies = []
        for step in (1e-4, -1e-4):
            moved = atoms.copy()
            moved.positions[index, axis] += step
            moved.calc = AnalyticRuO()
            energies.append(moved.get_potential_energy())
        assert forces[index, axis] == pytest.approx(-(energies[0] - energies[1]) / 2e-4, abs=1e-4)


def test_stress_is_the_strain_derivative() -> None:
    atoms = rutile()
    atoms.set_cell(atoms.cell * [1.02, 0.99, 1.01], scale_atoms=True)
    atoms.calc = AnalyticRuO()
    stress = atoms.get_stress()
    energies = []
    for strain in (1e-5, -1e-5):
        stretched = atoms.copy()
        stretched.set_cell(atoms.cell.array @ np.diag([1, 1, 1 + strain]), scale_atoms=True)
        stretched.calc = AnalyticRuO()
        energies.append(stretched.get_potential_energy())
    # eV/Å³; the difference quotient is good to 1e-6 of a stress of about 0.01
    assert stress[2] == pytest.approx((energies[0] - energies[1]) / 2e-5 / atoms.get_volume(), abs=1e-6)


def test_forces_stay_bounded_where_atoms_coincide() -> None:
    atoms = Atoms("RuO2", positions=[[5, 5, 5]] * 3, cell=[10, 10, 10], pbc=True)
    atoms.calc = AnalyticRuO()
    assert np.isfinite(atoms.get_potential_energy())
    assert np.all(atoms.get_forces() == 0.0)
    atoms.positions[1] += [0.01, 0, 0]
    assert np.max(np.abs(atoms.get_forces())) < 200  # eV/Å, the default cap of `relax.checks`


def test_rutile_is_a_stationary_point(analytic: Calculator) -> None:
    references = measure_references(analytic, "stand-in", rutile())
    # the curves were made for the experimental lattice; 0.1 % is far inside what any test relies on
    assert references.a == pytest.approx(4.4968, rel=1e-3)
    assert references.c == pytest.approx(3.1049, rel=1e-3)
    assert references.u == pytest.approx(0.3053, abs=1e-3)
    assert references.energy_o2 < -2.0


def test_unknown_elements_are_refused() -> None:
    atoms = Atoms("Ir", cell=[5, 5, 5], pbc=True)
    atoms.calc = AnalyticRuO()
    with pytest.raises(ValueError, match="77"):
        atoms.get_potential_energy()
