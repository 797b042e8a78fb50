"""`searcher score` and `searcher diagram` on files: published figures, and what must not change an answer."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io import write
from published_slabs import ENERGY_BULK, HALF_O2, published, reference_structures, with_energy

from relax.potential import PotentialSpec
from searcher.campaign.workers.executor import InlineExecutor
from searcher.errors import InputError
from searcher.evaluation.diagram import as_record, diagram_of_files, with_o2_scheme
from searcher.evaluation.energies import Energies
from searcher.evaluation.scores import score
from searcher.evaluation.wulff import wulff_shape
from searcher.scoring.thermodynamics import Line, delta_mu_o, excess_oxygen, temperature_at
from searcher.structures.crystal import Crystal
from searcher.structures.slabs import faces_are_equal, file_structures, infer_facet
from searcher.structures.symmetric import symmetrised
from searcher.structures.templates import seed_structures

TABLE = 5e-3  # the published κ are given to this
ROUND_OFF = 3e-3  # κ is the root of a difference of single precision numbers
RELAXED_O_CUS = 1.70  # Å above its Ru
ANALYTIC = "relax.analytic:AnalyticRuO"


@pytest.fixture(scope="module")
def energies():
    """By the analytic potential, in this process; measured references are kept for all tests."""
    return Energies(InlineExecutor, PotentialSpec("calculator", import_path=ANALYTIC))


def named(**structures):
    return list(structures.items())


def test_the_table_of_kappa(build_slab, energies):
    bridge, cus = build_slab(), build_slab("cus", o_cus_height=RELAXED_O_CUS)
    half = cus * (2, 1, 1)
    del half[[int(half.positions[:, 2].argmax())]]
    raised = [build_slab(), build_slab()]
    for slab, height in zip(raised, (0.1, 0.2), strict=True):
        slab.positions[slab.positions[:, 2].argmax(), 2] += height
    queries = named(
        same=bridge, double=bridge * (2, 1, 1), raised1=raised[0], raised2=raised[1], half=half, cus=cus,
        ru=build_slab("ru"),
    )  # fmt: skip
    given = Energies(InlineExecutor, PotentialSpec("calculator", import_path=ANALYTIC), given=(-20.0, -5.0))
    found = {record["id"]: record for record in score(queries, named(known=bridge), given)}
    for name, expected in {"raised1": 0.021, "raised2": 0.043, "half": 0.152, "cus": 0.190, "ru": 0.190}.items():
        assert found[name]["kappa"] == pytest.approx(expected, abs=TABLE)
    assert found["same"]["kappa"] < ROUND_OFF and found["double"]["kappa"] < ROUND_OFF
    assert found["same"]["same_as"] == "known" and found["cus"]["same_as"] is None
    assert all(record["nearest"] == "known" and record["atoms"] == "all" for record in found.values())


def test_a_record_has_every_key_and_json_types(build_slab, energies):
    records = score(published(build_slab), [*published(build_slab), *reference_structures()], energies)
    wanted = {"id", "kappa", "nearest", "gamma", "energy_class", "valid", "reasons"}
    assert all(wanted <= set(record) for record in records)
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    at_half = {record["id"]: record["gamma"] for record in records}
    assert at_half["br"] == pytest.approx(71.0, abs=1e-3)  # meV/Å², stoichiometric: at any Δμ_O


def test_a_potential_is_not_asked_for_what_files_hold(build_slab):
    own = Energies(InlineExecutor, PotentialSpec("calculator", import_path=ANALYTIC))
    diagram_of_files([*published(build_slab), *reference_structures()], own)
    assert not own.used_potential


def test_classes_survive_a_shift_of_atomic_energies_and_a_supercell(build_slab, energies):
    def classes(repeat, *shifts):
        against = [*published(build_slab, (1, 1), *shifts), *reference_structures(*shifts)]
        return [
            (record["energy_class"], record["gamma"])
            for record in score(published(build_slab, repeat, *shifts), against, energies)
        ]

    plain = classes((1, 1))
    # 116, 25 and 0 meV/Å² above O_cus, which is the lowest at −0.5 eV
    assert [one for one, _ in plain] == [8, 3, 0]
    for other in (classes((1, 1), 11.0, -3.0), classes((2, 1))):
        assert [one for one, _ in other] == [one for one, _ in plain]
        # digits that are written, and energies of some thousand eV in double precision
        np.testing.assert_allclose([g for _, g in other], [g for _, g in plain], atol=2e-6)


def test_synthetic_diagram_of_110(build_slab, energies):
    found = diagram_of_files([*published(build_slab), *reference_structures()], energies)
    record = as_record(found, (1.0, 1e-10))
    assert [window["id"] for window in record["windows"]] == ["br", "cus"]
    assert record["windows"][0]["to"] == record["windows"][1]["from"] == pytest.approx(-1.0, abs=1e-6)
    assert (record["windows"][0]["from"], record["windows"][1]["to"]) == (-1.68, 0.0)
    at_one_bar = record["windows"][0]["temperature"][0]
    assert delta_mu_o(at_one_bar["from"]) == pytest.approx(-1.0, abs=1e-5)  # 0.01 K of the written temperature
    slopes = {one["id"]: one["slope"] for one in record["structures"]}
    area = 4.4968 / np.sqrt(2) * 2 * 3.1049  # Å², of the experimental cell
    assert slopes == pytest.approx({"ru": 1000 / area, "br": 0.0, "cus": -1000 / area}, abs=1e-5)
    assert record["references"]["source"] == "files"


def test_slabs_periodic_along_z_and_cut_by_the_border_give_the_same(build_slab, energies):
    def everything(slabs):
        return score(slabs, [*published(build_slab), *reference_structures()], energies)

    wrapped = []
    for name, atoms in published(build_slab):
        moved = Atoms(atoms.numbers, atoms.positions + [0, 0, 24.0], cell=atoms.cell, pbc=True)
        moved.wrap()
        wrapped.append((name, with_energy(moved, atoms.get_potential_energy())))
    for plain, other in zip(everything(published(build_slab)), everything(wrapped), strict=True):
        assert plain["kappa"] == pytest.approx(other["kappa"], abs=ROUND_OFF)
        assert [plain[key] for key in ("gamma", "valid", "reasons", "faces")] == [
            other[key] for key in ("gamma", "valid", "reasons", "faces")
        ]


def test_top_and_bottom_are_told_apart(build_slab, energies):
    mixed = build_slab("cus", o_cus_height=RELAXED_O_CUS)  # O_br below
    given = Energies(InlineExecutor, PotentialSpec("calculator", import_path=ANALYTIC), given=(-20.0, -5.0))
    (record,) = score(named(mixed=mixed), named(known=build_slab()), given)
    assert record["kappa_faces"][0] < ROUND_OFF < record["kappa_faces"][1] == record["kappa"]
    assert record["faces"] == "mean"


def test_energies_come_from_the_potential_where_a_file_has_none(energies):
    seeds = seed_structures(Crystal(), "110", (1, 1))
    records = score(list(seeds.items()), list(seeds.items()), energies)
    assert [record["energy_source"] for record in records] == ["potential"] * len(seeds)
    assert all(record["faces"] == "one-sided" or record["faces"] == "symmetric" for record in records)
    assert all(record["atoms"] == "free" and record["facet"] == "110" for record in records)
    assert min(record["energy_class"] for record in records) == 0
    assert all(record["same_as"] == record["id"] for record in records)


def test_one_sided_equals_symmetric_where_both_faces_are_the_same(energies):
    cut = seed_structures(Crystal(), "110", (1, 1))["110-stoichiometric"]
    (one,) = diagram_of_files(named(x=cut), energies).members
    assert faces_are_equal(cut)  # unrelaxed, so that this is the symmetric formula
    pinned = cut.copy()
    pinned.info["gamma_bottom_eV_per_A2"] = one.line.gamma0
    (other,) = diagram_of_files(named(x=pinned), energies).members
    assert other.line.gamma0 == pytest.approx(one.line.gamma0, abs=1e-9)


def test_both_oxygen_references_side_by_side(energies, build_slab):
    found = diagram_of_files(named(**dict(published(build_slab))), energies)
    schemes = energies.o2_schemes()
    shifted = with_o2_scheme(found, schemes["fitted"])
    shift = schemes["fitted"] - schemes["raw"]
    for before, after in zip(found.members, shifted.members, strict=True):
        assert after.line.at(-0.3) == pytest.approx(before.line.at(-0.3 + shift), abs=1e-12)


@pytest.mark.filterwarnings("ignore:FixSymmetry adjust_cell")  # the stand-in's lattice is far from iridium's
def test_nothing_of_ruo2_is_taken_for_another_oxide(build_slab):
    slab = build_slab()
    slab.symbols[slab.symbols == "Ru"] = "Ir"
    potential = PotentialSpec("calculator", import_path="foreign_oxide:AnalyticIrO")
    with pytest.raises(InputError, match="formation enthalpy of IrO2, and only that of RuO2 is known"):
        diagram_of_files(named(x=slab), Energies(InlineExecutor, potential, "fitted"))
    unmeasured = Energies(InlineExecutor, potential)
    assert unmeasured.crystal(file_structures(named(x=slab))) is None
    found = diagram_of_files(named(x=slab), unmeasured)
    assert unmeasured.o2_schemes() == {}
    measured = unmeasured.measured("Ir")
    assert found.crystal == Crystal("Ir", measured.a, measured.c, measured.u)


@pytest.mark.parametrize("temperature", [100.0, 298.15, 700.0, 1500.0])
@pytest.mark.parametrize("pressure", [1e-12, 1.0, 10.0])
def test_temperature_inverts_the_chemical_potential(temperature, pressure):
    # 0.01 K: the polynomials of H and S below and above 700 K differ by a millionth of an eV there
    assert temperature_at(delta_mu_o(temperature, pressure), pressure) == pytest.approx(temperature, abs=1e-2)


def test_temperature_outside_the_tables_is_none():
    assert temperature_at(0.0) is None and temperature_at(-100.0) is None


def test_facets_from_lateral_cells():
    assert infer_facet([6.36, 3.10]) == infer_facet([6.21, 6.36]) == infer_facet([6.397, 3.12]) == "110"
    assert infer_facet([4.50, 3.10]) == "100" and infer_facet([4.5, 4.5]) == "001"
    assert infer_facet([8.89, 6.36]) == "111" and infer_facet([5.0, 5.0]) is None


def test_wulff_shape_of_equal_facets_and_of_a_cheap_one():
    crystal = Crystal()
    lines = {"110": {"a": Line(0.071, 0.0)}, "100": {"b": Line(0.087, 0.0)}, "101": {"c": Line(0.07, 0.0)}}
    shape = wulff_shape(lines, -0.5, crystal)
    shares = {one["facet"]: one["share"] for one in shape["facets"]}
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-9)
    assert 70.0 < shape["mean_gamma"] < 87.0
    lines["100"] = {"b": Line(2.0, 0.0)}
    assert {o["facet"]: o["share"] for o in wulff_shape(lines, -0.5, crystal)["facets"]}["100"] == 0.0
    with pytest.raises(InputError, match="do not enclose"):
        wulff_shape({"110": lines["110"]}, -0.5, crystal)
    with pytest.raises(InputError, match="no crystal is stable"):
        wulff_shape({"110": {"a": Line(-0.01, 0.0)}}, -0.5, crystal)


def test_reference_structures_are_recognised(build_slab):
    found = file_structures([*reference_structures(), ("slab", build_slab())])
    assert [one.role for one in found] == ["bulk", "oxygen", "slab"]
    metal = Atoms("Ru2", scaled_positions=[[0, 0, 0], [1 / 3, 2 / 3, 0.5]], cell=[2.7, 2.7, 4.3, 90, 90, 120], pbc=True)
    assert file_structures([("hcp", metal)])[0].role == "metal"


def test_fixed_atoms_are_not_compared(build_slab, energies):
    query = build_slab("cus", o_cus_height=RELAXED_O_CUS)
    lower = query.positions[:, 2] < query.positions[:, 2].max() - 2.5
    query.set_constraint(FixAtoms(indices=np.flatnonzero(lower)))
    (structure,) = file_structures([("x", query)])
    assert structure.n_frozen == lower.sum() and structure.faces == "one-sided"
    np.testing.assert_array_less(structure.atoms.positions[: structure.n_frozen, 2], query.positions[~lower, 2].min())


def test_commands_on_files(call, tmp_path, build_slab):
    write(tmp_path / "slabs.extxyz", [atoms for _, atoms in published(build_slab)])
    write(tmp_path / "references.extxyz", [atoms for _, atoms in reference_structures()])
    code, out, _ = call("diagram", "slabs.extxyz", "references.extxyz", "--json", "--picture", "diagram.png")
    windows = json.loads(out)["windows"]
    assert code == 0 and windows[1]["from"] == pytest.approx(-1.0, abs=1e-6)
    assert (tmp_path / "diagram.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = call("diagram", "slabs.extxyz", "--energy-bulk", ENERGY_BULK, "--half-energy-o2", HALF_O2)
    assert code == 0 and "-1.000" in out


def test_several_known_files_after_one_option(call, tmp_path, build_slab):
    for name, atoms in published(build_slab):
        write(tmp_path / f"{name}.extxyz", atoms)
    references = ("--energy-bulk", ENERGY_BULK, "--half-energy-o2", HALF_O2, "--workers", "1", "--json")
    code, out, _ = call("score", "cus.extxyz", "--against", "ru.extxyz", "br.extxyz", *references)
    (record,) = json.loads(out)
    assert code == 0 and record["nearest"] in ("ru", "br")
    again = call("score", "--against", "ru.extxyz", "--against", "br.extxyz", "cus.extxyz", *references)
    assert json.loads(again[1]) == [record]


@pytest.mark.parametrize("facet", ["001", "100", "101", "110", "111"])
def test_symmetrised_slabs_have_two_equal_faces(facet):
    for atoms in seed_structures(Crystal(), facet, (1, 1)).values():
        slab = symmetrised(atoms, int((atoms.get_tags() == 0).sum()))
        assert faces_are_equal(slab, 1e-3)
        one, both = (excess_oxygen({"Ru": n[44], "O": n[8]}) for n in map(count, (atoms, slab)))
        assert both == 2 * one  # the lower face of a one-sided slab is stoichiometric
        assert slab.cell[2, 2] - np.ptp(slab.positions[:, 2]) >= 12.0


def count(atoms):
    return np.bincount(atoms.numbers, minlength=45)


def test_relaxed_symmetric_slabs(energies):
    seeds = seed_structures(Crystal(), "110", (1, 1))
    found = diagram_of_files(list(seeds.items()), energies, symmetric=True)
    assert not found.notes and {member.source for member in found.members} == {"potential"}
    slopes = {member.id: member.line.slope for member in found.members}
    area = 4.4968 / np.sqrt(2) * 2 * 3.1049
    assert slopes["110-O-rich"] == pytest.approx(-1 / area)
    assert slopes["110-O-poor"] == pytest.approx(1 / area)


def test_layers_that_are_no_crystal_cannot_be_mirrored():
    atoms = seed_structures(Crystal(), "110", (1, 1))["110-O-rich"]
    n_frozen = int((atoms.get_tags() == 0).sum())
    atoms.positions[:n_frozen] += np.random.default_rng(1).normal(0, 0.3, (n_frozen, 3))
    with pytest.raises(InputError, match="not cut from a rutile crystal"):
        symmetrised(atoms, n_frozen)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["score", "slab.cif", "--against", "nowhere.cif"], 2, "nowhere.cif` does not exist"),
        (["score", "slab.cif", "--against", "slab.cif", "--potential", "nowhere.xml"], 4, "nowhere.xml"),
        (["score", "slab.cif", "--against", "slab.cif", "--kappa-min", "2"], 2, "--kappa-min"),
        (["score", "slab.cif", "--against", "slab.cif", "--facet", "1-10"], 2, "three digits"),
        (["diagram", "slab.cif", "--energy-bulk", "-20"], 2, "--half-energy-o2"),
        (["diagram", "slab.cif", "--pressure", "0"], 2, "`--pressure` is 0"),
        (["diagram", "slab.cif", "--range", "0", "-1"], 2, "must rise"),
        (["diagram", "slab.cif", "--o2-reference", "other"], 2, "raw or fitted"),
        (["diagram", "empty"], 5, "holds no campaign"),
        (["diagram", "bulk.extxyz"], 2, "no slab"),
    ],
)
def test_mistakes_are_one_line_with_their_code(call, tmp_path, build_slab, words, code, says):
    slab = build_slab()
    slab.pbc = True
    write(tmp_path / "slab.cif", slab)
    write(tmp_path / "bulk.extxyz", Crystal().bulk())
    (tmp_path / "empty").mkdir()
    found, _, complaint = call(*words)
    assert found == code and says in complaint and "Traceback" not in complaint
