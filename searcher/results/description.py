"""What a surface scientist says of a termination: cell, coverages, coordination, layers, symmetry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import spglib
from ase import Atoms

from searcher.campaign.problem import surface_repeat, template_settings
from searcher.campaign.storage.ledger import Ledger
from searcher.config import SurfaceSection
from searcher.evaluation.diagram import ledger_crystal
from searcher.results.terminations import Termination, reference_labels
from searcher.scoring.neighbours import neighbour_pairs
from searcher.structures.crystal import PLANE_TOLERANCE, Crystal
from searcher.structures.templates import TemplateSettings, seed_structures

OXYGEN = 8
BOND = 2.4  # Å, as coordination is counted in validity
SITE_REACH = 1.0  # Å: an oxygen nearer than this to a bulk site occupies it
SAME_PLACE = 0.25  # Å: atoms of a relaxed slab that a lateral translation takes onto each other
SYMMETRY_TOLERANCE = 0.1  # Å
LAYER_GAP = 0.5  # Å: metal planes nearer than this along the normal are one layer
NAMES_110 = {1: "O_cus", 2: "O_br"}


@dataclass(frozen=True)
class Site:
    """A place of oxygen at the surface of the bulk-cut O-rich termination.

    Attributes
    ----------
    name : str
        ``O_br`` and ``O_cus`` on (110), elsewhere ``O_1``, ``O_2`` … by the number of metal neighbours.
    position : numpy.ndarray, shape (3,)
        Å
    """

    name: str
    position: np.ndarray


def describe_surface(
    atoms: Atoms, n_frozen: int, facet: str, repeat: tuple[int, int], crystal: Crystal, settings: TemplateSettings
) -> dict[str, Any]:
    """Description of a relaxed slab on a template.

    Parameters
    ----------
    atoms : ase.Atoms
        Frozen atoms first.
    facet : str
    repeat : tuple of int
        Of the template.
    crystal : Crystal
        With the campaign's lattice.
    settings : TemplateSettings

    Returns
    -------
    dict
        ``wood`` (None where the notation does not apply) and ``matrix`` of the smallest cell against (1×1);
        ``stoichiometry`` of the free atoms; ``excess_oxygen_per_nm2``; ``coverages`` by site, from 0 to 1;
        ``vacancies``: oxygen sites of the bulk below the surface that are empty; ``coordination``: for each element
        the number of free atoms by number of neighbours; ``layer_spacings_A`` of free metal layers from the frozen ones
        upwards with ``layer_change_percent`` against the bulk; ``layer_group`` with number and symbol.
    """
    translations = lateral_translations(atoms)
    matrix = superstructure(translations, repeat)
    free = atoms[n_frozen:]
    n_oxygen = int(np.count_nonzero(atoms.numbers == OXYGEN))
    area = float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1])))
    seeds = _seeds(crystal, facet, repeat, settings)
    coverages, vacancies = _occupation(free, *_sites(crystal, facet, repeat, settings, n_frozen))
    spacings, changes = _layers(atoms, n_frozen, seeds)
    return {
        "facet": facet,
        "wood": wood_notation(matrix),
        "matrix": matrix.tolist(),
        "stoichiometry": free.get_chemical_formula(mode="metal"),
        "excess_oxygen_per_nm2": 100.0 * (n_oxygen - 2 * (len(atoms) - n_oxygen)) / area,
        "coverages": coverages,
        "vacancies": vacancies,
        "coordination": coordination(atoms, n_frozen),
        "layer_spacings_A": spacings,
        "layer_change_percent": changes,
        "layer_group": layer_group(atoms),
    }


def describe_candidate(
    ledger: Ledger, termination: Termination, labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Everything that is said of a campaign's termination.

    Parameters
    ----------
    ledger : Ledger
    termination : Termination
    labels : mapping of id to str, optional
        Names of references, where many are described.

    Returns
    -------
    dict
        What `describe_surface` gives, where the campaign's lattice is recorded, and ``id``, ``energy_class``,
        ``nearest`` with ``id``, ``label`` and ``kappa``, ``energy_eV`` with ``potential``, and ``provenance``:
        campaign, arm, iteration, seed, condition, force calls, ``fmax_eV_per_A``, versions.
    """
    crystal = ledger_crystal(ledger)
    candidate = ledger.candidate(termination.id)
    record: dict[str, Any] = {"id": termination.id, "energy_class": termination.energy_class}
    if crystal is not None:
        surface = SurfaceSection(**ledger.fact("config", {}).get("surface", {}))
        record |= describe_surface(
            termination.atoms,
            termination.n_frozen,
            surface.facet,
            surface_repeat(surface, crystal),
            crystal,
            template_settings(surface),
        )
    labels = reference_labels(ledger) if labels is None else labels
    return {
        **record,
        "nearest": {
            "id": termination.nearest,
            "label": labels.get(termination.nearest or "", termination.nearest),
            "kappa": termination.kappa,
        },
        "energy_eV": termination.energy,
        "potential": termination.potential,
        "provenance": {
            "campaign": ledger.fact("name"),
            "arm": candidate.arm,
            "iteration": candidate.iteration,
            "seed": candidate.seed,
            "condition": dict(candidate.condition),
            "force_calls": candidate.force_calls,
            "fmax_eV_per_A": termination.fmax,
            "versions": ledger.fact("versions", {}),
        },
    }


def lateral_translations(atoms: Atoms, tolerance: float = SAME_PLACE) -> np.ndarray:
    """Fractional lateral translations, shape (n, 2), that take a slab onto itself within `tolerance` Å; 0 is first."""
    cell = atoms.cell.array
    symbols = atoms.numbers
    rarest = min(set(symbols.tolist()), key=lambda number: int((symbols == number).sum()))
    candidates = np.flatnonzero(symbols == rarest)
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    found = [np.zeros(2)]
    for other in candidates[1:]:
        shift = fractions[other] - fractions[candidates[0]]
        if abs(shift[2]) * cell[2, 2] > tolerance:
            continue
        shift = np.array([shift[0] % 1.0, shift[1] % 1.0, 0.0])
        shift[:2] = np.round(shift[:2] * 24) / 24  # translations of a supercell are simple fractions
        moved = fractions + shift
        difference = moved[:, None] - fractions[None]
        difference[..., :2] -= np.round(difference[..., :2])
        near = np.linalg.norm(difference @ cell, axis=-1) < tolerance
        if (near & (symbols[:, None] == symbols[None])).any(axis=1).all():
            found.append(shift[:2])
    return np.unique(np.round(np.array(found) % 1.0, 6), axis=0)


def superstructure(translations: np.ndarray, repeat: tuple[int, int]) -> np.ndarray:
    """Matrix (2, 2) of the smallest lateral cell in units of the (1×1) cell, rows a' and b', in Hermite form.

    Parameters
    ----------
    translations : array, shape (n, 2)
        In fractions of the whole cell.
    repeat : tuple of int
        How many (1×1) cells the whole cell has along x and y.
    """
    points = np.round(np.concatenate([translations, np.eye(2)]) * repeat).astype(int)
    first = _shortest(points, axis=1)
    second = _shortest(points, axis=0)
    return np.array([first, second])


def wood_notation(matrix: np.ndarray) -> str | None:
    """``(m×n)``, or ``c(m×n)`` for a centred cell; None where only the matrix says what it is."""
    (a, b), (c, d) = matrix.tolist()
    if b == 0 and c == 0:
        return f"({a}×{d})"
    if b == 0 and 2 * c == a:
        return f"c({a}×{2 * d})"
    return None


def coordination(atoms: Atoms, n_frozen: int) -> dict[str, dict[int, int]]:
    """How many free atoms of each element have how many neighbours: metal counts oxygen, oxygen counts metal."""
    pairs = neighbour_pairs(atoms, BOND)
    unlike = (atoms.numbers[pairs.first] == OXYGEN) != (atoms.numbers[pairs.second] == OXYGEN)
    counts = np.bincount(pairs.first[unlike], minlength=len(atoms))
    found: dict[str, dict[int, int]] = {}
    for index in range(n_frozen, len(atoms)):
        of_element = found.setdefault(str(atoms.symbols[index]), {})
        of_element[int(counts[index])] = of_element.get(int(counts[index]), 0) + 1
    return {symbol: dict(sorted(values.items())) for symbol, values in sorted(found.items())}


def layer_group(atoms: Atoms, tolerance: float = SYMMETRY_TOLERANCE) -> dict[str, Any] | None:
    """Layer group (1 to 80) of a slab by spglib; None if it finds none."""
    fractions = np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T
    cell = (atoms.cell.array.tolist(), fractions.tolist(), atoms.numbers.tolist())
    found = spglib.get_layergroup(cell, aperiodic_dir=2, symprec=tolerance)
    return None if found is None else {"number": int(found.number), "symbol": str(found.international)}


def surface_sites(seeds: Mapping[str, Atoms], n_frozen: int, facet: str) -> tuple[list[Site], list[Site]]:
    """Oxygen sites of the bulk cut with most oxygen: those bound to fewer than three metal atoms, and the rest."""
    rich = max(seeds.values(), key=lambda a: int(np.count_nonzero(a.numbers == OXYGEN)) - len(a) * 2 / 3)
    pairs = neighbour_pairs(rich, BOND)
    unlike = (rich.numbers[pairs.first] == OXYGEN) != (rich.numbers[pairs.second] == OXYGEN)
    counts = np.bincount(pairs.first[unlike], minlength=len(rich))
    surface: list[Site] = []
    below: list[Site] = []
    for index in np.flatnonzero(rich.numbers == OXYGEN):
        if index < n_frozen:
            continue
        number = int(counts[index])
        name = NAMES_110.get(number, f"O_{number}") if facet == "110" else f"O_{number}"
        (surface if number < 3 else below).append(Site(name, rich.positions[index]))
    return surface, below


@lru_cache(maxsize=16)
def _seeds(crystal: Crystal, facet: str, repeat: tuple[int, int], settings: TemplateSettings) -> dict[str, Atoms]:
    return seed_structures(crystal, facet, repeat, settings)


@lru_cache(maxsize=16)
def _sites(
    crystal: Crystal, facet: str, repeat: tuple[int, int], settings: TemplateSettings, n_frozen: int
) -> tuple[list[Site], list[Site]]:
    return surface_sites(_seeds(crystal, facet, repeat, settings), n_frozen, facet)


def _occupation(free: Atoms, surface: Sequence[Site], below: Sequence[Site]) -> tuple[dict[str, float], int]:
    oxygen = free.positions[free.numbers == OXYGEN]
    taken = [_occupied(site, oxygen, free.cell.array) for site in surface]
    names = sorted({site.name for site in surface})
    coverages = {
        name: sum(t for t, s in zip(taken, surface, strict=True) if s.name == name)
        / sum(site.name == name for site in surface)
        for name in names
    }
    return coverages, sum(not _occupied(site, oxygen, free.cell.array) for site in below)


def _occupied(site: Site, oxygen: np.ndarray, cell: np.ndarray) -> bool:
    if not len(oxygen):
        return False
    difference = oxygen - site.position
    lengths = np.array([cell[0, 0], cell[1, 1]])
    difference[:, :2] -= lengths * np.round(difference[:, :2] / lengths)
    return bool(np.linalg.norm(difference, axis=1).min() < SITE_REACH)


def _layers(atoms: Atoms, n_frozen: int, seeds: Mapping[str, Atoms]) -> tuple[list[float], list[float | None]]:
    """Distances between metal layers in Å from the highest frozen one upwards, and their change against the bulk."""
    heights = _metal_layers(atoms.positions[:, 2], atoms.numbers, n_frozen)
    bulk_heights = max(
        (_metal_layers(seed.positions[:, 2], seed.numbers, n_frozen) for seed in seeds.values()), key=len
    )
    spacings = np.diff(heights)
    expected = np.diff(bulk_heights)
    # a layer that the bulk does not have has nothing to be compared with
    changes = [
        round(100.0 * float(spacing / expected[index] - 1.0), 2) if index < len(expected) else None
        for index, spacing in enumerate(spacings)
    ]
    return [round(float(s), 4) for s in spacings], changes


def _metal_layers(z: np.ndarray, numbers: np.ndarray, n_frozen: int) -> np.ndarray:
    frozen_metal = z[:n_frozen][numbers[:n_frozen] != OXYGEN]
    top_frozen = frozen_metal[frozen_metal > frozen_metal.max() - PLANE_TOLERANCE].mean()
    free_metal = np.sort(z[n_frozen:][numbers[n_frozen:] != OXYGEN])
    if not len(free_metal):
        return np.array([top_frozen])
    groups = np.split(free_metal, np.flatnonzero(np.diff(free_metal) > LAYER_GAP) + 1)
    return np.array([top_frozen, *(group.mean() for group in groups)])


def _shortest(points: np.ndarray, axis: int) -> np.ndarray:
    """The first basis vector lies along x (`axis` 1 is zero); the second has the smallest y, and the smallest x."""
    if axis == 1:
        along = _multiples(points)
        lengths = [p for p in along if p[1] == 0 and p[0] > 0]
        return np.array(min(lengths, key=lambda p: p[0]))
    others = [p for p in _multiples(points) if p[1] > 0]
    return np.array(min(others, key=lambda p: (p[1], p[0])))


def _multiples(points: np.ndarray) -> list[tuple[int, int]]:
    """Sums of lattice points, taken back into the whole cell, whose last two points are its sides."""
    sides = points[-2:].diagonal()
    found = {(0, 0)}
    grown = True
    while grown:
        before = len(found)
        found |= {((x + int(p[0])) % int(sides[0]), (y + int(p[1])) % int(sides[1])) for x, y in found for p in points}
        grown = len(found) > before
    corners: Sequence[tuple[int, int]] = [(int(sides[0]), 0), (0, int(sides[1]))]
    return [*found, *corners]
