"""Which labelled frames a potential is fitted to, and which judge it."""

import hashlib
from collections.abc import Sequence

from ase import Atoms

ALWAYS_FITTED = ("isolated_atom", "dimer", "molecule")
HELD_OUT_ONE_IN = {"thermal": 4, "default": 10}
"""About one family in so many judges a fit, per `config_type`; more of those that stand for every facet"""


def hold_out(data: Sequence[Atoms]) -> tuple[list[Atoms], list[Atoms]]:
    """Split frames into those to fit and those to judge the fit by, whole families at a time.

    A frame of a path is all but a copy of its neighbours; split apart they would make any fit look good. Atoms and
    dimers are always fitted.

    Parameters
    ----------
    data : sequence of ase.Atoms
        Whether a family is held out follows from a hash of its name, so that more data move no family.

    Returns
    -------
    training, validation : list of ase.Atoms
    """
    training: list[Atoms] = []
    validation: list[Atoms] = []
    for atoms in data:
        kind = str(atoms.info["config_type"])
        one_in = HELD_OUT_ONE_IN.get(kind, HELD_OUT_ONE_IN["default"])
        chosen = int(hashlib.sha256(str(atoms.info["family"]).encode()).hexdigest(), 16) % one_in == 0
        held = chosen and kind not in ALWAYS_FITTED
        (validation if held else training).append(atoms)
    return training, validation
