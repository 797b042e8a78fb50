"""What is measured of a potential, what is asked of it, and whether another one is worse."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from relax.calibration import Calibration
from relax.dynamics_check import DynamicsFigures
from relax.surface_figures import SurfaceFigures

SURFACE_TYPES = ("slab", "thermal", "insertion", "searched")
THERMAL = "thermal"
STOICHIOMETRIC = "stoichiometric"
CROSSOVERS = (("O-poor", STOICHIOMETRIC), (STOICHIOMETRIC, "O-rich"))
FACET_IN_FAMILY = re.compile(r"-(\d{3})-")


@dataclass(frozen=True)
class PotentialFigures:
    """What `check` measured.

    Attributes
    ----------
    potential_hash : str
    energy_rmse, force_rmse : mapping of str to float
        eV/atom and eV/Å per component on held-out frames, per `config_type`, per facet of thermal slabs
        (``"thermal 110"``) and for all slabs with insertions (``"surfaces"``).
    parity : Parity
        The same frames one by one.
    frames : mapping of str to int
        Held-out frames behind each error.
    surfaces : SurfaceFigures
        Of the potential.
    reference : SurfaceFigures
        Of the labeller.
    repulsive : mapping of str to bool
        Per pair: force pushes apart at every distance from 0.8 Å to near the bond.
    milliseconds_per_atom : float
        Processor time of a force call.
    megabytes : float
        XML and sparseX files.
    survived, converged : int
        Of `proposals` clumsy proposals: without a fault, and converged.
    proposals : int
    calibration : Calibration or None
        Of the predicted deviation on surfaces; None for a potential that does not know it.
    hot : DynamicsFigures or None
        A slab's dynamics at 1000 K; None if it was not asked for.
    """

    potential_hash: str
    energy_rmse: Mapping[str, float]
    force_rmse: Mapping[str, float]
    frames: Mapping[str, int]
    parity: "Parity"
    surfaces: SurfaceFigures
    reference: SurfaceFigures
    repulsive: Mapping[str, bool]
    milliseconds_per_atom: float
    megabytes: float
    survived: int
    converged: int
    proposals: int
    calibration: Calibration | None = None
    hot: DynamicsFigures | None = None

    def shortcomings(self) -> list[str]:
        """One line per figure that misses what is asked of a potential to search with."""
        limits = [
            *self._error_limits(),
            *self._surface_limits(),
            ("ms per atom and force call", self.milliseconds_per_atom, 3.0),
            ("size, MB", self.megabytes, 15.0),
            ("proposals that failed", float(self.proposals - self.survived), 0.0),
            *([] if self.hot is None else [("hot slabs that broke", float(self.hot.reason is not None), 0.0)]),
            ("pairs with a hole", float(sum(not ok for ok in self.repulsive.values())), 0.0),
        ]
        return [
            f"{name}: {value:.3g}, asked for at most {limit:g}" for name, value, limit in limits if not value <= limit
        ]

    def _error_limits(self) -> list[tuple[str, float, float]]:
        groups = [name for name in self.frames if name.startswith(THERMAL)]
        if not groups:
            return [("held-out slabs at 300–800 K are missing", 1.0, 0.0)]
        return [
            limit
            for name in groups
            for limit in (
                (f"energy error, {name}, meV/atom", 1e3 * self.energy_rmse[name], 8.0),
                (f"force error, {name}, eV/Å", self.force_rmse[name], 0.25),
            )
        ]

    def _surface_limits(self) -> list[tuple[str, float, float]]:
        return [
            ("lattice lengths against the labeller, %", 100 * self.lattice_deviation, 0.5),
            *(
                (f"γ({name}) against the labeller, meV/Å²", 1e3 * value, 5.0)
                for name, value in self.gamma_deviations().items()
                if STOICHIOMETRIC in name
            ),
            *(
                (f"crossover {name} against the labeller, eV", value, 0.1)
                for name, value in self.crossover_deviations().items()
                if name.startswith("110")
            ),
        ]

    @property
    def lattice_deviation(self) -> float:
        """Larger relative deviation of a and c from the labeller's."""
        own, reference = self.surfaces.references, self.reference.references
        return max(abs(own.a / reference.a - 1), abs(own.c / reference.c - 1))

    def gamma_deviations(self) -> dict[str, float]:
        """|γ − labeller's| in eV/Å² by facet and termination, for example ``"110 O-rich"``."""
        return {
            f"{facet} {name}": abs(figures.gamma[name] - self.reference.facets[facet].gamma[name])
            for facet, figures in self.surfaces.facets.items()
            for name in figures.gamma
            if name in self.reference.facets.get(facet, figures).gamma and facet in self.reference.facets
        }

    def crossover_deviations(self) -> dict[str, float]:
        """|Δμ_O − labeller's| in eV at which a facet's stoichiometric face gives way to the next poorer and richer."""
        found = {}
        for facet, figures in self.surfaces.facets.items():
            for poorer, richer in CROSSOVERS:
                if {poorer, richer} <= set(figures.gamma) and facet in self.reference.facets:
                    shift = figures.crossover(poorer, richer) - self.reference.facets[facet].crossover(poorer, richer)
                    found[f"{facet} {poorer} to {richer}"] = abs(shift)
        return found

    def summary(self) -> dict[str, float]:
        """Every figure on which `worsened` looks, as plain numbers."""
        return {
            **{f"energy {name}, meV/atom": 1e3 * value for name, value in self.energy_rmse.items()},
            **{f"force {name}, eV/Å": value for name, value in self.force_rmse.items()},
            "lattice, %": 100 * self.lattice_deviation,
            **{f"γ {name}, meV/Å²": 1e3 * value for name, value in self.gamma_deviations().items()},
            **{f"crossover {name}, eV": value for name, value in self.crossover_deviations().items()},
            **{f"hole {pair}": float(not ok) for pair, ok in self.repulsive.items()},
        }


@dataclass(frozen=True)
class Parity:
    """Labels beside what the potential says, frame by frame.

    Attributes
    ----------
    kinds : list of str
        `config_type` per frame.
    families : list of str
        Likewise.
    energies : numpy.ndarray, shape (n_frames, 2)
        eV/atom: labeller, potential.
    forces : list of numpy.ndarray, shape (n_atoms, 3, 2)
        eV/Å: labeller, potential.
    deviations : numpy.ndarray, shape (n_frames,)
        √(Σ local variances) in eV; NaN where the potential does not know it.
    """

    kinds: list[str]
    families: list[str]
    energies: np.ndarray
    forces: list[np.ndarray]
    deviations: np.ndarray


@dataclass(frozen=True)
class Tolerances:
    """How much worse a figure may be before it counts as worse: what another seed of the fit would change.

    Attributes
    ----------
    error : float
        Relative, of energy and force errors.
    gamma : float
        meV/Å².
    crossover : float
        eV.
    lattice : float
        Percent.
    """

    error: float = 0.1
    gamma: float = 1.0
    crossover: float = 0.02
    lattice: float = 0.1


def worsened(before: PotentialFigures, after: PotentialFigures, tolerances: Tolerances | None = None) -> list[str]:
    """Figures that are worse after than before, one line each; both must be measured on the same frames and faces.

    A figure that is not a number, such as γ of a face that does not relax, is worse than any number.
    """
    allowed = tolerances or Tolerances()
    old, new = before.summary(), after.summary()
    lines = []
    for name, value in new.items():
        kind = name.split()[0].rstrip(",")
        limit = {
            "lattice": old[name] + allowed.lattice,
            "γ": old[name] + allowed.gamma,
            "crossover": old[name] + allowed.crossover,
            "hole": old[name],
        }.get(kind, old[name] * (1 + allowed.error))
        if not value <= limit and not np.isnan(old[name]):
            lines.append(f"{name}: {old[name]:.3g} before, {value:.3g} after")
    return lines
