"""Surface energies against the oxygen chemical potential: ab initio thermodynamics of an oxide MO2 in O2 gas.

Formulas as in Reuter and Scheffler, Phys. Rev. B 65, 035406 (2001). `delta_mu_o` (Δμ_O) is in eV per O atom relative to
½E(O2) at 0 K; γ is in eV/Å².
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import brentq

OXYGEN = "O"
DELTA_MU_O_RANGE = (-1.68, 0.0)
"""From the reduction of bulk RuO2 (DFT) to condensing oxygen, in eV."""

BOLTZMANN = 8.617333262e-5  # eV/K
KILOJOULE_PER_MOLE = 0.010364269656  # eV
ENTHALPY_298_ABOVE_0 = 8.683  # kJ/mol, H(298.15 K) − H(0 K) of O2, NIST-JANAF tables (Chase 1998)
# NIST WebBook, Shomate equation of O2 (Chase 1998): upper end of the range in K, then A to G; H is 0 for an element.
SHOMATE_O2 = (
    (700.0, (31.32234, -20.23531, 57.86644, -36.50624, -0.007374, -8.903471, 246.7945)),
    (2000.0, (30.03235, 8.772972, -3.988133, 0.788313, -0.741599, -11.32468, 236.1663)),
    (6000.0, (20.91111, 10.72071, -2.020498, 0.146449, 9.245722, 5.337651, 237.6185)),
)
HALF_ZERO_POINT_O2 = 0.5 * 0.09762
"""eV per atom: 787.4 cm⁻¹ per molecule (Irikura, J. Phys. Chem. Ref. Data 36, 389 (2007))"""
LOWEST_TEMPERATURE = 100.0  # K
HIGHEST_TEMPERATURE = SHOMATE_O2[-1][0]  # K


class References(Protocol):
    """Energies of one potential that surface energies are measured against."""

    @property
    def energy_bulk(self) -> float:
        """eV per formula unit MO2."""

    @property
    def half_energy_o2(self) -> float:
        """½E(O2) in eV: where `delta_mu_o` is 0."""


@dataclass(frozen=True)
class Line:
    """γ(Δμ_O) = gamma0 + slope·Δμ_O of one structure; gamma0 in eV/Å², slope in O per Å² (eV/Å² per eV)."""

    gamma0: float
    slope: float

    def at(self, delta_mu_o: float) -> float:
        """γ in eV/Å² at Δμ_O in eV."""
        return self.gamma0 + self.slope * delta_mu_o


@dataclass(frozen=True)
class Window:
    """Range of Δμ_O in eV within which one structure has the lowest γ."""

    id: str
    start: float
    stop: float


def excess_oxygen(counts: Mapping[str, int]) -> int:
    """N_O − 2 N_metal of a slab.

    Parameters
    ----------
    counts : mapping of str to int
        Atoms per element: oxygen and one metal.

    Raises
    ------
    ValueError
        If there is not exactly one metal.
    """
    return int(counts.get(OXYGEN, 0)) - 2 * _metal_count(counts)


def gamma_one_sided(
    energy: float, counts: Mapping[str, int], references: References, area: float, gamma_bottom: float
) -> Line:
    """γ of the upper face of a slab whose lower face is a known bulk cut.

    Parameters
    ----------
    energy : float
        Of the slab in eV.
    counts : mapping of str to int
        Atoms per element, frozen ones included.
    references : References
    area : float
        Lateral area in Å².
    gamma_bottom : float
        Surface energy of the stoichiometric bottom face in eV/Å², from an unrelaxed symmetric bulk cut.

    Returns
    -------
    Line

    Raises
    ------
    ValueError
        If the area is not positive, an energy is not finite, or there is not exactly one metal.
    """
    line = _excess_energy(energy, counts, references, area)
    if not math.isfinite(gamma_bottom):
        raise ValueError(f"`gamma_bottom` is {gamma_bottom} eV/Å² but must be finite")
    return Line(gamma0=line.gamma0 - gamma_bottom, slope=line.slope)


def gamma_symmetric(energy: float, counts: Mapping[str, int], references: References, area: float) -> Line:
    """γ of a slab with two equivalent faces, each of `area` (Å²); arguments as for `gamma_one_sided`."""
    return _excess_energy(energy, counts, references, 2.0 * area)


def delta_mu_o(temperature: float, pressure: float = 1.0) -> float:
    """Chemical potential of oxygen in O2 gas.

    Δμ_O = ½[H(T) − H(0 K) − T·S(T)] + ½kT ln(p/p0), p0 = 1 bar, with H and S of O2 from the Shomate equation.

    Parameters
    ----------
    temperature : float
        In K, 100 to 6000.
    pressure : float
        In bar.

    Returns
    -------
    float
        eV per O atom, relative to ½E(O2) at 0 K.
    """
    if not LOWEST_TEMPERATURE <= temperature <= HIGHEST_TEMPERATURE:
        raise ValueError(
            f"`temperature` is {temperature} K; the Shomate equation of O2 holds from {LOWEST_TEMPERATURE:g} "
            f"to {HIGHEST_TEMPERATURE:g} K"
        )
    if not (pressure > 0.0 and math.isfinite(pressure)):
        raise ValueError(f"`pressure` is {pressure} bar but must be positive and finite")
    a, b, c, d, e, f, g = next(coefficients for upper, coefficients in SHOMATE_O2 if temperature <= upper)
    t = temperature / 1000.0
    enthalpy = a * t + b * t**2 / 2 + c * t**3 / 3 + d * t**4 / 4 - e / t + f + ENTHALPY_298_ABOVE_0  # kJ/mol above 0 K
    entropy = a * math.log(t) + b * t + c * t**2 / 2 + d * t**3 / 3 - e / (2 * t**2) + g  # J/(mol K)
    standard = 0.5 * (enthalpy - t * entropy) * KILOJOULE_PER_MOLE
    return standard + 0.5 * BOLTZMANN * temperature * math.log(pressure)


def temperature_at(delta_mu: float, pressure: float = 1.0) -> float | None:
    """Temperature in K at which O2 gas has a chemical potential: the inverse of `delta_mu_o`.

    Parameters
    ----------
    delta_mu : float
        Δμ_O in eV.
    pressure : float
        In bar.

    Returns
    -------
    float or None
        None outside of 100 to 6000 K.
    """
    if not delta_mu_o(HIGHEST_TEMPERATURE, pressure) <= delta_mu <= delta_mu_o(LOWEST_TEMPERATURE, pressure):
        return None
    limits = (LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)
    return float(brentq(lambda t: delta_mu_o(t, pressure) - delta_mu, *limits, xtol=1e-6))


def delta_mu_o_range(formation_energy: float) -> tuple[float, float]:
    """Allowed Δμ_O in eV: from where bulk MO2 reduces to metal and gas up to condensing oxygen.

    Parameters
    ----------
    formation_energy : float
        E(MO2) − E(M) − E(O2) in eV per formula unit, negative.
    """
    if not formation_energy < 0.0:
        raise ValueError(
            f"`formation_energy` is {formation_energy} eV per formula unit but must be negative: an oxide that is not "
            "stable has no allowed range; are metal and O2 computed with the same potential?"
        )
    return (formation_energy / 2.0, 0.0)


class Envelope:
    """The lowest γ of several structures over a range of Δμ_O.

    Parameters
    ----------
    lines : mapping of str to Line
        By identifier; of equal lines the first one counts.
    delta_mu_range : tuple of float
        Lower and upper end of Δμ_O in eV.
    """

    def __init__(self, lines: Mapping[str, Line], delta_mu_range: tuple[float, float] = DELTA_MU_O_RANGE) -> None:
        start, stop = delta_mu_range
        if not start < stop:
            raise ValueError(f"`delta_mu_range` is {start} to {stop} eV but must rise")
        if not lines:
            raise ValueError(
                "`lines` is empty: an envelope needs at least one structure, for example the relaxed seeds"
            )
        self.lines = dict(lines)
        self.windows = _windows(self.lines, start, stop)
        self._corners = np.array([start, *(window.stop for window in self.windows)])  # (n_windows + 1,)
        owners = [self.windows[0], *self.windows]
        self._heights = np.array([self.lines[w.id].at(x) for w, x in zip(owners, self._corners, strict=True)])

    def at(self, delta_mu_o: float) -> float:
        """Lowest γ in eV/Å² at Δμ_O in eV, inside the range or beyond."""
        return min(line.at(delta_mu_o) for line in self.lines.values())

    def distance(self, line: Line) -> float:
        """How far a line stays above the envelope in eV/Å²: smallest difference in the range, negative if below it.

        A line minus the concave envelope is convex and piecewise linear, so that its minimum lies at a corner of the
        envelope or at an end of the range: the result is exact.
        """
        return float((line.gamma0 + line.slope * self._corners - self._heights).min())


def lower_envelope(lines: Mapping[str, Line], delta_mu_range: tuple[float, float] = DELTA_MU_O_RANGE) -> list[Window]:
    """Windows of stability by rising Δμ_O; together they cover the range."""
    return Envelope(lines, delta_mu_range).windows


def distance_to_envelope(
    line: Line, lines: Mapping[str, Line], delta_mu_range: tuple[float, float] = DELTA_MU_O_RANGE
) -> float:
    """Exact minimum over the range of γ minus the envelope of `lines`, in eV/Å²; negative if `line` lies below."""
    return Envelope(lines, delta_mu_range).distance(line)


def height_above_envelope(line: Line, lines: Mapping[str, Line], delta_mu_o: float) -> float:
    """γ minus the envelope of `lines` at one Δμ_O (eV), in eV/Å²: what energy classes are made of."""
    if not lines:
        raise ValueError("`lines` is empty: energy classes are measured from the envelope of relaxed seeds")
    return line.at(delta_mu_o) - min(other.at(delta_mu_o) for other in lines.values())


def _metal_count(counts: Mapping[str, int]) -> int:
    metals = [symbol for symbol, count in counts.items() if symbol != OXYGEN and count]
    if len(metals) != 1:
        raise ValueError(f"`counts` is {dict(counts)}: exactly one metal is needed beside oxygen")
    return int(counts[metals[0]])


def _excess_energy(energy: float, counts: Mapping[str, int], references: References, area: float) -> Line:
    """Energy above bulk and O2 per area of all faces together."""
    if not area > 0.0:
        raise ValueError(f"`area` is {area} Å² but must be positive")
    for name, value in (
        ("energy", energy),
        ("energy_bulk", references.energy_bulk),
        ("half_energy_o2", references.half_energy_o2),
    ):
        if not math.isfinite(value):
            raise ValueError(f"`{name}` is {value} eV but must be finite")
    missing_oxygen = -excess_oxygen(counts)
    total = energy - _metal_count(counts) * references.energy_bulk + missing_oxygen * references.half_energy_o2
    return Line(gamma0=total / area, slope=missing_oxygen / area)


def _windows(lines: Mapping[str, Line], start: float, stop: float) -> list[Window]:
    """Follow the lowest line from `start`, each time to its first crossing with a line that falls faster."""
    ids = list(lines)
    gamma0 = np.array([lines[name].gamma0 for name in ids])  # (n_lines,)
    slope = np.array([lines[name].slope for name in ids])  # (n_lines,)
    if not (np.isfinite(gamma0).all() and np.isfinite(slope).all()):
        raise ValueError("`lines` hold values that are not finite: a failed relaxation must not enter the envelope")
    current = int(np.lexsort((np.arange(len(ids)), slope, gamma0 + slope * start))[0])
    windows: list[Window] = []
    while True:
        falling = np.flatnonzero(slope < slope[current])
        crossings = (gamma0[falling] - gamma0[current]) / (slope[current] - slope[falling])
        begin = windows[-1].stop if windows else start
        order = np.lexsort((falling, slope[falling], crossings))
        if not len(order) or crossings[order[0]] >= stop:
            windows.append(Window(ids[current], begin, stop))
            return windows
        following = int(falling[order[0]])
        end = float(crossings[order[0]])
        if end > begin:
            windows.append(Window(ids[current], begin, end))
        current = following


def vibrational_gamma(
    free_energies: Mapping[str, Sequence[float]],
    bulk: Mapping[str, float],
    excess_oxygen: int,
    area: float,
) -> float:
    """Change of γ by vibrations of a one-sided slab, atoms swinging for themselves (Einstein's model).

    As in the appendix of Reuter and Scheffler (2001), with frozen atoms taken to swing as in the bulk, and the
    zero-point energy of O2 counted with μ_O, which Δμ_O from the JANAF tables leaves out:
    [Σ_i (F_i − f_bulk) + (N_O − 2 N_metal)(f_O,bulk − ½ZPE(O2))]/A, the sum over the free atoms.

    Parameters
    ----------
    free_energies : mapping of symbol to sequence of float
        Vibrational free energy of each free atom in eV at some temperature.
    bulk : mapping of symbol to float
        The same per atom of the bulk.
    excess_oxygen : int
        N_O − 2 N_metal of the whole slab.
    area : float
        Å²

    Returns
    -------
    float
        eV/Å²
    """
    surface = sum(value - bulk[symbol] for symbol, values in free_energies.items() for value in values)
    return (surface + excess_oxygen * (bulk[OXYGEN] - HALF_ZERO_POINT_O2)) / area
