"""RuO2(110) slabs cut from the experimental crystal by hand, independent of the program's own builder."""

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms

A, C, U = 4.4968, 3.1049, 0.3053  # Å; Bolzan et al. 1997
SPACING = A / np.sqrt(2.0)  # between trilayers
APICAL = U * 2.0 * SPACING  # height of an O_cus above its Ru
BRIDGE = SPACING - APICAL  # height of an O_br above its Ru rows

SlabBuilder = Callable[..., Atoms]


def rutile_110(top: str = "br", n_trilayers: int = 4, o_cus_height: float = APICAL, bottom: str = "br") -> Atoms:
    """A (1×1) slab whose faces are bare metal ("ru"), O_br ("br") or O_br and O_cus ("cus"); atoms by rising z."""
    faces = {"ru": [], "br": ["br"], "cus": ["br", "cus"]}
    atoms: list[tuple[str, float, float, float]] = []
    for layer in range(n_trilayers):
        z = layer * SPACING
        y_cus = (layer % 2) * SPACING
        y_br = y_cus + SPACING
        atoms += [("Ru", 0.0, y_cus, z), ("Ru", C / 2, y_br, z)]
        atoms += [("O", C / 2, y_cus + BRIDGE, z), ("O", C / 2, y_cus - BRIDGE, z)]
        for sign, kinds in (
            (+1, faces[top] if layer == n_trilayers - 1 else ["br", "cus"]),
            (-1, faces[bottom] if layer == 0 else []),
        ):
            on_top = sign > 0 and layer == n_trilayers - 1
            for kind in kinds:
                if kind == "br":
                    atoms.append(("O", 0.0, y_br, z + sign * BRIDGE))
                else:
                    atoms.append(("O", 0.0, y_cus, z + sign * (o_cus_height if on_top else APICAL)))
    symbols = [atom[0] for atom in atoms]
    positions = np.array([atom[1:] for atom in atoms])
    positions[:, 2] += 2.0 - positions[:, 2].min()
    height = np.ptp(positions[:, 2]) + 19.0
    slab = Atoms(symbols, positions, cell=[C, 2 * SPACING, height], pbc=(True, True, False))
    slab.wrap()
    return slab[np.argsort(slab.positions[:, 2], kind="stable")]


@pytest.fixture
def build_slab() -> SlabBuilder:
    return rutile_110
