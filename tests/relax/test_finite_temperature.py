"""Dynamics and vibrations by laws: known springs, a slab that stays, an atom that goes."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from relax_structures import rutile

from relax.checks import CheckLimits
from relax.dynamics import DynamicsSettings, DynamicsSettingsError, shake
from relax.relaxation import relax
from relax.relaxation_settings import RelaxationSettings
from relax.stopping import LEAVING_WINDOW
from relax.vibrations import einstein_energies, free_energies
from relax.worker import dynamics_task, vibrations_task

STEPS = DynamicsSettings(temperature=300.0, picoseconds=0.1)


class Springs(Calculator):
    """Every atom on three springs of its own: ω is known, and nothing else."""

    implemented_properties = ("energy", "forces")

    def __init__(self, places, stiffness):
        super().__init__()
        self.places, self.stiffness = places, np.asarray(stiffness)  # (n, 3), eV/Å²

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        off = self.atoms.positions - self.places
        self.results = {"energy": float(0.5 * (self.stiffness * off**2).sum()), "forces": -self.stiffness * off}


@pytest.fixture
def two_atoms():
    return Atoms("RuO", positions=[[2, 2, 2], [5, 5, 5]], cell=[8, 8, 8], pbc=True)


def test_springs_have_the_energies_of_their_masses(two_atoms):
    stiffness = np.array([[1.0, 4.0, 9.0], [2.0, 2.0, 2.0]])
    found = einstein_energies(two_atoms, [0, 1], Springs(two_atoms.positions.copy(), stiffness))
    # ħω = ħ√(k/m); displacements of an exact spring leave no error but rounding
    expected = (
        units._hbar * 1e10 / np.sqrt(units._e * units._amu) * np.sqrt(stiffness / two_atoms.get_masses()[:, None])
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_hilltop_has_an_imaginary_mode(two_atoms):
    found = einstein_energies(two_atoms, [1], Springs(two_atoms.positions.copy(), [[1, 1, 1], [-1, 1, 1]]))
    assert found[0, 0] < 0 < found[0, 1]


def test_free_energy_of_a_known_frequency():
    quantum, temperature = 0.050, 400.0
    kt = units.kB * temperature
    # F = ½ħω + kT ln(1 − exp(−ħω/kT)), three times
    expected = 3 * (0.5 * quantum + kt * np.log1p(-np.exp(-quantum / kt)))
    assert free_energies(np.full((1, 3), quantum), temperature)[0] == pytest.approx(expected, abs=1e-9)
    # at low temperature the zero-point energy is left, at high temperature kT ln(ħω/kT)
    assert free_energies(np.full((1, 3), quantum), 5.0)[0] == pytest.approx(1.5 * quantum, abs=1e-9)
    hot = 20000.0
    classical = 3 * units.kB * hot * np.log(quantum / (units.kB * hot))
    assert free_energies(np.full((1, 3), quantum), hot)[0] == pytest.approx(classical, rel=1e-3)
    for energies, temperature in (([[-0.01, 0.05, 0.05]], 300.0), ([[0.05] * 3], 0.0)):
        with pytest.raises(ValueError, match="must be positive"):
            free_energies(np.array(energies), temperature)


def test_springs_come_to_the_thermostats_temperature(two_atoms):
    many = two_atoms * (3, 3, 2)
    springs = Springs(many.positions.copy(), np.full((len(many), 3), 5.0))
    settings = DynamicsSettings(temperature=600.0, picoseconds=2.0)
    found = shake(many, springs, settings, RelaxationSettings(fmax=0.01), np.random.default_rng(3))
    assert found.reason is None
    # 36 atoms over 1 ps of friction 0.02/fs: some 20 independent samples of 108 degrees, ±3 %; four of these
    assert found.mean_temperature == pytest.approx(600.0, rel=0.12)
    # it comes to rest where it began, within fmax over the springs' stiffness
    np.testing.assert_allclose(found.positions, many.positions, atol=0.01 / 5.0)


def test_equal_generators_give_equal_dynamics(two_atoms):
    springs = Springs(two_atoms.positions.copy(), np.full((2, 3), 5.0))
    runs = [shake(two_atoms, springs, STEPS, RelaxationSettings(), np.random.default_rng(s)) for s in (1, 1, 2)]
    assert np.array_equal(runs[0].positions, runs[1].positions) and runs[0].energy == runs[1].energy
    assert not np.array_equal(runs[0].positions, runs[2].positions)


@pytest.fixture
def slab(analytic):
    atoms = rutile() * (2, 2, 2)
    atoms.cell[2, 2] += 12.0
    atoms.pbc = (True, True, False)
    atoms.set_constraint(FixAtoms(mask=atoms.positions[:, 2] < 3.2))
    atoms.rattle(0.05, seed=1)  # away from a saddle point
    found = relax(atoms, analytic, RelaxationSettings(fmax=0.05, max_calls=400))
    atoms.positions = found.positions
    return atoms


def test_frozen_atoms_rest_and_a_stable_slab_stays(slab, analytic):
    settings = DynamicsSettings(temperature=100.0, picoseconds=0.1)
    start = relax(slab, analytic, RelaxationSettings(fmax=0.05)).energy
    found = shake(slab, analytic, settings, RelaxationSettings(fmax=0.05, max_calls=400), np.random.default_rng(2))
    assert found.reason is None and found.force_calls > settings.steps
    fixed = slab.constraints[0].index
    assert np.array_equal(found.positions[fixed], slab.positions[fixed])
    # the same minimum again: fmax 0.05 eV/Å leaves a few meV
    assert found.energy == pytest.approx(start, abs=0.05)


def test_a_floating_atom_goes():
    """An atom without a bond diffuses: √(2kTt/(m·friction)) is 3 Å after 0.6 ps at 3000 K."""
    two_atoms = Atoms("RuO", positions=[[9, 9, 5], [5, 5, 5]], cell=[40, 40, 40], pbc=True)
    free = Springs(two_atoms.positions.copy(), [[20.0] * 3, [0.0] * 3])
    hot = DynamicsSettings(temperature=3000.0, picoseconds=0.6)
    for window, reason in (((4.0, 6.0), LEAVING_WINDOW), ((-50.0, 50.0), None)):
        relaxation = RelaxationSettings(fmax=0.01, window=window)
        reasons = {shake(two_atoms, free, hot, relaxation, np.random.default_rng(seed)).reason for seed in range(2)}
        assert reason in reasons
        assert window[0] > 0 or reasons == {None}


def test_what_cannot_be_believed_ends_the_dynamics(two_atoms):
    springs = Springs(two_atoms.positions + 3.0, np.full((2, 3), 400.0))
    found = shake(
        two_atoms, springs, STEPS, RelaxationSettings(limits=CheckLimits(max_force=50.0)), np.random.default_rng(1)
    )
    assert found.reason == "force_too_large" and np.isnan(found.energy) and np.isnan(found.mean_temperature)
    two_atoms.positions[1] = np.nan
    assert shake(two_atoms, springs, STEPS, RelaxationSettings(), np.random.default_rng(1)).reason == "not_finite"


@pytest.mark.parametrize(
    ("values", "says"),
    [({"temperature": 0.0}, "`temperature` is 0.0"), ({"picoseconds": -1.0}, "`picoseconds`"),
     ({"timestep": float("nan")}, "`timestep`"), ({"picoseconds": 0.001}, "less than one time step")],
)  # fmt: skip
def test_settings_out_of_range(values, says):
    with pytest.raises(DynamicsSettingsError, match=says):
        DynamicsSettings(**values)


def test_tasks_take_and_give_plain_values(slab, analytic_spec):
    plain = {"potential": analytic_spec.as_dict(), "numbers": slab.numbers, "positions": slab.positions,
             "cell": slab.cell.array, "pbc": [True, True, False], "frozen": slab.constraints[0].index}  # fmt: skip
    moved = dynamics_task({**plain, "dynamics": {"temperature": 50.0, "picoseconds": 0.02}, "seed": 4})
    assert moved["positions"].shape == slab.positions.shape and moved["potential_hash"]
    swinging = vibrations_task({**plain, "indices": [len(slab) - 1]})
    assert swinging["energies"].shape == (1, 3) and swinging["force_calls"] == 6 and swinging["reason"] is None
    plain["positions"] = np.full_like(slab.positions, np.nan)
    assert vibrations_task({**plain, "indices": [0]})["reason"] == "not_finite"
