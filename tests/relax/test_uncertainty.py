"""Error bars, distances from DFT and hot slabs follow from their definitions."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from relax_structures import rutile

from relax.analytic import AnalyticRuO
from relax.calibration import CalibrationError, calibrate
from relax.dft_comparison import distance_from_dft
from relax.dynamics_check import hot_slab
from relax.labelling.frames import ENERGY_KEY, FORCES_KEY


def test_errors_that_are_what_was_predicted_up_to_a_factor_are_calibrated() -> None:
    rng = np.random.default_rng(3)
    predicted = rng.uniform(0.01, 0.1, 4000)
    errors = 5.0 * predicted * rng.normal(size=4000)
    found = calibrate(predicted, errors, [20] * 4000, [f"f{i // 2}" for i in range(4000)])
    # statistical error of a standard deviation from 4,000 draws is 1.1 %; of the shares 0.7 and 0.3 %
    assert found.scale == pytest.approx(5.0, rel=0.04)
    assert found.within_one == pytest.approx(0.683, abs=0.03)
    assert found.within_two == pytest.approx(0.954, abs=0.015)
    assert 0.3 < found.rank_correlation < 1
    # 25 atoms of 0.04 eV² each: √1 eV, times the scale, over 20 Å²
    assert found.gamma_error(np.full(25, 0.04), 20.0) == pytest.approx(found.scale / 20)


def test_too_few_or_senseless_frames_are_refused() -> None:
    with pytest.raises(CalibrationError, match="too few"):
        calibrate([1.0] * 9, [1.0] * 9, [1] * 9, list("abcdefghi"))
    with pytest.raises(CalibrationError, match="not a number"):
        calibrate([np.nan] * 12, [1.0] * 12, [1] * 12, list("abcdefghijkl"))


def test_a_constant_per_element_is_no_distance_from_dft() -> None:
    rng = np.random.default_rng(8)
    frames, energies, forces = [], [], []
    for index in range(20):
        atoms = Atoms(["Ru"] * (2 + index % 3) + ["O"] * (4 + index % 5))
        atoms.info[ENERGY_KEY] = -5.0 * index
        atoms.arrays[FORCES_KEY] = rng.normal(size=(len(atoms), 3))
        n_metal = 2 + index % 3
        frames.append(atoms)
        energies.append(-5.0 * index + 1.3 * n_metal - 0.7 * (len(atoms) - n_metal))
        forces.append(atoms.arrays[FORCES_KEY] + 0.25)
    found = distance_from_dft(frames, energies, forces)
    assert found.energy_rmse == pytest.approx(0.0, abs=1e-9)
    assert found.force_rmse == pytest.approx(0.25)
    assert np.isnan(distance_from_dft(frames[:4], energies[:4], forces[:4]).energy_rmse)


class _Explosive(Calculator):
    """No attraction: every atom is thrown upwards."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.array([[0.0, 0.0, 1000.0 * i] for i in range(len(self.atoms))])}


def test_a_crystal_survives_heat_and_an_explosion_is_named() -> None:
    crystal = rutile().repeat((2, 2, 2))
    calm = hot_slab(crystal, AnalyticRuO(), 300.0, 0.3, np.random.default_rng(0))
    assert calm.reason is None
    assert calm.picoseconds == pytest.approx(0.3)
    # 48 atoms: the canonical spread of the temperature is 300 · √(2/144) = 35 K
    assert calm.temperature == pytest.approx(300, abs=150)
    assert hot_slab(crystal, _Explosive(), 300.0, 0.3, np.random.default_rng(0)).reason is not None
