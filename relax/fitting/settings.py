"""Everything that decides a fit besides its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ase import Atoms

from relax.oxide import RUTHENIUM, carried_over


class FitError(ValueError):
    """Data or settings that no potential can be fitted to, or a `gap_fit` that failed."""


@dataclass(frozen=True)
class FitSettings:
    """Everything that decides the fit besides the data.

    Attributes
    ----------
    n_sparse : mapping of str to int
        Representative environments per element.
    n_max, l_max, r_cut, atom_sigma, zeta, soap_delta
        SOAP: basis, cutoff in Å, width in Å, kernel power, energy scale in eV.
    transition_width : float
        Å over which SOAP's cutoff acts.
    pair_r_cut, pair_delta, pair_theta, pair_sparse
        Pair term: cutoff in Å, energy scale in eV, length scale in Å, points per pair.
    core_cutoffs : mapping of str to float
        Å below which the repulsive baseline acts, per pair of symbols.
    errors : mapping of str to (float, float, float)
        Expected errors per `config_type`: energy in eV/atom, force in eV/Å, virial in eV/atom.
    force_error_share : float
        Added to an atom's force error as a share of its |F|, so that violent frames do not rule the fit.
    seed : int
        Of `gap_fit`'s own choice of representative environments.
    """

    n_sparse: Mapping[str, int] = field(default_factory=lambda: {"O": 1500, "Ru": 1000})
    n_max: int = 8
    l_max: int = 4
    r_cut: float = 4.5
    transition_width: float = 0.5
    atom_sigma: float = 0.4
    sigma_scaling: float = 0.05
    radial_enhancement: int = 1
    zeta: int = 2
    soap_delta: float = 1.0
    pair_r_cut: float = 5.0
    pair_delta: float = 3.0
    pair_theta: float = 0.8
    pair_sparse: int = 20
    core_cutoffs: Mapping[str, float] = field(default_factory=lambda: {"O-O": 1.0, "O-Ru": 1.45, "Ru-Ru": 2.0})
    errors: Mapping[str, tuple[float, float, float]] = field(
        default_factory=lambda: {
            "default": (0.005, 0.15, 0.1),
            "isolated_atom": (0.0001, 0.1, 0.1),
            "dimer": (0.03, 0.3, 1.0),
            "molecule": (0.0005, 0.02, 1.0),
            "bulk": (0.001, 0.05, 0.01),
            "metal": (0.003, 0.1, 0.03),
            "slab": (0.0015, 0.04, 1.0),
            "insertion": (0.003, 0.05, 1.0),
            "thermal": (0.001, 0.03, 1.0),
            "searched": (0.0015, 0.04, 1.0),
        }
    )
    force_error_share: float = 0.03
    seed: int = 1

    @classmethod
    def for_data(cls, data: Sequence[Atoms]) -> "FitSettings":
        """The settings for the oxide of the metal that labelled frames hold.

        Raises
        ------
        FitError
            If they hold several metals.
        """
        metals = {symbol for atoms in data for symbol in atoms.symbols.species()} - {"O"}
        if len(metals) > 1:
            raise FitError(f"the frames hold the metals {sorted(metals)}; a potential is fitted to one oxide's")
        metal, of_ruo2 = next(iter(metals), RUTHENIUM), cls()
        n_sparse = {metal if symbol == RUTHENIUM else symbol: number for symbol, number in of_ruo2.n_sparse.items()}
        return replace(of_ruo2, n_sparse=n_sparse, core_cutoffs=carried_over(of_ruo2.core_cutoffs, metal))
