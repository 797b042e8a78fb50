"""Pictures of a potential's errors and of how far its uncertainty can be believed."""

from collections.abc import Mapping, Sequence

import numpy as np

from searcher.results.plots import MEV, OKABE_ITO, canvas, png


def parity(kinds: Sequence[str], energies: np.ndarray, forces: Sequence[np.ndarray]) -> bytes:
    """A potential's energies and force components on held-out frames beside its labeller's, by kind of frame.

    Parameters
    ----------
    energies : numpy.ndarray, shape (n_frames, 2)
        eV/atom: labeller, potential.
    forces : sequence of numpy.ndarray, each of shape (n_atoms, 3, 2)
        eV/Å: labeller, potential.
    """
    figure = canvas(9.6, 4.4)
    left, right = figure.subplots(1, 2)
    for index, kind in enumerate(sorted(set(kinds))):
        rows = [i for i, name in enumerate(kinds) if name == kind]
        colour = OKABE_ITO[index % 6]
        errors = MEV * (energies[rows, 1] - energies[rows, 0])
        left.scatter(energies[rows, 0], errors, s=9, color=colour, label=kind, alpha=0.8, linewidths=0)
        components = np.concatenate([forces[i].reshape(-1, 2) for i in rows])
        right.scatter(*components.T, s=2, color=colour, alpha=0.5, linewidths=0, rasterized=True)
    left.axhline(0, color="0.5", linewidth=0.8)
    left.set(xlabel="labeller's energy / eV per atom", ylabel="error of the potential / meV per atom")
    left.legend(frameon=False, fontsize=7)
    reach = max(float(np.abs(f).max()) for f in forces)
    right.plot([-reach, reach], [-reach, reach], color="0.5", linewidth=0.8)
    right.set(xlabel="labeller's force component / eV Å⁻¹", ylabel="potential's / eV Å⁻¹", aspect="equal")
    return png(figure)


def uncertainty(named: Mapping[str, tuple[np.ndarray, np.ndarray, float]]) -> bytes:
    """Predicted deviations against true errors of the energy, each with its rank correlation.

    Parameters
    ----------
    named : mapping of str to (predicted, true, rank correlation)
        Name of the predictor; both arrays of shape (n_frames,) in eV per atom.
    """
    figure = canvas(4.8 * len(named), 4.2)
    for axes, (name, (predicted, true, rank)) in zip(
        np.atleast_1d(figure.subplots(1, len(named))), named.items(), strict=True
    ):
        axes.loglog(MEV * predicted, np.maximum(MEV * np.abs(true), 1e-2), ".", color=OKABE_ITO[0], markersize=4)
        ends = np.array([MEV * predicted.min(), MEV * predicted.max()])
        axes.plot(ends, ends, color="0.5", linewidth=0.8)
        axes.set(
            xlabel=f"{name} / meV per atom", ylabel="|true error| / meV per atom", title=f"rank correlation {rank:.2f}"
        )
    return png(figure)
