"""The numbers of a GAP, from the files that `gap_fit` wrote."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

GAUSSIAN, DOT_PRODUCT = "1", "2"
"""How the XML numbers the kernels"""
DEFAULT_POTENTIALS = ("IP GAP", "Sum init_args_pot1={IP Glue} init_args_pot2={IP GAP")
"""Beginnings of the potentials that are known here: the GAP alone, or over a pairwise repulsive core."""


class NotCompilable(ValueError):
    """A GAP with a term that machine code is not there for; it has quippy."""


@dataclass(frozen=True)
class PairTerm:
    """2 δ² Σ_s α_s f(r_s) f(r) exp(−(r − r_s)²/2θ²) for each pair of two elements: both of its atoms count it.

    Attributes
    ----------
    numbers : (int, int)
        Atomic numbers.
    delta, theta : float
        eV, Å.
    points, weights : numpy.ndarray, shape (n_sparse,)
        r_s in Å and α_s f(r_s).
    r_cut, transition_width : float
        Å; f falls from 1 to 0 as a cosine over the last `transition_width`.
    """

    numbers: tuple[int, int]
    delta: float
    theta: float
    points: np.ndarray
    weights: np.ndarray
    r_cut: float
    transition_width: float


@dataclass(frozen=True)
class SoapTerm:
    """δ² Σ_s α_s (p·p_s)^ζ for each atom of one element.

    Attributes
    ----------
    descriptor : str
        As quippy reads it.
    species : tuple of int
        Atomic numbers of the density's channels.
    centre : int
        Atomic number.
    n_max : tuple of int
        Radial functions of each channel.
    l_max, zeta : int
    r_cut, r_soft, sigma, sigma_scaling : float
        Å; an atom at r is a Gaussian of the width sigma + sigma_scaling · r.
    delta : float
        eV
    points : numpy.ndarray, shape (n_sparse, n_components)
    weights : numpy.ndarray, shape (n_sparse,)
    """

    descriptor: str
    species: tuple[int, ...]
    centre: int
    n_max: tuple[int, ...]
    l_max: int
    zeta: int
    r_cut: float
    r_soft: float
    sigma: float
    sigma_scaling: float
    delta: float
    points: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class CoreTerm:
    """A repulsive pair energy as a cubic spline.

    Attributes
    ----------
    numbers : (int, int)
    r_cut : float
        Å
    distances, energies : numpy.ndarray, shape (n_points,)
        Å, eV.
    slopes : (float, float)
        Of the first and the last point, in eV/Å.
    """

    numbers: tuple[int, int]
    r_cut: float
    distances: np.ndarray
    energies: np.ndarray
    slopes: tuple[float, float]


@dataclass(frozen=True)
class GapParameters:
    """A whole GAP; `atomic_energies` in eV by atomic number."""

    atomic_energies: Mapping[int, float]
    pairs: tuple[PairTerm, ...]
    soaps: tuple[SoapTerm, ...]
    cores: tuple[CoreTerm, ...]


def gap_parameters(root: ElementTree.Element, folder: Path) -> GapParameters:
    """Read a GAP.

    Parameters
    ----------
    root : xml.etree.ElementTree.Element
        Of the XML, which was checked before.
    folder : pathlib.Path
        Where the sparseX files lie.

    Raises
    ------
    NotCompilable
        If it has something besides `distance_2b` and `soap_turbo` terms and a pairwise core, or they say less or other
        than they are expected to.
    """
    try:
        return _gap_parameters(root, folder)
    except NotCompilable:
        raise
    except (KeyError, ValueError, IndexError, OSError) as error:
        raise NotCompilable(f"its files are not as expected: {error!r}") from error


def _gap_parameters(root: ElementTree.Element, folder: Path) -> GapParameters:
    told = _only(root, "Potential").get("init_args", "")
    if not told.startswith(DEFAULT_POTENTIALS):
        raise NotCompilable(f"the XML's potential is {told!r}")
    if any(float(shift.get("value") or 0) for shift in root.iter("local_e0")):
        raise NotCompilable("it shifts local energies")
    pairs: list[PairTerm] = []
    soaps: list[SoapTerm] = []
    for term in root.iter("gpCoordinates"):
        words = (term.findtext("descriptor") or "").split(maxsplit=1)
        kind = words[0] if words else ""
        if float(term.get("signal_mean") or 0) or term.get("sparsified") != "T":
            raise NotCompilable(f"its {kind} term has a mean or is not sparsified")
        if kind == "distance_2b":
            pairs.append(_pair_term(term, folder))
        elif kind == "soap_turbo":
            soaps.append(_soap_term(term, folder))
        else:
            raise NotCompilable(f"it has a {kind!r} term")
    if len({soap.centre for soap in soaps}) != len(soaps):
        raise NotCompilable("it has two SOAP terms for one element")
    energies = {int(e.get("Z") or 0): float(e.get("value") or 0) for e in root.iter("e0")}
    return GapParameters(energies, tuple(pairs), tuple(soaps), tuple(_cores(root)))


def _pair_term(term: ElementTree.Element, folder: Path) -> PairTerm:
    said = _settings(term)
    unknown = set(said) & {"exponents", "only_intra", "only_inter", "resid_name"}
    if term.get("covariance_type") != GAUSSIAN or unknown:
        raise NotCompilable("its distance_2b term is no plain Gaussian process of the distance")
    return PairTerm(
        (int(said["Z1"]), int(said["Z2"])),
        float(term.get("signal_variance") or 0),
        float(term.findtext("theta") or 0),
        _sparse_points(term, folder)[:, 0],
        _weights(term),
        float(said["cutoff"]),
        float(said["cutoff_transition_width"]),
    )


def _soap_term(term: ElementTree.Element, folder: Path) -> SoapTerm:
    said = _settings(term)
    zeta = float(term.get("zeta") or 0)
    if term.get("covariance_type") != DOT_PRODUCT or zeta != int(zeta) or zeta < 1:
        raise NotCompilable("its soap_turbo term has no kernel of a whole power")
    species = tuple(int(z) for z in said["species_Z"].split())
    if len(species) < 2:
        raise NotCompilable("its soap_turbo term knows one element only")
    return SoapTerm(
        (term.findtext("descriptor") or "").strip(),
        species,
        species[int(said["central_index"]) - 1],
        tuple(int(n) for n in said["alpha_max"].split()),
        int(said["l_max"]),
        int(zeta),
        float(said["rcut_hard"]),
        float(said["rcut_soft"]),
        _of_all(said, "atom_sigma_r"),
        _of_all(said, "atom_sigma_r_scaling"),
        float(term.get("signal_variance") or 0),
        _sparse_points(term, folder),
        _weights(term),
    )


def _cores(root: ElementTree.Element) -> list[CoreTerm]:
    glue = root.find(".//Glue_params")
    if glue is None:
        return []
    if any(float(point.get("E") or 0) for point in glue.findall("per_type_data/potential_density/point")):
        raise NotCompilable("its core depends on more than pairs")
    numbers = {e.get("type"): int(e.get("atomic_num") or 0) for e in glue.findall("per_type_data")}
    cores = []
    for pair in glue.findall("per_pair_data"):
        curve = _only(pair, "potential_pair")
        points = curve.findall("point")
        cores.append(
            CoreTerm(
                (numbers[pair.get("type1")], numbers[pair.get("type2")]),
                float(pair.get("r_cut") or 0),
                np.array([float(point.get("r") or 0) for point in points]),
                np.array([float(point.get("E") or 0) for point in points]),
                (float(curve.get("y1") or 0), float(curve.get("yn") or 0)),
            )
        )
    return cores


def _settings(term: ElementTree.Element) -> dict[str, str]:
    """``key=value`` and ``key={values}`` of a descriptor."""
    text = term.findtext("descriptor") or ""
    return {
        key: (listed or single).strip() for key, listed, single in re.findall(r"(\w+)=(?:\{+([^}]*)\}+|(\S+))", text)
    }


def _of_all(said: Mapping[str, str], name: str) -> float:
    """A setting that is told for each element and has one value."""
    values = {float(word) for word in said[name].split()}
    if len(values) != 1:
        raise NotCompilable(f"its soap_turbo term has several values of {name}")
    return values.pop()


def _weights(term: ElementTree.Element) -> np.ndarray:
    points = term.findall("sparseX")
    return np.array([float(p.get("alpha") or 0) * float(p.get("sparseCutoff") or 0) for p in points])


def _sparse_points(term: ElementTree.Element, folder: Path) -> np.ndarray:
    values = np.loadtxt(folder / str(term.get("sparseX_filename")), ndmin=1)
    return values.reshape(int(term.get("n_sparseX") or 0), int(term.get("dimensions") or 0))


def _only(element: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = element.find(tag)
    if found is None:
        raise NotCompilable(f"the XML has no <{tag}>")
    return found
