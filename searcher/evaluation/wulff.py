"""Shape of a crystal from the lowest surface energies of its facets: the only module that knows wulffpack."""

from collections.abc import Mapping
from typing import Any

from searcher.errors import InputError
from searcher.scoring.thermodynamics import Line
from searcher.structures.crystal import Crystal, parse_facet

MEV = 1000.0


def wulff_shape(facets: Mapping[str, Mapping[str, Line]], delta_mu_o: float, crystal: Crystal) -> dict[str, Any]:
    """Equilibrium shape at one Δμ_O (Wulff's construction by WulffPack, Rahm and Erhart, JOSS 5, 1944 (2020)).

    Parameters
    ----------
    facets : mapping of facet to mapping of id to Line
        γ in eV/Å².
    delta_mu_o : float
        In eV.
    crystal : Crystal

    Returns
    -------
    dict
        ``delta_mu_o`` in eV; ``facets``: one entry each with ``facet``, ``id`` (the lowest termination), ``gamma`` in
        meV/Å² and ``share`` of the surface, equivalent facets together; ``mean_gamma`` in meV/Å² over the shape.

    Raises
    ------
    InputError
        If a surface energy is not positive, or the facets do not enclose a crystal.
    """
    lowest = {
        facet: min(((line.at(delta_mu_o), name) for name, line in lines.items())) for facet, lines in facets.items()
    }
    negative = [f"({facet}) {MEV * gamma:.1f}" for facet, (gamma, _) in lowest.items() if gamma <= 0]
    if negative:
        raise InputError(
            f"γ at Δμ_O = {delta_mu_o} eV is {', '.join(negative)} meV/Å²: no crystal is stable with such a surface"
        )
    from scipy.spatial import QhullError
    from wulffpack import SingleCrystal

    try:
        shape = SingleCrystal(
            {parse_facet(facet): MEV * gamma for facet, (gamma, _) in lowest.items()},
            primitive_structure=crystal.bulk(),
            natoms=1000,
        )
        shares = {tuple(key): float(value) for key, value in shape.facet_fractions.items()}
        mean = float(shape.average_surface_energy)
    except QhullError:
        raise InputError(
            f"the facets {', '.join(facets)} do not enclose a crystal; add others, for example 101 or 001"
        ) from None
    return {
        "delta_mu_o": delta_mu_o,
        "facets": [
            {"facet": facet, "id": name, "gamma": MEV * gamma, "share": shares.get(parse_facet(facet), 0.0)}
            for facet, (gamma, name) in lowest.items()
        ],
        "mean_gamma": mean,
    }
