"""Which of ASE's optimisers relaxes a structure, by its size or by name."""

import os
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.filters import Filter
from ase.optimize import BFGS, FIRE, LBFGS, BFGSLineSearch

from relax.model_hessian import stretch_hessian
from relax.relaxation_settings import OptimiserName

LARGEST_DENSE: Final = 200
"""Free atoms; up to here the eigenvectors of the Hessian take far less time than a force call."""
PRECONDITIONER_STRENGTH: Final = 3.0
"""Decay of the exponential preconditioner, its authors' value (Packwood et al., J. Chem. Phys. 144, 164109 (2016))."""


def make_optimiser(name: OptimiserName, atoms: Atoms, free: np.ndarray, maxstep: float) -> Any:
    """An ASE optimiser with a `step` method.

    Parameters
    ----------
    name : str
        ``by_size``: `bfgs` up to `LARGEST_DENSE` free atoms, `preconditioned_lbfgs` beyond. ``bfgs`` starts from a
        Hessian of bond stretches (`relax.model_hessian`).
    atoms : ase.Atoms
        With their calculator and the frozen atoms held by `FixAtoms`.
    free : array, shape (n_free,)
        Indices of all other atoms.
    maxstep : float
        Longest step of an atom in Å.
    """
    if name == "by_size":
        name = "bfgs" if len(free) <= LARGEST_DENSE else "preconditioned_lbfgs"
    quiet: dict[str, Any] = {"logfile": os.devnull, "maxstep": maxstep}
    moving: Any = Filter(atoms, indices=free)  # so that frozen atoms take no part in the algebra
    if name == "bfgs":
        optimiser = BFGS(moving, **quiet)
        optimiser.H0 = stretch_hessian(atoms, free)
        return optimiser
    if name == "preconditioned_lbfgs":
        from ase.optimize.precon import Exp, PreconLBFGS  # loads matplotlib

        return PreconLBFGS(atoms, precon=Exp(A=PRECONDITIONER_STRENGTH), **quiet)
    return {"bfgs_line_search": BFGSLineSearch, "lbfgs": LBFGS, "fire": FIRE}[name](moving, **quiet)
