"""The text that goes with exported terminations."""

from collections.abc import Collection, Sequence

from searcher.campaign.storage.ledger import Ledger

README = """\
Terminations of campaign `{name}`: {count} structures ({selection})
Surface: rutile oxide of {metal}, facet ({facet}), {repeat} cell, potential {potential}

{listing}

table.csv, table.json   one row per structure; units are in the column names
combined.extxyz         all structures in one file, in the order of the table
descriptions.json       Wood's notation, coverages, coordination, layer spacings, layer group, provenance
{more}
Reading the table
  gamma               surface energy of the upper face in meV/Å² (1 meV/Å² = 0.016022 J/m²) at the oxygen chemical
                      potential in column delta_mu_o_eV: per O atom, relative to half an O2 molecule at 0 K. At another
                      one it is gamma_meV_per_A2_at_0_eV + 1000 × gamma_slope_per_A2 × Δμ_O.
  excess_oxygen       N_O − 2 N_metal of the slab
  kappa, nearest      distance from the most similar structure that was known, 0 if it is the same, and its name
  above_envelope      smallest distance of gamma from the lowest known terminations over the allowed Δμ_O
  energy_class        0 is the most stable class of the campaign
  energy_eV           of the whole slab, with the potential named above, which is not DFT

Geometry
  Slabs are one-sided: the frozen atoms (tag 0 in extxyz, F F F in POSCAR) are cut from the bulk, the lower face is
  stoichiometric; z is the surface normal. extxyz keeps the periodicity of the surface (x and y). POSCAR and CIF are
  periodic in z as well, with the same vacuum; a dipole correction along z belongs to a DFT run of them. POSCAR lists
  the metal before oxygen. extxyz rounds to 1e-8 Å, CIF to 1e-5 of a cell length or better, POSCAR to 1e-16 of it.
{temperature}
DFT inputs, if there are any, use PBE and the lattice of the potential, so that strain cancels. reference-bulk,
  reference-O2 and reference-bottom (the lower face, as cut) are what surface energies are measured against. Run them in
  their folders; then `searcher import RUN FOLDER` reads what is there: sent, running, done or failed, and DFT's γ.
"""
DYNAMICS = """
Dynamics, as asked: each termination was shaken at dynamics_K for dynamics_ps (Langevin thermostat, the potential named
  above), then relaxed.
  dynamics_stays      whether it came to rest as the same, valid termination
  dynamics_kappa      SOAP distance between start and end, the larger of both directions
  dynamics_reason     why it does not stay
"""
VIBRATIONS = """
Vibrations, as asked: Einstein's model, every free atom swinging for itself; frozen ones as in the bulk.
  vibrations_gamma    to be added to gamma at vibrations_K and any Δμ_O, the zero-point energy of O2 counted with μ_O
  vibrations_zero_point, vibrations_softest   of the free atoms: ½Σħω, and the lowest ħω, negative for an imaginary one
  vibrations_reason   why there is no figure; imaginary_mode: an atom is at no minimum
"""
FORMAT_NOTES = {
    "db": """\
terminations.db         an ASE database of the same: `ase db terminations.db`, `ase gui terminations.db`
""",
    "vasp": """\
vasp/NAME/              INCAR, KPOINTS, POSCAR; add POTCAR, metal before oxygen as in POSCAR
""",
    "espresso": """\
espresso/NAME/          espresso.pwi; pseudopotentials as espresso/pseudo/{metal}.UPF and so on; write to espresso.pwo
""",
    "gpaw": """\
gpaw/NAME/              structure.extxyz and run.py, for `gpaw python run.py`
""",
}


def readme(
    ledger: Ledger,
    selection: str,
    count: int,
    formats: Sequence[str],
    suffixes: Sequence[str],
    columns: Collection[str] = (),
) -> str:
    """What is in an export's folder and how to read it.

    Parameters
    ----------
    ledger : Ledger
    selection : str
        Which candidates.
    count : int
        How many.
    formats : sequence of str
    suffixes : sequence of str
        Of the files of single structures.
    columns : collection of str
        Names of further columns of the tables.
    """
    template, config = ledger.template, ledger.fact("config", {})
    metal = config.get("material", {}).get("metal", "unknown")
    temperature = (DYNAMICS if "dynamics_K" in columns else "") + (VIBRATIONS if "vibrations_K" in columns else "")
    return README.format(
        more="".join(text for name, text in FORMAT_NOTES.items() if name in formats).format(metal=metal),
        name=ledger.fact("name"),
        count=count,
        selection=selection,
        metal=metal,
        facet=template.get("facet", "unknown"),
        repeat="×".join(str(n) for n in template.get("repeat", ())),
        potential=ledger.fact("potential"),
        listing=f"NAME{{{', '.join(suffixes)}}}   one structure each, NAME is the candidate's id" if suffixes else "",
        temperature=temperature,
    )
