"""Labelled frames as a fit needs them."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from relax.fitting.settings import FitError, FitSettings
from relax.labelling.frames import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY

CRYSTAL_TYPES = ("bulk", "metal")
"""config_types whose virial says something about strain; a slab's vacuum makes it worthless"""


def check_data(data: Sequence[Atoms], settings: FitSettings) -> None:
    """Make sure that labelled frames have what a fit with these settings needs.

    Raises
    ------
    FitError
        If an element has no isolated atom or no number of sparse points.
    """
    present = {symbol for atoms in data for symbol in atoms.get_chemical_symbols()}
    if missing := present - set(settings.n_sparse):
        raise FitError(f"`n_sparse` has no number for {sorted(missing)}, which the data contain")
    if missing := present - set(atomic_energies(data)):
        raise FitError(f"the data have no `isolated_atom` of {sorted(missing)}, which sets its reference energy")


def atomic_energies(data: Sequence[Atoms]) -> dict[str, float]:
    """Energies in eV of the isolated atoms among labelled frames, by symbol."""
    return {
        atoms.get_chemical_symbols()[0]: float(atoms.info[ENERGY_KEY])
        for atoms in data
        if atoms.info.get("config_type") == "isolated_atom"
    }


def training_frame(atoms: Atoms, settings: FitSettings) -> Atoms:
    """A labelled frame as `gap_fit` reads it: each atom's force with its expected error, a virial of crystals only."""
    frame = atoms.copy()
    config_type = str(atoms.info.get("config_type", "default"))
    _, force_error, _ = settings.errors.get(config_type, settings.errors["default"])
    frame.info = {"config_type": config_type, ENERGY_KEY: atoms.info[ENERGY_KEY]}
    if config_type in CRYSTAL_TYPES and VIRIAL_KEY in atoms.info:
        frame.info[VIRIAL_KEY] = np.ravel(atoms.info[VIRIAL_KEY])
    size = np.linalg.norm(atoms.arrays[FORCES_KEY], axis=1)  # (n_atoms,)
    frame.arrays["force_atom_fit_error"] = force_error + settings.force_error_share * size
    return frame
