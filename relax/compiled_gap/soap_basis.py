"""What the basis functions of a `soap_turbo` descriptor are, asked from quippy.

The density around an atom is expanded channel by channel (one per element) as c_nlm = Σ_j g_nl(r_j) Y_lm(r̂_j); the
central atom adds v_n to l = 0 of its own channel. A descriptor is the normalised power spectrum Σ_m c_nlm c_n'lm, so
that only ratios are told. They are taken from three atoms in a row: with the centre X, an atom of one element at a
fixed distance and one of the other element at r, each component between both channels is proportional to g(r) of the
latter.
"""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.interpolate import CubicSpline

from relax.compiled_gap.parameters import NotCompilable, SoapTerm

NEAREST = 0.3
"""Å; below it the functions are held, no pair of atoms is ever that near and alive."""
SPACING = 0.01
"""Å between knots of cubic splines, at most."""
SMOOTHED_REACH = 4.0
"""σ of an atom's Gaussian from which on `soap_turbo` sees that the cutoff begins: g has a small step there"""
ANCHOR = 2.0
"""Å from the centre to the atom whose contribution is known."""
STEP = 1e-9
"""Å from a bound at which its side is still told."""
LARGEST_MISMATCH = 1e-9

Descriptors = Callable[[Atoms], np.ndarray]
"""Descriptors of all atoms of the centre's element in a structure, (n_centres, n_components)"""
Describe = Callable[[str], Descriptors]
"""What makes quippy's descriptor from its text"""


@dataclass(frozen=True)
class SoapBasis:
    """Tables of g and what a compressed descriptor keeps.

    Attributes
    ----------
    bounds : numpy.ndarray, shape (n_segments + 1,)
        Å, between which g is smooth.
    starts : numpy.ndarray, shape (n_segments + 1,)
        Number of the first interval of each segment, and how many there are; a segment's intervals are equally long.
    coefficients : numpy.ndarray, shape (n_species, n_intervals, 4, l_max + 1, n_max)
        g_nl in each interval as a cubic of the distance from its lower end, highest power first.
    central : numpy.ndarray, shape (n_max,)
        v
    rows, columns, degrees : numpy.ndarray, shape (n_components,)
        Which two channels (species · n_max + n) and which l each kept component couples.
    factors : numpy.ndarray, shape (n_components,)
        What multiplies each; √2 where the two differ.
    """

    bounds: np.ndarray
    starts: np.ndarray
    coefficients: np.ndarray
    central: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    degrees: np.ndarray
    factors: np.ndarray


def soap_basis(term: SoapTerm, describe: Describe) -> SoapBasis:
    """Measure a descriptor's basis.

    Raises
    ------
    NotCompilable
        If what it answers is not of the form above.
    """
    if len(set(term.n_max)) > 1:
        raise NotCompilable("its soap_turbo term has channels of different sizes")
    whole, kept = describe(re.sub(r"compress_mode=\S+", "", term.descriptor)), describe(term.descriptor)
    shape = _Shape(len(term.species), term.n_max[0], term.l_max + 1)
    own = term.species.index(term.centre)
    partner = next(s for s in range(len(term.species)) if s != own)
    central, of_partner = _pair(term, shape, own, partner, whole)
    of_own = _beside(term, shape, own, (partner, of_partner), np.array([ANCHOR]), whole)[0]
    of_own[0] -= central
    anchored = of_own.copy()
    anchored[0] += central
    bounds = _bounds(term)
    starts, pieces = [0], []
    for low, high in itertools.pairwise(bounds):
        knots = np.linspace(low, high, int(np.ceil((high - low) / SPACING)) + 1)
        inside = np.clip(knots, low + STEP, high - STEP)
        values = np.empty((shape.n_species, len(knots), shape.n_degrees, shape.n_max))
        for s in range(shape.n_species):
            anchor = (partner, of_partner) if s == own else (own, anchored)
            values[s] = _beside(term, shape, s, anchor, inside, whole)
        values[own, :, 0] -= central
        pieces.append(np.moveaxis(CubicSpline(knots, values, axis=1).c, 2, 0).swapaxes(1, 2))
        starts.append(starts[-1] + len(knots) - 1)
    coefficients = np.ascontiguousarray(np.concatenate(pieces, axis=1))
    return SoapBasis(np.array(bounds), np.array(starts), coefficients, central, *_components(term, shape, whole, kept))


def _bounds(term: SoapTerm) -> list[float]:
    """Distances in Å between which g is smooth."""
    widest = (term.r_soft - SMOOTHED_REACH * term.sigma) / (1.0 + SMOOTHED_REACH * term.sigma_scaling)
    return sorted({NEAREST, *(r for r in (widest, term.r_soft) if NEAREST < r < term.r_cut), term.r_cut})


@dataclass(frozen=True)
class _Shape:
    n_species: int
    n_max: int
    n_degrees: int

    def spectra(self, descriptors: np.ndarray) -> np.ndarray:
        """Uncompressed descriptors (n, n_components) as symmetric matrices (n, n_degrees, channel, channel)."""
        rows, columns = np.triu_indices(self.n_species * self.n_max)
        if descriptors.shape[1] != len(rows) * self.n_degrees:
            raise NotCompilable(f"its soap_turbo term has {descriptors.shape[1]} components")
        listed = descriptors.reshape(len(descriptors), len(rows), self.n_degrees).transpose(0, 2, 1)
        listed = listed / np.where(rows == columns, 1.0, np.sqrt(2.0))
        matrices = np.empty((len(descriptors), self.n_degrees, *[self.n_species * self.n_max] * 2))
        matrices[:, :, rows, columns] = matrices[:, :, columns, rows] = listed
        return matrices

    def channel(self, species: int) -> slice:
        return slice(species * self.n_max, (species + 1) * self.n_max)


def _pair(term: SoapTerm, shape: _Shape, own: int, partner: int, whole: Descriptors) -> tuple[np.ndarray, np.ndarray]:
    """v (n_max,) and the partner's g (n_degrees, n_max) at the anchor, in one unit that is left free."""
    atoms = _rows(term, [[(own, 0.0), (partner, ANCHOR)]])
    spectrum = shape.spectra(whole(atoms))[0]
    ours, theirs = shape.channel(own), shape.channel(partner)
    central = _root(spectrum[0, ours, ours])
    pivot = int(np.argmax(abs(central)))
    found = np.array([_root(spectrum[degree, theirs, theirs]) for degree in range(shape.n_degrees)])
    found[0] = spectrum[0, ours, theirs][pivot] / central[pivot]
    # the sign of a degree is free, but the radial functions have one sign for all of them
    largest = int(np.argmax(abs(found[0])))
    found *= np.sign(found[:, [largest]]) * np.sign(found[0, largest])
    return central, found


def _root(square: np.ndarray) -> np.ndarray:
    """The vector whose outer product with itself is this matrix, up to its sign."""
    pivot = int(np.argmax(np.diag(square)))
    return square[pivot] / np.sqrt(square[pivot, pivot])


def _beside(
    term: SoapTerm,
    shape: _Shape,
    species: int,
    anchor: tuple[int, np.ndarray],
    distances: np.ndarray,
    whole: Descriptors,
) -> np.ndarray:
    """What the channel of `species` holds with one atom of it at each distance, (n, n_degrees, n_max)."""
    other, known = anchor
    own = term.species.index(term.centre)
    atoms = _rows(term, [[(own, 0.0), (other, ANCHOR), (species, -r)] for r in distances])
    spectra = shape.spectra(_of_first(term, atoms, whole, len(distances)))
    theirs = shape.channel(other)
    degrees = np.arange(shape.n_degrees)
    pivots = np.argmax(abs(known), axis=1)  # (n_degrees,)
    own_squares = spectra[:, degrees, theirs.start + pivots, theirs.start + pivots]  # of the known part, in this unit
    cross = spectra[:, degrees, theirs.start + pivots, shape.channel(species)]
    signs = (-1.0) ** degrees  # the atom stands on the other side of the centre
    return signs[:, None] * cross * (known[degrees, pivots] / own_squares)[..., None]


def _rows(term: SoapTerm, groups: list[list[tuple[int, float]]]) -> Atoms:
    """Groups of atoms on z axes that do not see each other; each atom by its species and its height in Å."""
    apart = 3 * term.r_cut
    numbers = [term.species[s] for group in groups for s, _ in group]
    positions = [[k * apart, 0.0, height] for k, group in enumerate(groups) for _, height in group]
    return Atoms(numbers=numbers, positions=positions, cell=[apart * (len(groups) + 1), 40.0, 40.0], pbc=False)


def _of_first(term: SoapTerm, atoms: Atoms, whole: Descriptors, n_groups: int) -> np.ndarray:
    """Descriptors of the first atom of each group."""
    answers = whole(atoms)
    per_group = len(atoms) // n_groups
    centres = np.flatnonzero(atoms.numbers == term.centre)
    return answers[np.searchsorted(centres, np.arange(n_groups) * per_group)]


def _components(
    term: SoapTerm, shape: _Shape, whole: Descriptors, kept: Descriptors
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which components a compressed descriptor keeps, in its order: where their values are found in the whole one."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(3 * shape.n_species, 3))
    lengths = rng.uniform(1.5, 0.8 * term.r_cut, (len(directions), 1))
    positions = np.vstack([np.zeros(3), directions / np.linalg.norm(directions, axis=1, keepdims=True) * lengths])
    numbers = [term.centre, *(term.species * 3)]
    atoms = Atoms(numbers=numbers, positions=positions, cell=[40.0] * 3, pbc=False)
    all_of_it, some = whole(atoms)[0], kept(atoms)[0]
    order = np.argsort(all_of_it)
    best, where = np.inf, np.arange(len(some))
    for scale in some[0] / all_of_it[all_of_it != 0]:
        if scale <= 0:
            continue
        right = np.clip(np.searchsorted(all_of_it[order], some / scale), 1, len(order) - 1)
        near = np.where(
            abs(all_of_it[order[right]] - some / scale) < abs(all_of_it[order[right - 1]] - some / scale),
            order[right],
            order[right - 1],
        )
        mismatch = float(np.max(abs(all_of_it[near] * scale - some)))
        if mismatch < best:
            best, where = mismatch, near
    if best > LARGEST_MISMATCH or len(set(where)) != len(where):
        raise NotCompilable(f"its compression is none that keeps components (mismatch {best:.1e})")
    rows, columns = np.triu_indices(shape.n_species * shape.n_max)
    pairs, degrees = np.divmod(where, shape.n_degrees)
    factors = np.where(rows[pairs] == columns[pairs], 1.0, np.sqrt(2.0))
    return rows[pairs], columns[pairs], degrees, factors
