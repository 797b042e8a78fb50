"""Surface energies: published figures and exact laws."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.scoring.thermodynamics import (
    Envelope,
    Line,
    delta_mu_o,
    delta_mu_o_range,
    distance_to_envelope,
    excess_oxygen,
    gamma_one_sided,
    gamma_symmetric,
    height_above_envelope,
    lower_envelope,
)

AREA = 20.06  # Å², RuO2(110) (1×1)
JANAF = {
    100: -0.0748,
    200: -0.1704,
    300: -0.2739,
    400: -0.3827,
    500: -0.4953,
    600: -0.6112,
    700: -0.7299,
    800: -0.8510,
    900: -0.9743,
    1000: -1.0996,
    1200: -1.3555,
}


@dataclass(frozen=True)
class Energies:
    energy_bulk: float = -24.0
    half_energy_o2: float = -4.9


REFERENCES = Energies()
BRIDGE_BINDING, CUS_BINDING = -2.3, -1.0  # eV against ½O2, Kim 2001
GAMMA_BRIDGE = 0.071  # eV/Å²


def diagram(references=REFERENCES):
    """RuO2(110) from published binding energies: symmetric slabs of eight formula units."""
    bridge = 8 * references.energy_bulk + 2 * AREA * GAMMA_BRIDGE
    cus = bridge + 2 * (references.half_energy_o2 + CUS_BINDING)
    bare = bridge - 2 * (references.half_energy_o2 + BRIDGE_BINDING)
    return {
        "Ru": gamma_symmetric(bare, {"Ru": 8, "O": 14}, references, AREA),
        "O_br": gamma_symmetric(bridge, {"Ru": 8, "O": 16}, references, AREA),
        "O_cus": gamma_symmetric(cus, {"Ru": 8, "O": 18}, references, AREA),
    }


@pytest.mark.parametrize(("temperature", "expected"), JANAF.items())
def test_oxygen_gas_as_tabulated(temperature, expected):
    assert delta_mu_o(temperature) == pytest.approx(expected, abs=1e-3)


def test_pressure_adds_half_kt_per_atom():
    # ½·k·600 K·ln(10) = 0.0595 eV per decade.
    assert delta_mu_o(600.0, 10.0) - delta_mu_o(600.0, 1.0) == pytest.approx(0.05953, abs=1e-5)


def test_oxygen_gas_is_continuous_where_the_polynomials_meet():
    for border in (700.0, 2000.0):
        assert delta_mu_o(border) == pytest.approx(delta_mu_o(np.nextafter(border, np.inf)), abs=1e-3)


@pytest.mark.parametrize(("temperature", "pressure"), [(99.0, 1.0), (6001.0, 1.0), (300.0, 0.0), (float("nan"), 1.0)])
def test_oxygen_gas_outside_its_range(temperature, pressure):
    with pytest.raises(ValueError, match=r"`(temperature|pressure)` is"):
        delta_mu_o(temperature, pressure)


def test_slopes_of_the_110_terminations():
    lines = diagram()
    # One O per face of 20.06 Å².
    assert lines["O_cus"].slope == pytest.approx(-0.0498, abs=1e-4)
    assert lines["Ru"].slope == pytest.approx(+0.0498, abs=1e-4)
    assert lines["O_br"].slope == 0.0


def test_windows_of_the_110_terminations():
    windows = lower_envelope(diagram(), (-1.68, 0.0))
    assert [window.id for window in windows] == ["O_br", "O_cus"]
    assert windows[0].start == -1.68
    assert windows[0].stop == windows[1].start == pytest.approx(CUS_BINDING, abs=1e-9)
    assert windows[1].stop == 0.0
    assert Envelope(diagram()).at(-1.5) == pytest.approx(GAMMA_BRIDGE)
    # The bare metal face needs Δμ_O below the binding of its bridging O.
    below = lower_envelope(diagram(), (-3.0, -1.5))
    assert [window.id for window in below] == ["Ru", "O_br"]
    assert below[0].stop == pytest.approx(BRIDGE_BINDING, abs=1e-9)


def test_supercell_has_the_same_line():
    one = gamma_symmetric(-190.0, {"Ru": 8, "O": 15}, REFERENCES, AREA)
    four = gamma_symmetric(4 * -190.0, {"Ru": 32, "O": 60}, REFERENCES, 4 * AREA)
    assert four.gamma0 == pytest.approx(one.gamma0, abs=1e-12)
    assert four.slope == pytest.approx(one.slope, abs=1e-12)


def test_consistent_shift_of_atomic_energies_cancels():
    shift_metal, shift_oxygen = 3.7, -1.3
    shifted = Energies(-24.0 + shift_metal + 2 * shift_oxygen, -4.9 + shift_oxygen)
    counts = {"Ru": 8, "O": 17}
    line = gamma_symmetric(-190.0, counts, REFERENCES, AREA)
    moved = gamma_symmetric(-190.0 + 8 * shift_metal + 17 * shift_oxygen, counts, shifted, AREA)
    assert moved.gamma0 == pytest.approx(line.gamma0, abs=1e-12)


def test_one_sided_equals_symmetric_where_both_faces_are_equal():
    energy = 8 * REFERENCES.energy_bulk + 2 * AREA * GAMMA_BRIDGE
    counts = {"Ru": 8, "O": 16}
    symmetric = gamma_symmetric(energy, counts, REFERENCES, AREA)
    one_sided = gamma_one_sided(energy, counts, REFERENCES, AREA, gamma_bottom=symmetric.gamma0)
    assert one_sided.gamma0 == pytest.approx(GAMMA_BRIDGE)
    assert one_sided.slope == 0.0


def test_one_sided_slope_belongs_to_one_face():
    line = gamma_one_sided(-200.0, {"Ru": 8, "O": 17}, REFERENCES, AREA, gamma_bottom=0.08)
    assert line.slope == pytest.approx(-1.0 / AREA)
    # By the definition at Δμ_O = −0.7 eV.
    mu_o = REFERENCES.half_energy_o2 - 0.7
    assert line.at(-0.7) == pytest.approx((-200.0 - 8 * REFERENCES.energy_bulk + (16 - 17) * mu_o) / AREA - 0.08)


def test_excess_oxygen_for_any_metal():
    assert excess_oxygen({"Ir": 4, "O": 9}) == 1
    assert excess_oxygen({"Ti": 4}) == -8
    for counts in ({"O": 3}, {"Ru": 1, "Ti": 1, "O": 4}):
        with pytest.raises(ValueError, match="one metal"):
            excess_oxygen(counts)


@pytest.mark.parametrize(("energy", "area"), [(float("nan"), AREA), (-1.0, 0.0)])
def test_unusable_energies_are_refused(energy, area):
    with pytest.raises(ValueError, match=r"`(energy|area)` is"):
        gamma_symmetric(energy, {"Ru": 1, "O": 2}, REFERENCES, area)


def test_allowed_range_from_the_formation_energy():
    assert delta_mu_o_range(-3.36) == (-1.68, 0.0)
    with pytest.raises(ValueError, match="negative"):
        delta_mu_o_range(0.1)


number = st.floats(-0.5, 0.5, allow_nan=False)
line = st.builds(Line, gamma0=number, slope=number)


@given(st.lists(line, min_size=1, max_size=12), line)
def test_envelope_and_distance_equal_a_fine_grid(members, query):
    lines = {str(place): member for place, member in enumerate(members)}
    windows = lower_envelope(lines, (-1.68, 0.0))
    assert windows[0].start == -1.68
    assert windows[-1].stop == 0.0
    assert all(left.stop == right.start for left, right in pairwise(windows))
    assert all(window.start < window.stop for window in windows)
    grid = np.linspace(-1.68, 0.0, 201)
    lowest = np.min([member.gamma0 + member.slope * grid for member in members], axis=0)
    for window in windows:
        inside = (grid >= window.start) & (grid <= window.stop)
        owner = lines[window.id]
        np.testing.assert_allclose(owner.gamma0 + owner.slope * grid[inside], lowest[inside], atol=1e-12)
    distance = distance_to_envelope(query, lines, (-1.68, 0.0))
    on_grid = (query.gamma0 + query.slope * grid - lowest).min()
    # The grid can miss the minimum by its spacing, 0.0084 eV, times the largest difference of slopes, 1.
    assert on_grid - 0.0085 <= distance <= on_grid + 1e-12


def test_distance_is_negative_below_the_envelope():
    better = Line(GAMMA_BRIDGE - 0.01, 0.0)
    lines = diagram()
    # Lowest against O_br, anywhere below the crossover.
    assert distance_to_envelope(better, lines) == pytest.approx(-0.01)
    assert height_above_envelope(Line(0.1, 0.0), lines, -1.2) == pytest.approx(0.1 - GAMMA_BRIDGE)


def test_member_of_the_envelope_has_no_distance():
    lines = diagram()
    assert distance_to_envelope(lines["O_br"], lines) == pytest.approx(0.0, abs=1e-12)
    # The bare face comes nearest at the poorest end: 2 faces' binding left to pay there.
    assert distance_to_envelope(lines["Ru"], lines) == pytest.approx((-1.68 - BRIDGE_BINDING) / AREA)


def test_empty_envelope_is_refused():
    with pytest.raises(ValueError, match="empty"):
        lower_envelope({})
    with pytest.raises(ValueError, match="rise"):
        lower_envelope(diagram(), (0.0, -1.0))
    with pytest.raises(ValueError, match="not finite"):
        lower_envelope({"a": Line(float("nan"), 0.0)})
