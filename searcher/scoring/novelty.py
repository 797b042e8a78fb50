"""How new a structure is: the worst atom's SOAP distance κ to what is known.

The kernel between two atoms of one species is k = (p·p')²; an atom's distance to a structure is d = √(2(1 − k)) with
its best match there, and κ is the largest d over the query's atoms (distance as in Timmermann et al., J. Chem. Phys.
155, 244107 (2021)). κ is directional: everything in the query occurs in the known structure, not the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.known_set import KnownSet, kappa_of, worst_product

EXCESS_TOLERANCE = 1e-3  # O/Å²: a third of one atom in 300 Å²; lattices of two sources differ by less than that


@dataclass(frozen=True)
class Fingerprint:
    """What decides whether two structures are the same termination.

    Attributes
    ----------
    free : LocalVectors
        Of the atoms above the frozen layers.
    whole : LocalVectors
        Of all atoms.
    excess_o_per_area : float
        (N_O − 2 N_metal) per Å².
    """

    free: LocalVectors
    whole: LocalVectors
    excess_o_per_area: float


def pair_kappa(query: LocalVectors, known: LocalVectors) -> float:
    """κ of the query's free atoms against all atoms of one known structure; not symmetric."""
    return kappa_of(worst_product(query.vectors, known.vectors))


def same_termination(a: Fingerprint, b: Fingerprint, kappa_min: float = 0.075) -> bool:
    """Whether two structures are one termination: equal excess O per area, and nothing new in either direction."""
    if abs(a.excess_o_per_area - b.excess_o_per_area) > EXCESS_TOLERANCE:
        return False
    return max(pair_kappa(a.free, b.whole), pair_kappa(b.free, a.whole)) <= kappa_min


def same_termination_matrix(fingerprints: Sequence[Fingerprint], kappa_min: float = 0.075) -> np.ndarray:
    """`same_termination` of every pair, shape (n, n), boolean."""
    pool = KnownSet()
    for number, fingerprint in enumerate(fingerprints):
        pool.add(str(number), fingerprint.whole, fingerprint.excess_o_per_area)
    forward = pool.alike([fingerprint.free for fingerprint in fingerprints], kappa_min)  # (n, n)
    excess = pool.excess_o_per_area
    equal_excess = np.abs(excess[:, None] - excess[None, :]) <= EXCESS_TOLERANCE
    return forward & forward.T & equal_excess


def greedy_unique(
    vectors: Sequence[LocalVectors], kappa_min: float = 0.075, excess_o_per_area: Sequence[float] | None = None
) -> list[int]:
    """Which structures of a batch to keep so that no two are the same, the earlier of two going first.

    Parameters
    ----------
    vectors : sequence of LocalVectors
        Of the free atoms of each structure; one without free atoms is never kept.
    kappa_min : float
        Two are the same if κ is not above this in either direction.
    excess_o_per_area : sequence of float, optional
        If given, structures that differ in it are never the same.

    Returns
    -------
    list of int
        Indices of those kept, rising.
    """
    excess = [0.0] * len(vectors) if excess_o_per_area is None else excess_o_per_area
    described = [number for number, local in enumerate(vectors) if local.n_centers]
    fingerprints = [Fingerprint(vectors[n], vectors[n], float(excess[n])) for n in described]
    same = same_termination_matrix(fingerprints, kappa_min)
    kept: list[int] = []
    for row in range(len(described)):
        if not same[row, kept].any():
            kept.append(row)
    return [described[row] for row in kept]
