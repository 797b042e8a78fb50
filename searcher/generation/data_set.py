"""Structures of files as what a generator learns from: orthorhombic cells, a template, conditions."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from generators.grids.resolution import CoarseGridError, check_resolution
from generators.grids.spec import GridError, GridSpec
from generators.networks.conditioning import ConditionSpec
from generators.proposal import TrainingRecord
from generators.template import Template
from searcher.errors import InputError
from searcher.evaluation.energies import RECORDED_LINES
from searcher.generation.settings import DataSection
from searcher.roundtrip import closest_pair
from searcher.scoring.energy_classes import EnergyClasses
from searcher.scoring.thermodynamics import Line
from searcher.structures.orthogonal import is_orthorhombic, orthogonal_supercell, repeat_towards_square, with_vacuum
from searcher.structures.templates import plane_group

OXYGEN = 8
SAME_PLACE = 0.02
"""Å by which the fixed atoms of two structures of one template may differ."""
CHECKED_FOR_RESOLUTION = 50


@dataclass(frozen=True)
class DataSet:
    """What a generator is trained on.

    Attributes
    ----------
    spec : GridSpec
    template : Template or None
        Of windows.
    conditions : tuple of ConditionSpec
    records, holdout : list of TrainingRecord
        To learn from, and to measure with.
    names : tuple of str
        Of the templates that the condition `template` counts.
    origins : list of (name, family)
        Of the records to learn from, then of those to measure with.
    """

    spec: GridSpec
    template: Template | None
    conditions: tuple[ConditionSpec, ...]
    records: list[TrainingRecord]
    holdout: list[TrainingRecord]
    names: tuple[str, ...] = ()
    origins: list[tuple[str, str]] = field(default_factory=list)


def data_set(named: Sequence[tuple[str, Atoms]], settings: DataSection) -> DataSet:
    """Make records of structures.

    Parameters
    ----------
    named : sequence of (name, ase.Atoms)
    settings : DataSection

    Raises
    ------
    InputError
        If a structure cannot be gridded, the grid is too coarse, an energy is missing, or structures of a window do not
        share their fixed atoms.
    """
    structures = [_prepared(name, atoms, settings) for name, atoms in named]
    species = tuple(sorted({symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}))
    names = tuple(sorted({_family(atoms) for atoms in structures}))
    specs = _condition_specs(structures, settings, names)
    conditions = _conditions(named, structures, settings, names)
    if settings.view == "window":
        template = template_of(named, structures)
        spec = GridSpec.for_window(template, settings.shape, species, settings.sigma)
        parts = [template.free_part(_fixed_first(atoms)) for atoms in structures]
        lengths = None
    else:
        template = None
        edges = np.array([atoms.cell.lengths() for atoms in structures])
        spec = GridSpec.for_cell(edges.mean(axis=0), settings.shape, species, settings.sigma)
        parts = [(atoms.numbers, atoms.get_positions(wrap=True)) for atoms in structures]
        lengths = edges
    _check_grid(spec, parts, settings)
    records: list[TrainingRecord] = []
    holdout: list[TrainingRecord] = []
    learned: list[tuple[str, str]] = []
    measured: list[tuple[str, str]] = []
    for index, (numbers, positions) in enumerate(parts):
        x, y, z = (float(edge) for edge in (spec.lengths if lengths is None else lengths[index]))
        own = None if lengths is None else (x, y, z)
        out = _held_out(structures[index], index, settings.holdout_every)
        chosen = holdout if out else records
        chosen += [TrainingRecord(numbers, positions, told, 1.0, own) for told in conditions[index]]
        origins = measured if out else learned
        origins += [(named[index][0], _family(structures[index]))] * len(conditions[index])
    if not records:
        raise InputError("every structure is held out; set `data.holdout_every` to 0 or give more of them")
    return DataSet(spec, template, specs, records, holdout, names, learned + measured)


def template_of(named: Sequence[tuple[str, Atoms]], structures: Sequence[Atoms]) -> Template:
    """The template that slabs share: their fixed atoms, which must be the same, and the range of the others.

    Raises
    ------
    InputError
        If there are no fixed atoms, none that is free, or the fixed ones differ.
    """
    first = _fixed_first(structures[0])
    n_frozen = _n_fixed(structures[0])
    if n_frozen == 0 or n_frozen == len(first):
        raise InputError(f"`{named[0][0]}` has {n_frozen} fixed of {len(first)} atoms; a window needs both kinds")
    frozen, cell = first[:n_frozen], first.cell.lengths()
    heights = []
    for (name, _), atoms in zip(named, structures, strict=True):
        ordered = _fixed_first(atoms)
        same = _n_fixed(atoms) == n_frozen and np.array_equal(ordered.numbers[:n_frozen], frozen.numbers)
        if not same or np.abs(ordered.positions[:n_frozen] - frozen.positions).max() > SAME_PLACE:
            raise InputError(f"`{name}` has other fixed atoms than `{named[0][0]}`; a window needs one template")
        heights.append(ordered.positions[n_frozen:, 2])
    z = np.concatenate(heights)
    rotations, translations = plane_group(frozen.numbers, frozen.positions, cell[:2])
    return Template(
        facet=str(first.info.get("facet", "files")),
        repeat=(1, 1),
        cell=cell,
        frozen_numbers=frozen.numbers,
        frozen_positions=frozen.positions,
        free_floor=float(z.min()),
        free_ceiling=float(z.max()),
        rotations=rotations,
        translations=translations,
        gamma_bottom=0.0,
    )


def _prepared(name: str, atoms: Atoms, settings: DataSection) -> Atoms:
    """An orthorhombic cell with the asked-for vacuum and repetition."""
    if not is_orthorhombic(atoms):
        if settings.view == "window":
            raise InputError(f"`{name}` is not orthorhombic, as a window needs it; `data.view: cell` takes a supercell")
        atoms = orthogonal_supercell(atoms)
    atoms = repeat_towards_square(atoms) if settings.square else atoms
    return atoms if settings.vacuum is None else with_vacuum(atoms, settings.vacuum)


def _n_fixed(atoms: Atoms) -> int:
    return len({int(i) for c in atoms.constraints if isinstance(c, FixAtoms) for i in c.index})


def _fixed_first(atoms: Atoms) -> Atoms:
    fixed = {int(i) for c in atoms.constraints if isinstance(c, FixAtoms) for i in c.index}
    order = sorted(range(len(atoms)), key=lambda index: index not in fixed)
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=atoms.info)
    ordered: Atoms = bare[order]
    return ordered


def _family(atoms: Atoms) -> str:
    """What the condition `template` tells apart: the recorded facet, else the lateral cell to 0.1 Å."""
    if "facet" in atoms.info:
        return str(atoms.info["facet"])
    x, y, _ = atoms.cell.lengths()
    return f"{x:.1f}x{y:.1f}"


def _condition_specs(
    structures: Sequence[Atoms], settings: DataSection, names: Sequence[str]
) -> tuple[ConditionSpec, ...]:
    most_oxygen = max(_n_oxygen(atoms) for atoms in structures)
    most_metal = max(len(atoms) - _n_oxygen(atoms) for atoms in structures)
    n_classes = EnergyClasses().n_classes if settings.class_of == "gamma" else settings.n_classes
    low, high = min(settings.delta_mu_o), max(settings.delta_mu_o)
    specs = {
        "energy_class": ConditionSpec("energy_class", "class", n_classes),
        "n_oxygen": ConditionSpec("n_oxygen", "class", max(2, most_oxygen + 1)),
        "n_metal": ConditionSpec("n_metal", "class", max(2, most_metal + 1)),
        "delta_mu_o": ConditionSpec("delta_mu_o", "scalar", range=(low, max(high, low + 1e-3))),
        "template": ConditionSpec("template", "class", max(2, len(names))),
    }
    return tuple(specs[name] for name in settings.conditions)


def _n_oxygen(atoms: Atoms) -> int:
    """Oxygen that may change: of the atoms that are not fixed."""
    return int(np.count_nonzero(_fixed_first(atoms).numbers[_n_fixed(atoms) :] == OXYGEN))


def _conditions(
    named: Sequence[tuple[str, Atoms]], structures: Sequence[Atoms], settings: DataSection, names: Sequence[str]
) -> list[list[dict[str, int | float]]]:
    """Values of every structure, once per Δμ_O."""
    classes = _classes(named, structures, settings) if "energy_class" in settings.conditions else None
    told: list[list[dict[str, int | float]]] = []
    for index, atoms in enumerate(structures):
        oxygen = _n_oxygen(atoms)
        fixed: dict[str, int | float] = {
            "n_oxygen": oxygen,
            "n_metal": len(atoms) - _n_fixed(atoms) - oxygen,
            "template": names.index(_family(atoms)),
        }
        rows: list[dict[str, int | float]] = []
        for column, delta_mu_o in enumerate(settings.delta_mu_o):
            row = {**fixed, "delta_mu_o": delta_mu_o}
            rows.append(row if classes is None else {**row, "energy_class": classes[index][column]})
        told.append(rows)
    return told


def _classes(named: Sequence[tuple[str, Atoms]], structures: Sequence[Atoms], settings: DataSection) -> list[list[int]]:
    """Energy class of every structure at every Δμ_O."""
    if settings.class_of == "recorded":
        recorded = [_info(name, atoms, "energy_class") for name, atoms in named]
        return [[int(value)] * len(settings.delta_mu_o) for value in recorded]
    if settings.class_of == "gamma":
        lines = [_line(name, atoms) for name, atoms in named]
        classes = EnergyClasses()
        rows = np.array([[line.at(mu) for mu in settings.delta_mu_o] for line in lines])
        families = np.array([_family(atoms) for atoms in structures])
        for family in np.unique(families):  # each facet has an envelope of its own
            rows[families == family] -= rows[families == family].min(axis=0)
        return [[classes.classify(float(value)) for value in row] for row in rows]
    energies = [_energy(name, atoms) for name, atoms in named]
    if settings.class_of == "energy_per_atom":
        values = [energy / len(atoms) for energy, (_, atoms) in zip(energies, named, strict=True)]
    else:  # of the supercell that the networks see
        values = [e * len(s) / len(atoms) for e, s, (_, atoms) in zip(energies, structures, named, strict=True)]
    divide = EnergyClasses.quantile if settings.class_bins == "quantile" else EnergyClasses.equal_width
    bins = divide(values, settings.n_classes, settings.class_of)
    return [[bins.classify(value)] * len(settings.delta_mu_o) for value in values]


def _info(name: str, atoms: Atoms, key: str) -> float:
    if key not in atoms.info:
        raise InputError(f"`{name}` has no `{key}` in its description, which `data.class_of` asks for")
    return float(atoms.info[key])


def _line(name: str, atoms: Atoms) -> Line:
    for zero, slope, scale in RECORDED_LINES:
        if zero in atoms.info and slope in atoms.info:
            return Line(scale * float(atoms.info[zero]), float(atoms.info[slope]))
    raise InputError(
        f"`{name}` has no recorded γ (`{RECORDED_LINES[0][0]}`), which `data.class_of: gamma` needs: `searcher "
        "dataset` writes it, and energies alone make `energy_per_atom` classes"
    )


def _energy(name: str, atoms: Atoms) -> float:
    if atoms.calc is not None and "energy" in atoms.calc.results:
        return float(atoms.calc.results["energy"])
    return _info(name, atoms, "energy_eV")


def _check_grid(spec: GridSpec, parts: Sequence[tuple[np.ndarray, np.ndarray]], settings: DataSection) -> None:
    step = max(1, len(parts) // CHECKED_FOR_RESOLUTION)
    closest = min(closest_pair(numbers, positions, spec) for numbers, positions in parts[::step])
    try:
        check_resolution(spec, closest, settings.allow_coarse)
    except (CoarseGridError, GridError) as error:
        raise InputError(f"{error}; `data.allow_coarse: true` trains all the same") from None


def _held_out(atoms: Atoms, index: int, every: int) -> bool:
    """Whole relaxations, where the file says which frames belong together, else single structures."""
    key = str(atoms.info.get("minimum", index))
    return every > 0 and zlib.crc32(key.encode()) % every == 0
