"""The energy of one atom's environment and its slopes, in machine code."""

import math

import numpy as np
from numba import njit

from relax.compiled_gap.compiling import COMPILED
from relax.compiled_gap.harmonics import spherical_harmonics


@njit(**COMPILED)
def soap_term(species, vectors, distances, indices, i, basis, form, zeta, energies, forces, virial):  # type: ignore[no-untyped-def]
    """Add the energy of atom `i`'s environment and its slopes.

    Parameters
    ----------
    vectors, distances, indices : arrays, shape (n, 3), (n,) and (n,)
        Of its neighbours.
    basis : tuple
        Bounds, starts and coefficients of g (n_species, n_intervals, 4, n_degrees, n_max) as in `SoapBasis`, the
        central atom's channel and its coefficients, then rows, columns, degrees and factors of the components.
    form : tuple
        For ζ = 2 the symmetric matrix (n, n) of the quadratic form; otherwise sparse points (n_sparse, n) and weights.
    """
    bounds, starts, coefficients, own, central, rows, columns, degrees, factors = basis
    n_degrees, n_max = coefficients.shape[3:]
    radial = np.zeros((len(distances), n_degrees, n_max))
    steep = np.zeros((len(distances), n_degrees, n_max))
    harmonics = np.zeros((len(distances), n_degrees * n_degrees))
    angular = np.zeros((len(distances), n_degrees * n_degrees, 3))
    for k in range(len(distances)):
        r = distances[k]
        if r < bounds[-1]:
            radial_functions(bounds, starts, coefficients[species[indices[k]]], r, radial[k], steep[k])
            spherical_harmonics(vectors[k, 0] / r, vectors[k, 1] / r, vectors[k, 2] / r, harmonics[k], angular[k])

    moments = np.zeros((n_degrees * n_degrees, len(coefficients) * n_max))
    moments[0, own * n_max : (own + 1) * n_max] = central
    for k in range(len(distances)):
        start = species[indices[k]] * n_max
        add_neighbour(harmonics[k], radial[k], moments[:, start : start + n_max])

    back = np.zeros_like(moments)
    energies[i] += energy_of_moments(moments, rows, columns, degrees, factors, form, zeta, back)

    for k in range(len(distances)):
        r, j = distances[k], indices[k]
        if r < bounds[-1]:
            start = species[j] * n_max
            slope = slope_by_neighbour(
                back[:, start : start + n_max], radial[k], steep[k], harmonics[k], angular[k], vectors[k], r
            )
            for x in range(3):
                forces[i, x] += slope[x]
                forces[j, x] -= slope[x]
                for y in range(3):
                    virial[x, y] += slope[x] * vectors[k, y]


@njit(**COMPILED)
def add_neighbour(harmonics, radial, moments):  # type: ignore[no-untyped-def]
    """Add what a neighbour is to its channel's moments (n_degrees², n_max)."""
    for degree in range(len(radial)):
        for moment in range(degree * degree, (degree + 1) * (degree + 1)):
            for n in range(radial.shape[1]):
                moments[moment, n] += harmonics[moment] * radial[degree, n]


@njit(**COMPILED)
def slope_by_neighbour(back, radial, steep, harmonics, angular, vector, r):  # type: ignore[no-untyped-def]
    """∂E/∂r⃗ of a neighbour from the derivatives by its channel's moments, in eV/Å."""
    outward = 0.0
    slope = np.zeros(3)
    for degree in range(len(radial)):
        for moment in range(degree * degree, (degree + 1) * (degree + 1)):
            of_radius = 0.0
            of_angle = 0.0
            for n in range(radial.shape[1]):
                of_radius += back[moment, n] * steep[degree, n]
                of_angle += back[moment, n] * radial[degree, n]
            outward += of_radius * harmonics[moment]
            for x in range(3):
                slope[x] += of_angle * angular[moment, x]
    return (outward * vector + slope) / r


@njit(**COMPILED)
def radial_functions(bounds, starts, coefficients, r, values, slopes):  # type: ignore[no-untyped-def]
    """g (n_degrees, n_max) of one species at `r` and its derivative, held below the first bound."""
    if r <= bounds[0]:
        values[:] = coefficients[0, 3]
        slopes[:] = 0.0
        return
    part = 0
    while part < len(bounds) - 2 and r >= bounds[part + 1]:
        part += 1
    n_intervals = starts[part + 1] - starts[part]
    width = (bounds[part + 1] - bounds[part]) / n_intervals
    interval = min(int((r - bounds[part]) / width), n_intervals - 1)
    t = r - bounds[part] - interval * width
    cubics = coefficients[starts[part] + interval]
    for degree in range(values.shape[0]):
        for n in range(values.shape[1]):
            a, b, c, d = cubics[0, degree, n], cubics[1, degree, n], cubics[2, degree, n], cubics[3, degree, n]
            values[degree, n] = ((a * t + b) * t + c) * t + d
            slopes[degree, n] = (3.0 * a * t + 2.0 * b) * t + c


@njit(**COMPILED)
def energy_of_moments(moments, rows, columns, degrees, factors, form, zeta, back):  # type: ignore[no-untyped-def]
    """Energy of the density's moments (n_degrees², n_channels) and, into `back`, its derivatives by them."""
    n_components = len(rows)
    spectrum = np.zeros(n_components)
    for k in range(n_components):
        for moment in range(degrees[k] * degrees[k], (degrees[k] + 1) * (degrees[k] + 1)):
            spectrum[k] += moments[moment, rows[k]] * moments[moment, columns[k]]
        spectrum[k] *= factors[k]
    norm = math.sqrt((spectrum * spectrum).sum())
    spectrum /= norm
    slope = np.zeros(n_components)
    energy = kernel_energy(spectrum, form[0], form[1], zeta, slope)
    along = (slope * spectrum).sum()  # normalising takes away what points along the spectrum
    for k in range(n_components):
        weight = factors[k] * (slope[k] - along * spectrum[k]) / norm
        for moment in range(degrees[k] * degrees[k], (degrees[k] + 1) * (degrees[k] + 1)):
            back[moment, rows[k]] += weight * moments[moment, columns[k]]
            back[moment, columns[k]] += weight * moments[moment, rows[k]]
    return energy


@njit(**COMPILED)
def kernel_energy(spectrum, matrix, weights, zeta, slope):  # type: ignore[no-untyped-def]
    """Energy of a descriptor (n,) and, into `slope`, its derivatives."""
    energy = 0.0
    if zeta == 2:
        for k in range(len(spectrum)):
            twice = 2.0 * spectrum[k]
            for m in range(len(spectrum)):
                slope[m] += twice * matrix[k, m]
        for k in range(len(spectrum)):
            energy += 0.5 * slope[k] * spectrum[k]
        return energy
    for k in range(len(weights)):
        likeness = 0.0
        for m in range(len(spectrum)):
            likeness += matrix[k, m] * spectrum[m]
        power = likeness ** (zeta - 1)
        energy += weights[k] * power * likeness
        for m in range(len(spectrum)):
            slope[m] += zeta * weights[k] * power * matrix[k, m]
    return energy
