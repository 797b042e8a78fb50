"""Laws of a relaxation."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from relax_structures import distorted_slab

from relax.overlaps import push_apart
from relax.potential import CountingCalculator
from relax.relaxation import relax
from relax.relaxation_settings import RelaxationSettings, RelaxationSettingsError
from relax.stopping import EXPLODING, LEAVING_WINDOW
from relax.watching import MAX_CALLS


def test_energy_falls_and_frozen_atoms_stay(analytic: CountingCalculator) -> None:
    atoms = distorted_slab(seed=1)
    before = atoms.positions.copy()
    result = relax(atoms, analytic)
    frozen = len(atoms) // 2
    assert result.converged
    assert result.reason is None
    assert result.energy < result.path_energies[0]
    assert result.max_force <= 0.1
    np.testing.assert_array_equal(result.positions[:frozen], before[:frozen])
    np.testing.assert_array_equal(atoms.positions, before)


def test_force_calls_are_the_evaluations_that_took_place(analytic: CountingCalculator) -> None:
    result = relax(distorted_slab(seed=1), analytic)
    assert result.force_calls == analytic.force_calls
    again = relax(distorted_slab(seed=2), analytic)
    assert analytic.force_calls == result.force_calls + again.force_calls


def test_equal_input_gives_equal_bits(analytic: CountingCalculator) -> None:
    first = relax(distorted_slab(seed=4), analytic)
    relax(distorted_slab(seed=5), analytic)
    second = relax(distorted_slab(seed=4), analytic)
    for name, value in vars(first).items():
        np.testing.assert_array_equal(value, getattr(second, name))


def test_budget_ends_a_relaxation(analytic: CountingCalculator) -> None:
    result = relax(distorted_slab(seed=1), analytic, RelaxationSettings(max_calls=5, fmax=1e-6))
    assert (result.reason, result.force_calls, result.converged) == (MAX_CALLS, 5, False)


def test_snapshots_come_with_their_energies_and_calls(analytic: CountingCalculator) -> None:
    settings = RelaxationSettings(fmax=0.01, snapshots=6)
    atoms = distorted_slab(seed=1, width=0.2)
    result = relax(atoms, analytic, settings)
    assert result.path_positions.shape == (len(result.path_calls), len(atoms), 3)
    assert result.path_calls[0] == 1
    assert np.all(np.diff(result.path_calls) > 0)
    frame = atoms.copy()
    frame.positions = result.path_positions[-1]
    frame.calc = analytic
    assert frame.get_potential_energy() == result.path_energies[-1]


def test_an_injected_criterion_stops_with_its_own_reason(analytic: CountingCalculator) -> None:
    seen: list[int] = []

    def hopeless(atoms: Atoms, energy: float, calls: int) -> str | None:
        seen.append(calls)
        return "hopeless" if calls == 3 else None

    result = relax(distorted_slab(seed=1), analytic, criteria=[hopeless])
    assert (result.reason, result.force_calls) == ("hopeless", 3)
    assert seen == [1, 2, 3]


def test_leaving_the_window_is_told(analytic: CountingCalculator) -> None:
    atoms = distorted_slab(seed=1)
    top = float(atoms.positions[:, 2].max())
    assert relax(atoms, analytic, RelaxationSettings(window=(0.0, top - 0.5))).reason == LEAVING_WINDOW


def test_a_rising_energy_is_an_explosion(analytic: CountingCalculator) -> None:
    class Rising(CountingCalculator):
        def calculate(self, *arguments: object, **named: object) -> None:
            super().calculate(*arguments, **named)
            self.results["energy"] += 20.0 * self.force_calls

    settings = RelaxationSettings(fmax=1e-6, max_rise=30.0)
    assert relax(distorted_slab(seed=1), Rising(analytic.inner), settings).reason == EXPLODING


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_garbage_is_a_verdict_and_costs_no_force_call(analytic: CountingCalculator, value: float) -> None:
    atoms = distorted_slab(seed=1)
    atoms.positions[-1, 2] = value
    result = relax(atoms, analytic)
    assert result.reason in ("not_finite", "outside_cell")
    assert result.force_calls == 0
    assert np.isnan(result.energy)


def test_push_apart_opens_overlaps_and_leaves_frozen_atoms() -> None:
    atoms = distorted_slab(seed=1, width=0.0)
    frozen = len(atoms) // 2
    atoms += Atoms("O2", positions=[atoms.positions[-1], atoms.positions[-1] + [0.3, 0, 0]])
    before = atoms.positions.copy()
    push_apart(atoms, {"O-O": 1.6, "O-Ru": 1.6, "Ru-Ru": 2.2})
    np.testing.assert_array_equal(atoms.positions[:frozen], before[:frozen])
    distances = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]
    assert distances.min() > 1.5  # aimed at 1.6 Å; crowding may leave a little


@pytest.mark.parametrize("change", [{"fmax": 0.0}, {"max_calls": 0}, {"maxstep": -1.0}, {"maxstep": 2.0}])
def test_settings_out_of_range_raise(change: dict[str, float]) -> None:
    with pytest.raises(RelaxationSettingsError, match=next(iter(change))):
        replace(RelaxationSettings(), **change)
