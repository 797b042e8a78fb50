"""Symmetric slabs whose surface energies decide about a potential.

Workers that measure a potential import this module: nothing heavy stands here.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from relax.oxide import Oxide
from relax.potential import build_from_import_path
from relax.surface_figures import Labeller, SlabsForLattice, SurfaceFigures, read_surface_figures, surface_figures
from searcher.errors import InputError
from searcher.structures.crystal import Crystal, orient
from searcher.structures.distorted_slabs import FACETS, boxed
from searcher.structures.terminations import enumerate_terminations, repeat_distance, termination_atoms

ROUNDING = 1e-6
"""Å; a slab that is just thick enough must be so for every lattice"""


def known_faces(crystal: Crystal, like: Crystal | None = None) -> dict[str, dict[str, Atoms]]:
    """Symmetric slabs whose γ decides about a potential: all of (110), the stoichiometric ones of the other facets.

    With as many layers as those of the crystal `like`, if there is one.
    """
    faces = {facet: symmetric_slabs(crystal, facet, like=like) for facet in FACETS}
    return {
        facet: {name: slab for name, slab in slabs.items() if facet == "110" or name.startswith("stoichiometric")}
        for facet, slabs in faces.items()
    }


def symmetric_slabs(
    crystal: Crystal, facet: str = "110", thickness: float = 12.5, like: Crystal | None = None
) -> dict[str, Atoms]:
    """Slabs with two equal faces, inverted through a metal atom, by the name of their termination.

    Parameters
    ----------
    thickness : float
        Å from the lowest to the highest metal plane, at least.
    like : Crystal, optional
        The crystal that must be so thick; this one's slabs get as many layers, though its lattice is another.
    """
    oriented = orient(crystal, facet)
    repeat = repeat_distance(oriented)
    least = np.ceil(thickness / repeat_distance(orient(like or crystal, facet))) * repeat
    slabs = {}
    for termination in enumerate_terminations(oriented):
        height = termination.height
        while 2 * height < least - ROUNDING:
            height += repeat
        numbers, positions = termination_atoms(oriented, termination, -height, height)
        slabs[termination.name] = boxed(oriented, numbers, positions, room=0.0)
    return slabs


def known_faces_of_lattice(metal: str, a: float, c: float, u: float) -> dict[str, dict[str, Atoms]]:
    """`known_faces` for `relax.surface_figures`."""
    return known_faces(Crystal(metal, a, c, u))


def labeller_faces(labeller: Labeller, oxide: Oxide, slabs_for: SlabsForLattice) -> SurfaceFigures:
    """What a labeller says of an oxide and of slabs cut from it. Builds the labeller in this process."""
    calculator = build_from_import_path(labeller.import_path, labeller.arguments)
    bulk = Crystal(oxide.metal, oxide.a, oxide.c, oxide.u).bulk()
    figures = surface_figures(calculator, labeller.import_path, bulk, slabs_for, metal_structure=oxide.metal_structure)
    return replace(figures, labeller=labeller, oxide=oxide)


def kept_figures(path: Path, labeller: Labeller) -> SurfaceFigures | None:
    """What `path` holds of a labeller; None if there is no such file, or if it does not say whose figures it holds.

    Raises
    ------
    InputError
        If they are another labeller's.
    """
    if not path.exists():
        return None
    kept = read_surface_figures(path)
    if kept.labeller is None:
        return None
    if kept.labeller != labeller:
        raise InputError(
            f"`{path}` holds the figures of `{kept.labeller}`, but `{labeller}` is asked for: energies of two "
            "labellers do not go together; use another folder, or the same calculator and arguments"
        )
    return kept


def faces_of_lattice(
    metal: str, facet: str, a: float, c: float, u: float, like: Crystal | None = None
) -> dict[str, dict[str, Atoms]]:
    """Symmetric slabs of a facet's terminations, for `relax.surface_figures`."""
    return {facet: symmetric_slabs(Crystal(metal, a, c, u), facet, like=like)}
