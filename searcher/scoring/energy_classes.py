"""Energy classes: what a generator is conditioned on.

By default a class says how far γ lies above the envelope of the relaxed seeds at the conditioning Δμ_O, so that it
means stability. Classes of the energy per atom or of the total energy mean composition; they stay for parity with
earlier work.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

Mode = Literal["gamma", "energy_per_atom", "total_energy"]
GAMMA_EDGES = (0.005, 0.010, 0.020, 0.030, 0.045, 0.060, 0.080, 0.110, 0.150)
"""eV/Å² above the envelope of the relaxed seeds."""
UNITS = {"gamma": "eV/Å²", "energy_per_atom": "eV", "total_energy": "eV"}
LARGEST_GAMMA_EDGE = 5.0  # eV/Å²; above it the edges were surely meant in meV/Å²


@dataclass(frozen=True)
class EnergyClasses:
    """Edges between classes, fixed when a campaign starts and recorded with it.

    Attributes
    ----------
    edges : tuple of float
        Rising; class 0 lies below the first, class ``len(edges)`` from the last upwards. In eV/Å² above the seeds'
        envelope at the conditioning Δμ_O for mode ``gamma``, else in eV.
    mode : {"gamma", "energy_per_atom", "total_energy"}
    """

    edges: tuple[float, ...] = GAMMA_EDGES
    mode: Mode = "gamma"

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(float(edge) for edge in self.edges))
        if self.mode not in UNITS:
            raise ValueError(f"`mode` is {self.mode!r}; allowed are {', '.join(UNITS)}")
        if not self.edges or not all(math.isfinite(edge) for edge in self.edges):
            raise ValueError(f"`edges` is {self.edges}: one finite edge or more is needed")
        if not all(low < high for low, high in pairwise(self.edges)):
            raise ValueError(
                f"`edges` {self.edges} {UNITS[self.mode]} must rise strictly; are there too few different energies?"
            )
        if self.mode == "gamma" and self.edges[-1] > LARGEST_GAMMA_EDGE:
            raise ValueError(f"`edges` end at {self.edges[-1]} eV/Å²; were they given in meV/Å²?")

    @property
    def n_classes(self) -> int:
        return len(self.edges) + 1

    def classify(self, value: float) -> int:
        """Class of one structure.

        Parameters
        ----------
        value : float
            For mode ``gamma`` the height in eV/Å² above the seeds' envelope (negative below it), else an energy in eV.

        Raises
        ------
        ValueError
            If the value is not finite: such a structure has no energy to classify.
        """
        if not math.isfinite(value):
            raise ValueError(f"`value` is {value} {UNITS[self.mode]} but must be finite")
        return int(np.searchsorted(self.edges, value, side="right"))

    def value(self, *, gamma_above_envelope: float, energy: float, n_atoms: int) -> float:
        """The quantity that this mode classifies, from eV/Å², eV and a number of atoms."""
        if self.mode == "gamma":
            return gamma_above_envelope
        return energy / n_atoms if self.mode == "energy_per_atom" else energy

    @classmethod
    def equal_width(cls, values: Sequence[float], n_classes: int = 10, mode: Mode = "gamma") -> "EnergyClasses":
        """Classes of equal width between the lowest and the highest of some values."""
        known = _finite(values, n_classes)
        return cls(edges=tuple(np.linspace(known.min(), known.max(), n_classes + 1)[1:-1]), mode=mode)

    @classmethod
    def quantile(cls, values: Sequence[float], n_classes: int = 10, mode: Mode = "gamma") -> "EnergyClasses":
        """Classes that hold equally many of some values."""
        known = _finite(values, n_classes)
        return cls(edges=tuple(np.quantile(known, np.linspace(0.0, 1.0, n_classes + 1)[1:-1])), mode=mode)

    def as_record(self) -> dict[str, Any]:
        """Plain form to store with a campaign; `from_record` reads it."""
        return {"mode": self.mode, "unit": UNITS[self.mode], "edges": list(self.edges)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "EnergyClasses":
        """Classes as `as_record` wrote them."""
        return cls(edges=tuple(record["edges"]), mode=record["mode"])


def _finite(values: Sequence[float], n_classes: int) -> np.ndarray:
    known = np.asarray(values, dtype=float)
    if n_classes < 2:
        raise ValueError(f"`n_classes` is {n_classes} but must be 2 or more")
    if not known.size or not np.isfinite(known).all():
        raise ValueError("`values` must hold one finite energy or more to make classes from")
    return known
