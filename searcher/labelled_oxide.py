"""Which oxide labels are of: asked for once, relaxed by the labeller, and recorded in `labeller.json` beside them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ase.data import atomic_numbers

from relax.oxide import RUO2, Oxide
from relax.potential import build_from_import_path
from relax.progress import tell
from relax.references import References, measure_references
from relax.surface_figures import Labeller, SurfaceFigures, read_surface_figures, write_surface_figures
from searcher.errors import InputError
from searcher.structures.crystal import Crystal, metal_structure
from searcher.structures.faces import kept_figures

LABELLER_FILE = "labeller.json"
METAL_STRUCTURES = ("hcp", "fcc", "bcc")
LENGTH_DIGITS, COORDINATE_DIGITS = 3, 4
"""Of a lattice that structures are built on: the labeller's own to 0.001 Å, and written so in its record"""


def asked_oxide(
    metal: str | None, a: float | None, c: float | None, u: float | None, structure: str | None
) -> Oxide | None:
    """The oxide of the command line's options, what is not given as RuO2 has it; None if nothing is given.

    Raises
    ------
    InputError
        If something is no metal, no crystal of a metal, or no lattice of a rutile crystal.
    """
    if all(value is None for value in (metal, a, c, u, structure)):
        return None
    chosen = metal or RUO2.metal
    if chosen not in atomic_numbers or chosen in ("X", "O"):
        raise InputError(f"`--metal` is {chosen!r} but must be the symbol of a metal; an example is Ir")
    if structure is not None and structure not in METAL_STRUCTURES:
        raise InputError(f"`--metal-structure` is {structure!r} but must be one of {', '.join(METAL_STRUCTURES)}")
    oxide = Oxide(
        chosen,
        RUO2.a if a is None else a,
        RUO2.c if c is None else c,
        RUO2.u if u is None else u,
        structure or metal_structure(chosen),
    )
    try:
        crystal_of(oxide)
    except InputError as error:
        raise InputError(str(error).replace("material.", "--")) from None
    return oxide


def crystal_of(oxide: Oxide) -> Crystal:
    """The rutile crystal on the oxide's lattice."""
    return Crystal(oxide.metal, oxide.a, oxide.c, oxide.u)


def oxide_of_labels(out: Path, labeller: Labeller, asked: Oxide | None) -> Oxide:
    """The oxide that labels beside `out` are of, as recorded there; at first the one asked for, as the labeller has it.

    Raises
    ------
    InputError
        If another labeller's figures lie there, or another oxide's.
    PotentialError
        If the labeller cannot be made, or does not relax crystal, metal or molecule.
    """
    path = out.with_name(LABELLER_FILE)
    kept = kept_figures(path, labeller)
    if kept is not None:
        return _agreed(kept.oxide, asked, path)
    start = asked or RUO2
    tell(f"{start.metal}O2, {start.metal} ({start.metal_structure}) and O2 relax by the labeller …")
    calculator = build_from_import_path(labeller.import_path, labeller.arguments)
    found = measure_references(calculator, labeller.import_path, crystal_of(start).bulk(), start.metal_structure)
    oxide = on_lattice(start, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_surface_figures(SurfaceFigures(found, {}, labeller, oxide), path)
    return oxide


def recorded_oxide(places: Sequence[Path], asked: Oxide | None) -> Oxide:
    """The oxide that the first existing of some `labeller.json` names; if none exists, the one asked for, else RuO2.

    Raises
    ------
    InputError
        If another one is asked for.
    """
    for path in places:
        if path.is_file():
            return _agreed(read_surface_figures(path).oxide, asked, path)
    return asked or RUO2


def on_lattice(oxide: Oxide, found: References) -> Oxide:
    """An oxide on the lattice that a potential gives it, rounded."""
    a, c = (round(length, LENGTH_DIGITS) for length in (found.a, found.c))
    return replace(oxide, a=a, c=c, u=round(found.u, COORDINATE_DIGITS))


def _agreed(recorded: Oxide, asked: Oxide | None, path: Path) -> Oxide:
    """Metal and its crystal must be those asked for; the lattice was only where the relaxation began."""
    if asked is not None and (asked.metal, asked.metal_structure) != (recorded.metal, recorded.metal_structure):
        raise InputError(
            f"`{path}` is of {recorded.metal}O2 with {recorded.metal_structure} {recorded.metal}, but {asked.metal}O2 "
            f"with {asked.metal_structure} {asked.metal} is asked for: labels of one oxide need a folder of their own"
        )
    return recorded
