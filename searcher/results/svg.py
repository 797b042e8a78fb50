"""Drawings for the report as SVG text: they take the page's colours, need no library, and stay sharp.

Colours come from the page's style sheet by class, so that dark and light mode and print work.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from markupsafe import Markup, escape

from searcher.scoring.thermodynamics import Envelope, Line, delta_mu_o

MEV = 1000.0
WIDTH, HEIGHT = 760.0, 430.0
LEFT, RIGHT, BOTTOM = 62.0, 16.0, 46.0
TICKS = 6
DELTA_MU_O = Markup('Δμ<tspan dy="3" font-size="9">O</tspan><tspan dy="-3">\u200b</tspan>')
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TEMPERATURES = (100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1200, 1400, 1600, 1800, 2000)  # K


@dataclass(frozen=True)
class Curve:
    """A termination's line in the diagram."""

    id: str
    label: str
    kind: str
    """class of the style sheet: ``gan``, ``random`` …, or ``reference``"""
    line: Line
    facet: str = ""


@dataclass(frozen=True)
class Axes:
    """From data to the drawing's coordinates."""

    x: tuple[float, float]
    y: tuple[float, float]
    top: float = 16.0

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - self.top)


def diagram(curves: Sequence[Curve], delta_mu_range: tuple[float, float], pressures: Sequence[float]) -> Markup:
    """γ(Δμ_O) of every curve with the lower envelope of each facet, and temperature axes at pressures in bar.

    Lines carry ``data-id``, ``data-facet`` and a title, so that the page can mark the one that is pointed at.
    """
    low, high = delta_mu_range
    lowest = {facet: _corners(curves, facet, delta_mu_range) for facet in dict.fromkeys(c.facet for c in curves)}
    heights = np.array([[MEV * c.line.at(low), MEV * c.line.at(high)] for c in curves])
    floor = MEV * min(y for corners in lowest.values() for _, y in corners)
    ceiling = float(np.quantile(heights.max(axis=1), 0.9))
    margin = 0.06 * (ceiling - floor) or 1.0
    axes = Axes((low, high), (floor - margin, ceiling + margin), top=20.0 + 30.0 * len(pressures))
    parts = [_open("γ in meV/Å² against Δμ_O in eV", "diagram")]
    parts.append(_clip("plot", axes))
    parts += _frame(axes, DELTA_MU_O + " / eV per O atom, relative to ½ O₂ at 0 K", "γ / meV Å⁻²")
    for row, pressure in enumerate(pressures):
        parts += _temperature_axis(axes, pressure, axes.top - 6.0 - 30.0 * row)
    parts.append('<g clip-path="url(#plot)">')
    for curve in curves:
        points = [axes.place(x, MEV * curve.line.at(x)) for x in (low, high)]
        title = f"{curve.label}: γ = {MEV * curve.line.gamma0:.1f} {_signed(MEV * curve.line.slope)} Δμ_O meV/Å²"
        parts.append(
            f'<polyline class="curve {escape(curve.kind)}" data-id="{escape(curve.id)}" '
            f'data-facet="{escape(curve.facet)}" points="{_points(points)}">'
            f"<title>{escape(title)}</title></polyline>"
        )
    for facet, corners in lowest.items():
        placed = _points([axes.place(x, MEV * y) for x, y in corners])
        parts.append(f'<polyline class="envelope" data-facet="{escape(facet)}" points="{placed}"/>')
    parts.append("</g>")
    if len(lowest) > 1:
        for facet, corners in lowest.items():
            x, y = axes.place(low, MEV * corners[0][1])
            place = f'x="{x + 6:.1f}" y="{y - 6:.1f}"'
            parts.append(f'<text class="facet" data-facet="{escape(facet)}" {place}>({escape(facet)})</text>')
    parts.append("</svg>")
    return Markup("".join(parts))


def _corners(curves: Sequence[Curve], facet: str, delta_mu_range: tuple[float, float]) -> list[tuple[float, float]]:
    """Where a facet's lower envelope bends, and its ends: Δμ_O in eV and γ in eV/Å²."""
    envelope = Envelope({curve.id: curve.line for curve in curves if curve.facet == facet}, delta_mu_range)
    low = delta_mu_range[0]
    return [(low, envelope.at(low)), *((w.stop, envelope.at(w.stop)) for w in envelope.windows)]


def scatter(
    places: Mapping[str, tuple[float, float]],
    kinds: Mapping[str, str],
    titles: Mapping[str, str],
    groups: Mapping[str, int],
) -> Markup:
    """Points with ``data-id`` and a title each, on axes without meaning beyond nearness.

    Parameters
    ----------
    places : mapping of id to (x, y)
    kinds : mapping of id to str
        Class of the style sheet.
    titles : mapping of id to str
    groups : mapping of id to int
        Groups of like structures, for those that are in one.
    """
    if not places:
        return Markup("")
    points = np.array(list(places.values()))
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.05 * np.maximum(high - low, 1e-9)
    axes = Axes((low[0] - margin[0], high[0] + margin[0]), (low[1] - margin[1], high[1] + margin[1]))
    parts = [_open("terminations by likeness: near points are alike", "map")]
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM - axes.top
    parts.append(f'<rect class="frame" x="{LEFT}" y="{axes.top}" width="{width}" height="{height}"/>')
    parts.append(
        f'<text class="label" x="{LEFT + width / 2}" y="{HEIGHT - 16}">first principal axis of the SOAP vectors</text>'
        f'<text class="label" transform="translate(44,{axes.top + height / 2:.1f}) rotate(-90)">second</text>'
    )
    for name, place in places.items():
        x, y = axes.place(*place)
        parts.append(
            f'<circle class="point {escape(kinds[name])}" data-id="{escape(name)}" data-group="{groups.get(name, 0)}" '
            f'cx="{x:.1f}" cy="{y:.1f}" r="5">'
            f"<title>{escape(titles[name])}</title></circle>"
        )
    parts.append("</svg>")
    return Markup("".join(parts))


def curves_over_steps(
    series: Mapping[str, Sequence[tuple[float, float]]],
    boundaries: Sequence[float],
    name: str = "losses",
    title: str = "losses against training steps",
    label: str = "loss / 1",
) -> Markup:
    """Metrics against training steps; boundaries are the steps at which an iteration ends."""
    finite = {name: [(s, v) for s, v in points if math.isfinite(v)] for name, points in series.items()}
    values = np.array([v for points in finite.values() for _, v in points])
    steps = np.array([s for points in finite.values() for s, _ in points])
    if not len(values):
        return Markup("")
    low, high = (float(v) for v in np.quantile(values, [0.005, 0.995]))
    margin = 0.08 * (high - low) or 1.0
    axes = Axes((float(steps.min()), max(float(steps.max()), float(steps.min()) + 1)), (low - margin, high + margin))
    parts = [_open(title, name), _clip(f"{name}-plot", axes)]
    parts += _frame(axes, "generator steps, iterations one after another", label)
    for boundary in boundaries:
        x = axes.place(boundary, 0)[0]
        parts.append(f'<line class="boundary" x1="{x:.1f}" x2="{x:.1f}" y1="{axes.top}" y2="{HEIGHT - BOTTOM}"/>')
    parts.append(f'<g clip-path="url(#{name}-plot)">')
    for index, (metric, points) in enumerate(finite.items()):
        placed = _points([axes.place(s, v) for s, v in points])
        parts.append(
            f'<polyline class="series s{index % 6}" points="{placed}"><title>{escape(metric)}</title></polyline>'
        )
    parts.append("</g></svg>")
    return Markup("".join(parts))


def structure(atoms: Atoms, n_frozen: int, view: str) -> Markup:
    """Atoms as circles, the nearest last; the frozen ones pale.

    Parameters
    ----------
    atoms : ase.Atoms
    n_frozen : int
        The first atoms.
    view : {"top", "side"}
        Along −z, or along y with z upwards.
    """
    across, up, depth = {"top": (0, 1, 2), "side": (0, 2, 1)}[view]
    positions = _wrapped(atoms)
    order = np.argsort(positions[:, depth] * (1 if view == "top" else -1), kind="stable")
    radii = covalent_radii[atoms.numbers] * 0.85
    low = np.array([0.0, 0.0 if view == "top" else positions[:, 2].min()]) - 1.3
    high = np.array([atoms.cell[0, 0], atoms.cell[1, 1] if view == "top" else positions[:, 2].max()]) + 1.3
    width, height = high - low
    symbols = atoms.get_chemical_symbols()
    parts = [
        f'<svg class="atoms" role="img" viewBox="0 0 {width:.2f} {height:.2f}" width="{9 * width:.0f}" '
        f'height="{9 * height:.0f}"><title>{view} view</title>'
    ]
    if view == "top":
        parts.append(f'<rect class="cell" x="1.3" y="1.3" width="{width - 2.6:.2f}" height="{height - 2.6:.2f}"/>')
    for i in order:
        x, y = positions[i, across] - low[0], high[1] - positions[i, up]
        kind = "frozen" if i < n_frozen else "free"
        parts.append(f'<circle class="{kind} {symbols[i]}" cx="{x:.2f}" cy="{y:.2f}" r="{radii[i]:.2f}"/>')
    return Markup("".join(parts) + "</svg>")


def element_colours(symbols_and_numbers: Mapping[str, int]) -> str:
    """Style rules that give each element's circles its usual colour."""
    rules = []
    for symbol, number in symbols_and_numbers.items():
        red, green, blue = (round(255 * c) for c in jmol_colors[number])
        rules.append(f"circle.{symbol}{{fill:rgb({red},{green},{blue})}}")
    return "".join(rules)


def _wrapped(atoms: Atoms) -> np.ndarray:
    positions = atoms.positions.copy()  # (n_atoms, 3)
    lengths = atoms.cell.lengths()[:2]
    positions[:, :2] -= lengths * np.floor(positions[:, :2] / lengths + 1e-6)
    return positions


def _open(title: str, name: str) -> str:
    return f'<svg id="{name}" role="img" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}"><title>{escape(title)}</title>'


def _clip(name: str, axes: Axes) -> str:
    return (
        f'<clipPath id="{name}"><rect x="{LEFT}" y="{axes.top}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - BOTTOM - axes.top}"/></clipPath>'
    )


def _frame(axes: Axes, x_label: str, y_label: str) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = [
        f'<rect class="frame" x="{LEFT}" y="{axes.top}" width="{WIDTH - LEFT - RIGHT}" height="{bottom - axes.top}"/>',
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}">{escape(x_label)}</text>',
        f'<text class="label" transform="translate(16,{(axes.top + bottom) / 2:.1f}) rotate(-90)">'
        f"{escape(y_label)}</text>",
    ]
    for value in _ticks(*axes.x):
        x = axes.place(value, 0)[0]
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>')
        parts.append(f'<text class="number middle" x="{x:.1f}" y="{bottom + 18}">{_number(value)}</text>')
    for value in _ticks(*axes.y):
        y = axes.place(0, value)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="number end" x="{LEFT - 6}" y="{y + 4:.1f}">{_number(value)}</text>')
    return parts


def _temperature_axis(axes: Axes, pressure: float, height: float) -> list[str]:
    """Temperatures in K at which O2 gas of a pressure in bar has the Δμ_O below them."""
    parts = [
        f'<line class="tick" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height}" y2="{height}"/>',
        f'<text class="number start" x="4" y="{height + 4}">{_pressure(pressure)} bar</text>',
    ]
    last = math.inf
    for temperature in TEMPERATURES:
        value = delta_mu_o(temperature, pressure)
        x = axes.place(value, 0)[0]
        if not axes.x[0] <= value <= axes.x[1] or last - x < 36:
            continue
        last = x
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{height - 4}" y2="{height}"/>')
        parts.append(f'<text class="number middle" x="{x:.1f}" y="{height - 8}">{temperature} K</text>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _pressure(value: float) -> str:
    exponent = math.log10(value)
    if exponent == round(exponent) and exponent < -2:
        return "10" + str(round(exponent)).translate(SUPERSCRIPTS)
    return f"{value:g}"


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'} {abs(value):.1f}"
