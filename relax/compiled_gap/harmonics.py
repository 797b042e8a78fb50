"""Real spherical harmonics in machine code."""

import math

from numba import njit

from relax.compiled_gap.compiling import COMPILED


@njit(**COMPILED)
def spherical_harmonics(x, y, z, values, slopes):  # type: ignore[no-untyped-def]
    """Real spherical harmonics of a unit vector with Σ_m Y_lm² = 1, and r ∂/∂r⃗ of them.

    Parameters
    ----------
    values : array, shape ((l_max + 1)²,)
        Y_lm at l² + l + m.
    slopes : array, shape ((l_max + 1)², 3)
        Gradients at unit distance, tangential.

    Notes
    -----
    Y_lm = N_lm Π_lm(z) A_m(x, y), where A_m + i B_m = (x + iy)^m and Π_lm is the m-th derivative of the Legendre
    polynomial P_l (T. Helgaker, P. Jørgensen, J. Olsen, Molecular Electronic-Structure Theory, Wiley 2000, 6.4).
    """
    n_degrees = int(math.sqrt(len(values) + 0.5))
    cosine, sine = 1.0, 0.0  # A_m, B_m
    lower_cosine, lower_sine = 0.0, 0.0  # A_{m-1}, B_{m-1}
    diagonal = 1.0  # Π_mm = (2m − 1)!!
    for m in range(n_degrees):
        if m > 0:
            lower_cosine, lower_sine = cosine, sine
            cosine, sine = x * lower_cosine - y * lower_sine, x * lower_sine + y * lower_cosine
            diagonal *= 2 * m - 1
        above, current = 0.0, diagonal  # Π_{l-1,m}, Π_lm
        slope_above, slope_current = 0.0, 0.0  # their derivatives by z
        ratio = 2.0 if m > 0 else 1.0  # 2 (l − m)!/(l + m)!
        for k in range(1, 2 * m + 1):
            ratio /= k
        for degree in range(m, n_degrees):
            if degree > m:
                ratio *= (degree - m) / (degree + m)
                a, b = (2 * degree - 1) / (degree - m), (degree + m - 1) / (degree - m)
                next_one = a * z * current - b * above
                next_slope = a * (current + z * slope_current) - b * slope_above
                above, current, slope_above, slope_current = current, next_one, slope_current, next_slope
            norm = math.sqrt(ratio)
            place = degree * degree + degree
            polar = norm * current, norm * slope_current
            _harmonic(place + m, polar, (cosine, m * lower_cosine, -m * lower_sine), (x, y, z), values, slopes)
            if m > 0:
                _harmonic(place - m, polar, (sine, m * lower_sine, m * lower_cosine), (x, y, z), values, slopes)


@njit(**COMPILED)
def _harmonic(place, polar, azimuth, direction, values, slopes):  # type: ignore[no-untyped-def]
    """One product: its part in z with the derivative, its part in x and y with both."""
    x, y, z = direction
    values[place] = polar[0] * azimuth[0]
    gx, gy, gz = polar[0] * azimuth[1], polar[0] * azimuth[2], polar[1] * azimuth[0]
    along = gx * x + gy * y + gz * z  # the polynomial grows outwards, the harmonic does not
    slopes[place, 0], slopes[place, 1], slopes[place, 2] = gx - along * x, gy - along * y, gz - along * z
