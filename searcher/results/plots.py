"""Pictures of a campaign as PNG. The only module that uses matplotlib, and only when a picture is asked for."""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols

from generators.grids.spec import GridSpec
from searcher.campaign.storage.candidate import Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.results.status import FUNNEL_COLUMNS, arm_names
from searcher.scoring.thermodynamics import Envelope, Line, delta_mu_o

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEV = 1000.0
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""colours that people with any colour vision tell apart (Okabe and Ito 2008)"""
DASHES = ("-", "--", "-.", ":")
DOTS_PER_INCH = 130
SHOWN_METRICS = ("critic_loss", "generator_loss", "wasserstein")


def losses(metrics: Mapping[str, Sequence[tuple[int, float]]]) -> bytes:
    """Loss curves of one iteration, by name, against generator steps."""
    figure, axes = _figure(6.4, 3.8)
    shown = [name for name in metrics if name in SHOWN_METRICS or name.endswith("loss")]
    for index, name in enumerate(shown):
        steps, values = np.array(metrics[name], dtype=float).T
        axes.plot(steps, values, color=OKABE_ITO[index % 6], linestyle=DASHES[index % 4], label=name.replace("_", " "))
    axes.set(xlabel="generator step", ylabel="loss / 1")
    axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    if shown:
        axes.legend(frameon=False)
    return png(figure)


def funnels(ledger: Ledger) -> bytes:
    """How many of each arm's proposals passed each gate, on a logarithmic axis with the counts written out."""
    figure, axes = _figure(8.4, 4.2)
    gates = [name for name in FUNNEL_COLUMNS if name != "force_calls"]
    arms = arm_names(ledger)
    width = 0.8 / max(len(arms), 1)
    for index, arm in enumerate(arms):
        funnel = ledger.funnel(arm)
        counts = [funnel[gate] for gate in gates]
        places = np.arange(len(gates)) + (index - (len(arms) - 1) / 2) * width
        label = f"{arm}, {funnel['force_calls']:,} force calls"
        # a bar of one would vanish on a logarithmic axis, so that bars start below one
        axes.bar(places, counts, width, color=OKABE_ITO[index % 6], label=label)
        for x, count in zip(places, counts, strict=True):
            axes.annotate(str(count), (x, max(count, 0.6)), ha="center", va="bottom", fontsize=7)
    axes.set_yscale("log")
    axes.set_ylim(0.5, 1.6 * axes.get_ylim()[1])
    axes.set_xticks(range(len(gates)), [gate.replace("_", "\n") for gate in gates])
    axes.set_ylabel("candidates")
    if arms:
        axes.legend(frameon=False, loc="upper right")
    return png(figure)


def diagram_figure(
    lines: Mapping[str, Line],
    reference: Sequence[str],
    delta_mu_range: tuple[float, float],
    pressure: float = 1.0,
) -> "Figure":
    """γ(Δμ_O) with the lower envelope; a second axis gives the temperature in O2 gas.

    Parameters
    ----------
    lines : mapping of str to Line
        By id.
    reference : sequence of str
        Ids that are drawn as seeds or known structures.
    delta_mu_range : tuple of float
        In eV.
    pressure : float
        Of O2 in bar.
    """
    figure, axes = _figure(6.4, 4.6)
    x = np.array(delta_mu_range)
    for identifier, line in lines.items():
        known = identifier in reference
        colour, dash = ("0.55", "--") if known else (OKABE_ITO[0], "-")
        axes.plot(x, MEV * (line.gamma0 + line.slope * x), color=colour, linestyle=dash, linewidth=0.9, alpha=0.8)
    if lines:
        envelope = Envelope(lines, delta_mu_range)
        corners = np.array([x[0], *(window.stop for window in envelope.windows)])
        axes.plot(corners, [MEV * envelope.at(c) for c in corners], color="black", linewidth=2.5, label="lowest")
        axes.plot([], [], color=OKABE_ITO[0], label="accepted")
        axes.plot([], [], color="0.55", linestyle="--", label="seeds and known")
        axes.legend(frameon=False)
    axes.set(xlim=delta_mu_range, ylabel="γ / meV Å⁻²")
    axes.set_xlabel(r"$\Delta\mu_\mathrm{O}$ / eV per O atom, relative to ½ O₂ at 0 K")
    _temperature_axis(axes, delta_mu_range, pressure)
    return figure


def diagram(
    lines: Mapping[str, Line],
    reference: Sequence[str],
    delta_mu_range: tuple[float, float],
    pressure: float = 1.0,
) -> bytes:
    """`diagram_figure` as PNG."""
    return png(diagram_figure(lines, reference, delta_mu_range, pressure))


def energy_classes(ledger: Ledger) -> bytes:
    """How many terminations of each energy class: accepted per arm, and seeds with known."""
    figure, axes = _figure(6.4, 3.6)
    accepted = ledger.candidates(verdict=Verdict.ACCEPTED)
    groups = {arm: [c.energy_class for c in accepted if c.arm == arm] for arm in arm_names(ledger)}
    groups["seeds and known"] = [c.energy_class for c in ledger.candidates(verdict=Verdict.REFERENCE)]
    found = [value for values in groups.values() for value in values if value is not None]
    classes = np.arange(max(found, default=0) + 1)
    width = 0.8 / len(groups)
    for index, (name, values) in enumerate(groups.items()):
        counts = [values.count(int(value)) for value in classes]
        colour = "0.6" if name == "seeds and known" else OKABE_ITO[index % 6]
        axes.bar(classes + (index - (len(groups) - 1) / 2) * width, counts, width, color=colour, label=name)
    axes.set(xlabel="energy class, 0 is the most stable", ylabel="terminations", xticks=classes)
    axes.locator_params(axis="y", integer=True)
    axes.legend(frameon=False)
    return png(figure)


def slices(samples: Path, n_samples: int = 4) -> bytes:
    """Generated density grids, one row each: per species an xz slice through its largest value and the view from above.

    Parameters
    ----------
    samples : pathlib.Path
        ``.npz`` with at least one grid: `grids` (n, n_species, nx, ny, nz), `species` (atomic numbers or symbols) and
        `spacing` in Å.
    """
    with np.load(samples, allow_pickle=False) as data:
        grids = np.asarray(data["grids"], dtype=float)[:n_samples]
        species = [_symbol(value) for value in data["species"]]
        spacing = np.broadcast_to(np.asarray(data["spacing"], dtype=float), (3,))
    columns = 2 * len(species)
    figure = canvas(2.1 * columns, 2.1 * len(grids))
    axes = figure.subplots(len(grids), columns, squeeze=False)
    x, y, z = np.array(grids.shape[2:]) * spacing
    for row, sample in enumerate(grids):
        for channel, symbol in enumerate(species):
            density = sample[channel]
            plane = int(np.unravel_index(density.argmax(), density.shape)[1])
            side, top = axes[row, 2 * channel], axes[row, 2 * channel + 1]
            scale = {"vmin": 0.0, "vmax": 1.0, "cmap": "cividis", "origin": "lower"}
            side.imshow(density[:, plane].T, extent=(0, x, 0, z), **scale)
            top.imshow(density.max(axis=2).T, extent=(0, x, 0, y), **scale)
            if row == 0:
                side.set_title(f"{symbol}, xz slice", fontsize=9)
                top.set_title(f"{symbol}, from above", fontsize=9)
            if row == len(grids) - 1:
                side.set_xlabel("x / Å")
                top.set_xlabel("x / Å")
            side.set_ylabel("z / Å")
            top.set_ylabel("y / Å")
    return png(figure)


def density_image(density: np.ndarray, across: float, up: float, pixels_per_angstrom: float = 20.0) -> bytes:
    """One plane of a density as PNG without axes, 0 dark to 1 bright, each voxel a block of its own shape.

    Parameters
    ----------
    density : array, shape (n_across, n_up)
    across, up : float
        Size of the plane in Å.
    pixels_per_angstrom : float
    """
    from matplotlib.image import imsave

    shape = [max(1, round(pixels_per_angstrom * length)) for length in (across, up)]
    rows, columns = (np.arange(n) * count // n for n, count in zip(shape, density.shape, strict=True))
    stream = BytesIO()
    pixels = density[np.ix_(rows, columns)].T
    imsave(stream, pixels, vmin=0.0, vmax=1.0, cmap="cividis", origin="lower", format="png")
    return stream.getvalue()


def embedded(picture: bytes) -> str:
    """A PNG as the ``src`` of an image, inside of a page."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def found_atoms(
    density: np.ndarray, residual: np.ndarray, spec: GridSpec, numbers: np.ndarray, positions: np.ndarray
) -> bytes:
    """Slices through a grid with the atoms that were found over them, and what these leave of it beside.

    One row per species: the xz slice and the xy slice through the largest value. A circle is an atom within 1σ of the
    plane, a dot one within 2σ; the residual's colours span its own largest value, written above.

    Parameters
    ----------
    density, residual : array, shape (n_species, nx, ny, nz)
    spec : GridSpec
    numbers : array, shape (n_atoms,)
    positions : array, shape (n_atoms, 3)
        Å
    """
    figure = canvas(10.4, 2.7 * len(spec.species))
    axes = figure.subplots(len(spec.species), 4, squeeze=False)
    low, high = np.array(spec.origin), np.array(spec.origin) + np.array(spec.lengths)
    for row, (symbol, number) in enumerate(zip(spec.species, spec.numbers, strict=True)):
        peak = np.unravel_index(density[row].argmax(), density[row].shape)
        largest = float(np.abs(residual[row]).max())
        own = positions[numbers == number]
        for pair, (normal, (across, up)) in enumerate(((1, (0, 2)), (2, (0, 1)))):
            plane = low[normal] + (peak[normal] + 0.5) * float(spec.spacing[normal])
            extent = (low[across], high[across], low[up], high[up])
            titles = (f"{symbol}, {'xyz'[normal]} = {plane:.2f} Å", f"residual, ± {largest:.1e}")
            limit = max(largest, float(np.finfo(float).tiny))
            colours = ((0.0, 1.0, "cividis"), (-limit, limit, "RdBu_r"))
            for side, (values, title, (vmin, vmax, cmap)) in enumerate(
                zip((density, residual), titles, colours, strict=True)
            ):
                panel = axes[row, 2 * pair + side]
                slab = values[row].take(peak[normal], axis=normal)
                panel.imshow(slab.T, extent=extent, origin="lower", vmin=vmin, vmax=vmax, cmap=cmap)
                panel.set_title(title, fontsize=9)
                panel.set_xlabel(f"{'xyz'[across]} / Å")
                panel.set_ylabel(f"{'xyz'[up]} / Å")
            offset = own[:, normal] - plane
            if spec.periodic[normal]:
                offset -= spec.lengths[normal] * np.round(offset / spec.lengths[normal])
            distance = np.abs(offset)
            for reach, style in ((1.0, {"marker": "o", "facecolors": "none"}), (2.0, {"marker": "."})):
                shown = own[(distance <= reach * spec.sigma) & (distance > (reach - 1.0) * spec.sigma - 1e-9)]
                axes[row, 2 * pair].scatter(shown[:, across], shown[:, up], s=34, edgecolors=OKABE_ITO[5], **style)
    return png(figure)


def _temperature_axis(axes: "Axes", delta_mu_range: tuple[float, float], pressure: float) -> None:
    temperatures = [
        t for t in range(200, 2001, 200) if delta_mu_range[0] <= delta_mu_o(t, pressure) <= delta_mu_range[1]
    ]
    above = axes.twiny()
    above.set_xlim(delta_mu_range)
    above.set_xticks([delta_mu_o(t, pressure) for t in temperatures], [str(t) for t in temperatures])
    above.set_xlabel(f"T / K in {pressure:g} bar O₂")


def _symbol(value: object) -> str:
    return str(value) if isinstance(value, str) else chemical_symbols[int(value)]  # type: ignore[call-overload]


def _figure(width: float, height: float) -> tuple["Figure", "Axes"]:
    figure = canvas(width, height)
    return figure, figure.add_subplot()


def canvas(width: float, height: float) -> "Figure":
    """A figure of its own (sizes in inches), so that no state is shared and no display is needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: "Figure") -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    stream = BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
