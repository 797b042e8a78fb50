"""The configuration that a new campaign starts from, with comments."""

from pathlib import Path

from searcher.config import MaterialSection
from searcher.errors import InputError
from searcher.files import write_text
from searcher.structures.crystal import metal_structure, parse_facet

FILE = "campaign.yaml"
REPEATS = {"110": (1, 2), "100": (2, 2), "101": (1, 2), "001": (2, 2), "111": (1, 1)}
"""cells of 6 to 9 Å, in which neighbouring images of an adsorbed atom do not see each other"""
SHIPPED = "Ru"
TEXT = """\
# A search for terminations of {metal}O2({facet}).
#   searcher validate {file}    checks this file and what it names
#   searcher run {file}         starts, or goes on where it stopped
# Every key with its unit, range and default: page "Every key of a configuration" of the documentation. Lengths are in Å
# and energies in eV. Any key can be changed on the command line: --set budget.iterations=5

name: {name}                    # the campaign's folder in runs/
seed: 1                         # equal seeds give equal campaigns

# Where energies come from: a GAP's XML file, or any ASE calculator by its import path.
{potential}
{material}
surface:
  facet: "{facet}"
  repeat: [{x}, {y}]                # of the smallest orthogonal cell along x, its longer side, and y
  frozen_thickness: 5.0         # Å of fixed material below the free atoms
  # oxygen_count: [6, 12]       # free oxygen atoms, least and most; by default half to one and a half of the bulk's
  # metal_count: [4, 4]         # free metal atoms; by default as many as in the bulk

grid: {{shape: [16, 16, 16], sigma: 0.55}}   # voxels, and width of an atom in Å; too coarse a grid is refused

training:
  settings: {{steps: 1500}}       # of the generator, in each iteration

conditioning:
  delta_mu_o: -0.5              # eV per O atom: the oxygen chemical potential that classes and tables are made at

# Who proposes, and its share of the force calls. A control arm learns nothing from the others.
arms:
  - {{name: gan, kind: gan, share: 0.4, screening: {{oversampling: 100, reach: 1.4}}}}
  - {{name: moves, kind: hopping, share: 0.5, screening: {{oversampling: 40}}}}
  - name: control
    kind: random
    share: 0.1
    feeds_training: false
    screening: {{oversampling: 250, known_basins: false}}

# Proposals are relaxed in a potential of the campaign's own first, fitted to what its force calls have answered.
prerelaxation: {{on: true}}

budget:
  iterations: 40
  force_calls_per_iteration: 3000
  earned: 0.7                   # of the calls go to the arms by what they accepted per call lately

acceptance:
  kappa_min: 0.075              # novel above this SOAP distance from everything known
  margin_mev_per_A2: 25.0       # meV/Å² above the lowest known that still counts
  # delta_mu_o_range: [-1.68, 0.0]   # eV per O atom; by default from half of the oxide's formation energy to 0

# known: [mine.extxyz]          # structures that must not count as found
# seeds: [mine.extxyz]          # structures to relax and learn from
execution: {{workers: 2, training_threads: 2}}
"""
GAP = "potential: {gap: ruo2}           # the shipped one; read its model card before you believe a number\n"
OWN_GAP = "potential: {gap: path/to/gap.xml}\n"
MATERIAL = """
material:
  metal: {metal}
  a: {a}                     # Å, of RuO2: put in {metal}O2's; the potential's relaxation of the bulk starts here
  c: {c}                     # Å, likewise
  u: {u}                      # likewise
  metal_structure: {structure}          # hcp, fcc or bcc, whichever the pure metal is or comes nearest to
  # formation_enthalpy: {enthalpy}  # measured, eV per formula unit; needed with `o2_reference: fitted` only
"""


def write_starting_file(folder: Path, facet: str = "110", metal: str = SHIPPED) -> Path:
    """Write ``campaign.yaml`` into a folder, which is made if it is missing.

    Raises
    ------
    InputError
        If the file is there already, the facet cannot be read or the metal is none.
    """
    parse_facet(facet)
    try:
        material = MaterialSection(metal=metal)
    except ValueError:
        raise InputError(f"`--metal` is {metal!r} but must be the symbol of a metal; an example is Ru") from None
    path = folder / FILE
    if path.exists():
        raise InputError(f"`{path}` exists already; choose another folder or edit it")
    folder.mkdir(parents=True, exist_ok=True)
    x, y = REPEATS.get(facet, (1, 1))
    lattice = MATERIAL.format(
        metal=metal, a=material.a, c=material.c, u=material.u, structure=metal_structure(metal),
        enthalpy=material.formation_enthalpy,
    )  # fmt: skip
    shipped = metal == SHIPPED
    text = TEXT.format(
        file=path, metal=metal, facet=facet, name=f"{metal.lower()}o2-{facet}", x=x, y=y,
        potential=GAP if shipped else OWN_GAP, material="" if shipped else lattice,
    )  # fmt: skip
    write_text(path, text)
    return path
