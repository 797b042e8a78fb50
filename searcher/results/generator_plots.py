"""Pictures of what a generator makes, as PNG: isosurfaces, galleries, beside the nearest real grid, classes, maps."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from searcher.results.plots import OKABE_ITO, canvas, png

ISOVALUE = 0.5
"""Of an atom's peak: the surface stands 1.18 σ from its centre."""
SCALE = {"vmin": 0.0, "vmax": 1.0, "cmap": "cividis", "origin": "lower"}


def isosurfaces(grids: np.ndarray, species: Sequence[str], lengths: np.ndarray, n_samples: int = 4) -> bytes:
    """Voxels above half of an atom's peak, one panel for each sample, scaled by its own cell.

    Parameters
    ----------
    grids : array, shape (n, n_species, nx, ny, nz)
    species : sequence of str
    lengths : array, shape (n, 3)
        Å
    n_samples : int
    """
    shown = grids[:n_samples]
    figure = canvas(2.8 * len(shown), 3.2)
    for number, sample in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), number + 1, projection="3d")
        for channel, symbol in enumerate(species):
            inside = sample[channel] > ISOVALUE
            if inside.any():
                axes.voxels(inside, facecolors=OKABE_ITO[channel % 6], edgecolor=None, label=symbol)
        axes.set_box_aspect(tuple(float(length) for length in lengths[number]))
        axes.set_axis_off()
        x, y, z = lengths[number]
        axes.set_title(f"{x:.1f} × {y:.1f} × {z:.1f} Å", fontsize=8)
    return png(figure)


def attributed_atoms(
    structures: Sequence[Atoms], values: Sequence[np.ndarray], n_frozen: int, titles: Sequence[str]
) -> bytes:
    """Atoms in space, red where they raise an answer and blue where they lower it; frozen ones are grey.

    Parameters
    ----------
    structures : sequence of ase.Atoms, length n
    values : sequence of array, shape (n_atoms,)
        One scale for all, so that structures can be compared.
    n_frozen : int
        The first atoms.
    titles : sequence of str
    """
    figure = canvas(3.2 * len(structures) + 1.0, 3.8)
    largest = max([float(np.abs(own).max()) for own in values if len(own)], default=0.0) or 1.0
    panels, points = [], None
    for number, (atoms, own, title) in enumerate(zip(structures, values, titles, strict=True)):
        axes = figure.add_subplot(1, len(structures), number + 1, projection="3d")
        sizes = 170.0 * covalent_radii[atoms.numbers] ** 2
        still, free = slice(0, n_frozen), slice(n_frozen, None)
        axes.scatter(*atoms.positions[still].T, s=sizes[still], color="0.85", depthshade=False)
        points = axes.scatter(
            *atoms.positions[free].T,
            s=sizes[free],
            c=own[free],
            vmin=-largest,
            vmax=largest,
            cmap="RdBu_r",
            edgecolors="0.3",
            linewidths=0.5,
            depthshade=False,
        )
        span = np.ptp(atoms.positions, axis=0) + 2.0
        axes.set_box_aspect(tuple(float(length) for length in span))
        axes.set_axis_off()
        axes.set_title(title, fontsize=8)
        panels.append(axes)
    if points is not None:
        figure.colorbar(points, ax=panels, label="attribution", shrink=0.7)
    return png(figure)


def gallery(grids: np.ndarray, labels: Sequence[str], per_label: int = 6) -> bytes:
    """The largest value along y of samples, one row for each label.

    Parameters
    ----------
    grids : array, shape (n, n_species, nx, ny, nz) or (n, n_species, n_1, n_2)
    labels : sequence of str, length n
    per_label : int
    """
    rows = sorted(set(labels))
    flat = grids.max(axis=3) if grids.ndim == 5 else grids
    flat = flat.max(axis=1)  # (n, n_1, n_2)
    figure = canvas(1.4 * per_label + 0.8, 1.4 * len(rows) + 0.3)
    panels = figure.subplots(len(rows), per_label, squeeze=False)
    for row, label in enumerate(rows):
        own = [index for index, other in enumerate(labels) if other == label]
        for column in range(per_label):
            panel = panels[row, column]
            panel.set_xticks([])
            panel.set_yticks([])
            if column < len(own):
                panel.imshow(flat[own[column]].T, **SCALE)
            else:
                panel.set_axis_off()
        panels[row, 0].set_ylabel(label, fontsize=8)
    return png(figure)


def beside_nearest(
    generated: np.ndarray,
    real: np.ndarray,
    figures: np.ndarray,
    n_samples: int = 6,
    rows: tuple[str, str] = ("generated", "nearest real"),
) -> bytes:
    """Generated grids above the training grids that they look most like, with their structural similarity.

    Parameters
    ----------
    generated, real : array, shape (n, n_species, \\*shape)
    figures : array, shape (n,)
        Written below each pair.
    n_samples : int
    rows : tuple of str
        What the upper and the lower row are.
    """
    n = min(n_samples, len(generated))
    figure = canvas(1.7 * n, 3.7)
    panels = figure.subplots(2, n, squeeze=False)
    for column in range(n):
        for row, grid in enumerate((generated[column], real[column])):
            flat = grid.max(axis=2) if grid.ndim == 4 else grid
            panels[row, column].imshow(flat.max(axis=0).T, **SCALE)
            panels[row, column].set_xticks([])
            panels[row, column].set_yticks([])
        panels[1, column].set_xlabel(f"{figures[column]:.3f}", fontsize=8)
    for row, label in enumerate(rows):
        panels[row, 0].set_ylabel(label, fontsize=8)
    return png(figure)


def confusion(asked: np.ndarray, got: np.ndarray, name: str) -> bytes:
    """How often each value that was asked for was got, rows adding up to 1.

    Parameters
    ----------
    asked, got : array of int, shape (n,)
    name : str
        Of the condition, for the axes.
    """
    low, high = int(min(asked.min(), got.min())), int(max(asked.max(), got.max()))
    counts = np.zeros((high - low + 1, high - low + 1))
    np.add.at(counts, (asked.astype(int) - low, got.astype(int) - low), 1.0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    figure = canvas(4.6, 4.2)
    axes = figure.add_subplot()
    picture = axes.imshow(shares, vmin=0.0, vmax=1.0, cmap="cividis", origin="lower")
    values = range(low, high + 1)
    axes.set_xticks(range(len(values)), [str(value) for value in values])
    axes.set_yticks(range(len(values)), [str(value) for value in values])
    axes.set(xlabel=f"{name} got", ylabel=f"{name} asked for")
    figure.colorbar(picture, ax=axes, label="share of those asked for")
    return png(figure)


def histograms(real: np.ndarray, generated: np.ndarray, name: str) -> bytes:
    """Shares of a whole number's values in the data and among what was generated.

    Parameters
    ----------
    real, generated : array of int, shape (n,)
    name : str
    """
    values = np.arange(int(min(real.min(), generated.min())), int(max(real.max(), generated.max())) + 1)
    figure = canvas(5.4, 3.2)
    axes = figure.add_subplot()
    for offset, rows, label, colour in ((-0.2, real, "data", "0.6"), (0.2, generated, "generated", OKABE_ITO[0])):
        axes.bar(values + offset, [float(np.mean(rows == value)) for value in values], 0.4, label=label, color=colour)
    axes.set(xlabel=name, ylabel="share", xticks=values)
    axes.legend(frameon=False)
    return png(figure)


def likeness_map(real: np.ndarray, generated: np.ndarray, gamma: np.ndarray | None, axes_are: str) -> bytes:
    """Real and generated structures on a map of likeness.

    Parameters
    ----------
    real, generated : array, shape (n, 2)
    gamma : array, shape (n_real,), optional
        meV/Å², the colour of the real ones.
    axes_are : str
        What the axes are, for their labels.
    """
    figure = canvas(5.6, 4.6)
    axes = figure.add_subplot()
    colours = {"c": "0.6"} if gamma is None else {"c": gamma, "cmap": "cividis"}
    points = axes.scatter(real[:, 0], real[:, 1], s=14, label="data", **colours)
    axes.scatter(
        generated[:, 0],
        generated[:, 1],
        s=12,
        facecolors="none",
        edgecolors=OKABE_ITO[5],
        linewidths=0.7,
        label="generated",
    )
    if gamma is not None:
        figure.colorbar(points, ax=axes, label="γ / meV Å⁻²")
    axes.set(xlabel=f"{axes_are} 1", ylabel=f"{axes_are} 2")
    axes.legend(frameon=False)
    return png(figure)


def pareto_picture(points: Sequence[tuple[float, float]], front: Sequence[int], farthest: float = 1e6) -> bytes:
    """Fréchet distance against coverage of several trainings, those that none beats joined.

    Parameters
    ----------
    points : sequence of (distance, coverage)
    front : sequence of int
        Of the points, by rising distance.
    farthest : float
        Points with a larger distance are left out: nothing could be compared.
    """
    figure = canvas(5.0, 3.8)
    axes = figure.add_subplot()
    finite = np.array([point for point in points if point[0] < farthest]).reshape(-1, 2)
    axes.scatter(finite[:, 0], finite[:, 1], s=18, color="0.5")
    best = np.array([points[index] for index in front if points[index][0] < farthest]).reshape(-1, 2)
    axes.plot(best[:, 0], best[:, 1], marker="o", color=OKABE_ITO[0], label="none beats these")
    axes.set(xlabel="Fréchet distance", ylabel="coverage")
    axes.legend(frameon=False)
    return png(figure)
