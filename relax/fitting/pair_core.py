"""A repulsive pair baseline under a fitted potential, so that close atoms meet a wall and no hole.

Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids (1985): the screened nuclear repulsion.
"""

from collections.abc import Mapping
from itertools import combinations_with_replacement

import numpy as np
from ase.data import atomic_numbers

COULOMB = 14.399645  # eV Å
BOHR = 0.529177  # Å
SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
N_POINTS = 400
SHORTEST = 0.05  # Å


def core_repulsion(one: int, two: int, distances: np.ndarray, cutoff: float) -> np.ndarray:
    """Screened nuclear repulsion of two atoms, switched off smoothly at `cutoff`.

    Parameters
    ----------
    one, two : int
        Atomic numbers.
    distances : numpy.ndarray, shape (n,)
        In Å.
    cutoff : float
        In Å; energy, slope and curvature are zero from there on.

    Returns
    -------
    numpy.ndarray, shape (n,)
        In eV.
    """
    scaled = distances * (one**0.23 + two**0.23) / (0.8854 * BOHR)
    screening = sum(weight * np.exp(-rate * scaled) for weight, rate in SCREENING)
    switch = np.clip(1 - distances / cutoff, 0, None) ** 3 / (1 - SHORTEST / cutoff) ** 3
    return COULOMB * one * two / distances * screening * switch


def glue_xml(cutoffs: Mapping[str, float]) -> str:
    """The baseline as the tabulated pair potential that `gap_fit` and quippy read.

    Parameters
    ----------
    cutoffs : mapping of str to float
        Å per pair of symbols in alphabetical order, for example ``"O-Ru"``; every pair must be there.
    """
    numbers = sorted({atomic_numbers[symbol] for pair in cutoffs for symbol in pair.split("-")})
    by_numbers = {tuple(sorted(atomic_numbers[s] for s in pair.split("-"))): r for pair, r in cutoffs.items()}
    parts = ["<core>", '<Potential label="core" init_args="IP Glue"/>', f'<Glue_params n_types="{len(numbers)}">']
    for kind, number in enumerate(numbers, start=1):
        density = "".join(f'<point a="{a:.2f}" rho="0.0"/>' for a in np.linspace(0.5, 3.0, 6))
        embedding = "".join(f'<point rho="{rho:.2f}" E="0.0"/>' for rho in np.linspace(0.0, 1.0, 6))
        parts += [
            f'<per_type_data atomic_num="{number}" type="{kind}">',
            f'<density num_points="6" density_y1="0.0" density_yn="0.0">{density}</density>',
            f'<potential_density num_points="6">{embedding}</potential_density>',
            "</per_type_data>",
        ]
    for first, second in combinations_with_replacement(range(len(numbers)), 2):
        parts.append(_pair_table(first + 1, second + 1, numbers[first], numbers[second], by_numbers))
    return "\n".join([*parts, "</Glue_params>", "</core>", ""])


def _pair_table(first: int, second: int, one: int, two: int, cutoffs: Mapping[tuple[int, ...], float]) -> str:
    cutoff = cutoffs[(one, two)]
    distances = np.linspace(SHORTEST, cutoff, N_POINTS)
    energies = core_repulsion(one, two, distances, cutoff)
    slope = (core_repulsion(one, two, np.array([SHORTEST + 1e-6]), cutoff)[0] - energies[0]) / 1e-6
    points = "\n".join(f'<point r="{r:.8f}" E="{e:.10g}"/>' for r, e in zip(distances, energies, strict=True))
    return (
        f'<per_pair_data type1="{first}" type2="{second}" r_cut="{cutoff:.6f}">\n'
        f'<potential_pair num_points="{N_POINTS}" y1="{slope:.8g}" yn="0.0">\n{points}\n'
        "</potential_pair>\n</per_pair_data>"
    )
