"""The fixed frame of a campaign: the surface that is searched and how its energies are measured."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.symbols import Symbols

from generators.grids.resolution import check_resolution
from generators.grids.spec import GridSpec
from generators.template import Template
from relax.references import References
from searcher.config import CampaignConfig, SurfaceSection
from searcher.errors import InputError
from searcher.scoring.descriptors import SoapSettings
from searcher.scoring.energy_classes import EnergyClasses
from searcher.scoring.thermodynamics import Line, delta_mu_o_range, gamma_one_sided, height_above_envelope
from searcher.scoring.validity import ValidityThresholds
from searcher.structures.crystal import Crystal, orient
from searcher.structures.templates import TemplateSettings, build_template

MEV = 1e-3


@dataclass(frozen=True)
class ReferenceEnergies:
    """Bulk and oxygen of one potential, in eV and Å."""

    a: float
    c: float
    u: float
    energy_bulk: float
    """per formula unit"""
    half_energy_o2: float
    formation_energy: float
    """of the oxide per formula unit, from the metal and `half_energy_o2`"""

    @classmethod
    def of(cls, found: References, config: CampaignConfig) -> "ReferenceEnergies":
        """What a potential says, with oxygen counted as configured."""
        half_o2 = found.half_o2(config.o2_reference, config.material.formation_enthalpy)
        return cls(found.a, found.c, found.u, found.energy_bulk, half_o2, found.formation_energy(half_o2))


@dataclass(frozen=True)
class SurfaceProblem:
    """Template, references and rules; a pure function of configuration and reference energies."""

    metal: str
    template: Template
    references: ReferenceEnergies
    grid: GridSpec
    thresholds: ValidityThresholds
    soap: SoapSettings
    classes: EnergyClasses
    delta_mu_o: float
    """eV, at which classes are made"""
    delta_mu_o_range: tuple[float, float]
    """eV, allowed; as it was when the campaign began, also under a later version of its potential"""
    counts: Mapping[str, tuple[int, int]]
    """allowed free atoms per element, smallest and largest"""

    def gamma(self, atoms: Atoms, energy: float) -> Line:
        """γ(Δμ_O) of a slab on the template with its energy in eV."""
        symbols = Symbols(atoms.numbers).indices()
        counts = {symbol: len(rows) for symbol, rows in symbols.items()}
        return gamma_one_sided(energy, counts, self.references, self.template.area, self.template.gamma_bottom)

    def energy_class(self, line: Line, seeds: Mapping[str, Line]) -> int:
        """Class of a line by its height above the relaxed seeds."""
        return self.classes.classify(height_above_envelope(line, seeds, self.delta_mu_o))

    def excess_oxygen_per_area(self, atoms: Atoms) -> float:
        """(N_O − 2 N_metal) per Å²."""
        oxygen = int(np.count_nonzero(atoms.numbers == 8))
        return (oxygen - 2 * (len(atoms) - oxygen)) / self.template.area

    @property
    def minimum_distances(self) -> dict[str, float]:
        """Shortest distances in Å between placed or decoded atoms, by pair of symbols: the validity thresholds."""
        limits = self.thresholds
        oxygen = limits.o_o_molecular if limits.accept_molecular_o else limits.o_o_clustered
        return {
            "O-O": oxygen,
            f"{self.metal}-O": limits.metal_o_min,
            f"{self.metal}-{self.metal}": limits.metal_metal_min,
        }

    def counts_allowed(self, numbers: np.ndarray) -> bool:
        """Whether the free atoms are within the stated ranges."""
        oxygen = int(np.count_nonzero(numbers == 8))
        metal = len(numbers) - oxygen
        (o_low, o_high), (m_low, m_high) = self.counts["O"], self.counts[self.metal]
        return o_low <= oxygen <= o_high and m_low <= metal <= m_high


def template_settings(surface: SurfaceSection) -> TemplateSettings:
    """The configured division of the slab."""
    return TemplateSettings(
        frozen_thickness=surface.frozen_thickness,
        free_repeats=surface.free_repeats,
        slack_below=surface.slack_below,
        slack_above=surface.slack_above,
        vacuum=surface.vacuum,
    )


def gamma_of_bottom(slab: Atoms, energy: float, energy_bulk: float) -> float:
    """γ in eV/Å² of a template's lower face.

    Parameters
    ----------
    slab : ase.Atoms
        As `searcher.structures.templates.bottom_slab` cuts it: stoichiometric, with two such faces.
    energy, energy_bulk : float
        eV, of the slab and of a formula unit of the bulk.
    """
    metal = int(np.count_nonzero(slab.numbers != 8))
    area = float(slab.cell[0, 0] * slab.cell[1, 1])
    return (energy - metal * energy_bulk) / (2 * area)


def surface_repeat(surface: SurfaceSection, crystal: Crystal) -> tuple[int, int]:
    """How often the smallest lateral cell is repeated, a square worked out for the crystal's own lattice."""
    if surface.repeat != "square":
        return surface.repeat
    x, y = orient(crystal, surface.facet).lengths[:2]
    ratio = max(x, y) / min(x, y)
    times = min((int(ratio), int(ratio) + 1), key=lambda n: abs(math.log(ratio / n)))
    return (1, times) if x >= y else (times, 1)


def build_problem(config: CampaignConfig, references: ReferenceEnergies, gamma_bottom: float) -> SurfaceProblem:
    """Lay out the surface on the potential's own lattice.

    Raises
    ------
    InputError
        If grid, thresholds, counts or classes do not fit the surface.
    """
    crystal = Crystal(config.material.metal, references.a, references.c, references.u)
    repeat = surface_repeat(config.surface, crystal)
    template = build_template(crystal, config.surface.facet, repeat, template_settings(config.surface), gamma_bottom)
    metal = config.material.metal
    try:
        thresholds = ValidityThresholds(**config.validity)
        shape, sigma = config.grid.shape, config.grid.sigma
        if config.grid.window == "cell":
            grid = GridSpec.for_cell(template.cell, shape, ("O", metal), sigma)
        else:
            grid = GridSpec.for_window(template, shape, ("O", metal), sigma)
        closest = thresholds.o_o_molecular if thresholds.accept_molecular_o else thresholds.o_o_clustered
        check_resolution(grid, closest, config.grid.allow_coarse)
        classes = EnergyClasses(tuple(edge * MEV for edge in config.conditioning.edges_mev_per_A2))
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    return SurfaceProblem(
        metal=metal,
        template=template,
        references=references,
        grid=grid,
        thresholds=thresholds,
        soap=SoapSettings(species=("O", metal)),
        classes=classes,
        delta_mu_o=config.conditioning.delta_mu_o,
        delta_mu_o_range=_allowed_range(config, references),
        counts=_counts(config, template),
    )


def _allowed_range(config: CampaignConfig, references: ReferenceEnergies) -> tuple[float, float]:
    if config.acceptance.delta_mu_o_range is not None:
        return config.acceptance.delta_mu_o_range
    if references.formation_energy >= 0:
        raise InputError(
            f"`acceptance.delta_mu_o_range` must be given: by the potential the formation energy of "
            f"{config.material.metal}O2 is {references.formation_energy:.3f} eV, and only a negative one gives a range"
        )
    return delta_mu_o_range(references.formation_energy)


def _counts(config: CampaignConfig, template: Template) -> dict[str, tuple[int, int]]:
    metal = config.material.metal
    reference = template.reference_counts
    metal_range = config.surface.metal_count or (reference[metal], reference[metal])
    oxygen_range = config.surface.oxygen_count or (reference["O"] // 2, 3 * reference["O"] // 2)
    if metal_range[1] + oxygen_range[1] == 0:
        raise InputError("`surface.metal_count` and `surface.oxygen_count` allow no free atom at all")
    return {metal: metal_range, "O": oxygen_range}
