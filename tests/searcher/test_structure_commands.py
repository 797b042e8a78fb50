"""`init`, `backmap` and `relax`: commands on files, without a campaign or beside one."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from rich.console import Console

from generators.grids.density import densities, pack
from generators.grids.files import read_grids, write_grids
from generators.grids.spec import GridError, GridSpec
from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.campaign import open_campaign
from searcher.campaign.problem import ReferenceEnergies, build_problem, template_settings
from searcher.campaign.stopping import StopRequest
from searcher.loading import load_config
from searcher.starting_file import REPEATS
from searcher.structures.crystal import Crystal
from searcher.structures.files import format_of
from searcher.structures.templates import seed_structures

STAND_IN = ("--potential", "relax.analytic:AnalyticRuO")
TINY = Path(__file__).parents[1] / "configs" / "tiny.yaml"


@pytest.mark.parametrize("facet", sorted(REPEATS))
def test_a_starting_file_of_every_facet_is_fine(call, tmp_path, facet):
    code, out, complaint = call("init", "mine", "--facet", facet)
    assert code == 0, complaint
    path = Path(out.strip())
    config = load_config(tmp_path / path)
    assert (config.surface.facet, config.surface.repeat) == (facet, REPEATS[facet])
    # the grid is fine enough for the facet's cell, or this raises
    problem = build_problem(config, ReferenceEnergies(4.4968, 3.1049, 0.3053, -25.0, -4.9, -3.36), 0.07)
    assert min(problem.template.cell[:2]) > 5.0  # Å: images two bonds and more away
    assert call("validate", path)[0] == 0


def test_a_starting_file_of_another_metal_waits_for_its_potential(call, tmp_path):
    assert call("init", "mine", "--metal", "Ir")[0] == 0
    config = load_config(tmp_path / "mine" / "campaign.yaml")
    assert config.material.metal == "Ir" and config.name == "iro2-110"
    assert config.material.metal_structure == "fcc"
    code, _, complaint = call("validate", "mine/campaign.yaml")
    assert code == 4 and "path/to/gap.xml" in complaint
    # RuO2's formation enthalpy says nothing of IrO2
    code, _, complaint = call("validate", "mine/campaign.yaml", "--set", "o2_reference=fitted")
    assert code == 2 and "`material.formation_enthalpy`" in complaint and "IrO2" in complaint


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["init", "mine"], "exists already"),
        (["init", "other", "--facet", "11"], "facet"),
        (["init", "other", "--metal", "Xx"], "symbol of a metal"),
    ],
)
def test_mistakes_of_init(call, tmp_path, words, says):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "campaign.yaml").write_text("name: mine\n")
    code, _, complaint = call(*words)
    assert code == 2 and says in complaint and not (tmp_path / "other").exists()


@pytest.fixture
def slabs(tmp_path):
    seeds = seed_structures(Crystal(), "110", (1, 1))
    for name, atoms in seeds.items():
        atoms.info |= {"id": name, "energy_bulk_eV": -1.0, "gamma_slope_per_A2": 0.0}
    ase.io.write(tmp_path / "slabs.extxyz", list(seeds.values()))
    return seeds


def test_relaxed_structures_come_back_in_order_with_energy_or_reason(call, tmp_path, slabs):
    broken = slabs["110-stoichiometric"].copy()
    broken.info["id"] = "broken"
    broken.positions[-1] = broken.positions[-2]
    broken.positions[0] = broken.positions[1]  # both fixed: nothing can push them apart
    ase.io.write(tmp_path / "broken.extxyz", broken)
    words = ("relax", "slabs.extxyz", "broken.extxyz", "--out", "relaxed.extxyz", *STAND_IN, "--fmax", "0.3")
    code, out, complaint = call(*words, "--workers", "1", "--json")
    assert code == 0, complaint
    records = json.loads(out)
    frames = ase.io.read(tmp_path / "relaxed.extxyz", ":")
    assert len(records) == len(frames) == len(slabs) + 1
    assert (records[-1]["reason"], records[-1]["energy_eV"]) == ("overlap", None)
    for record, frame, start in zip(records, frames, slabs.values(), strict=False):
        assert record["converged"] and record["fmax_eV_per_A"] <= 0.3 and record["force_calls"] > 1
        assert frame.get_potential_energy() == pytest.approx(record["energy_eV"], abs=1e-6)  # extxyz's digits
        fixed = frame.constraints[0].index
        np.testing.assert_allclose(frame.positions[fixed], start.positions[fixed], atol=1e-7)  # likewise
        assert frame.info["potential"] == record["potential"]
    assert [record["id"] for record in records[:-1]] == list(slabs) == [frame.info["id"] for frame in frames[:-1]]
    # references of the energies that the file had hold no longer
    assert not any("energy_bulk_eV" in frame.info or "gamma_slope_per_A2" in frame.info for frame in frames)
    assert frames[-1].calc is None and frames[-1].info["reason"] == "overlap"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "x.cif"], "must end in .extxyz"),
        (["--out", "nowhere/x.extxyz"], "does not exist"),
        (["--out", "x.extxyz", "--fmax", "-1"], "`fmax` is -1.0 but must be positive"),
        (["--out", "x.extxyz", "--max-calls", "0"], "at least 1"),
        (["--out", "x.extxyz", "--arguments", "{"], "is not JSON"),
    ],
)
def test_mistakes_of_relax(call, slabs, words, says):
    code, _, complaint = call("relax", "slabs.extxyz", *STAND_IN, *words)
    assert code == 2 and says in complaint


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A campaign that has prepared itself, on the stand-in."""
    runs = tmp_path_factory.mktemp("runs")
    opened = open_campaign(load_config(TINY, [f"runs={runs}"]), StopRequest())
    problem = prepare(opened, Console(quiet=True))
    folder = opened.folder
    opened.close()
    return folder, problem


def test_grids_come_back_as_slabs_on_the_template(call, tmp_path, campaign):
    folder, problem = campaign
    # a grid fine enough to be read; the tiny campaign's own is coarse
    spec = GridSpec.for_window(problem.template, (16, 8, 16), ("O", "Ru"), 0.45)
    references = problem.references
    lattice = Crystal("Ru", references.a, references.c, references.u)
    seeds = list(seed_structures(lattice, "110", (1, 1), template_settings(load_config(TINY).surface)).values())
    free = [problem.template.free_part(atoms) for atoms in seeds]
    grids = densities(*pack(free, spec), spec).numpy()
    grids = np.concatenate([grids, np.zeros_like(grids[:1])])
    conditions = [{"energy_class": n} for n in range(len(grids))]
    write_grids(tmp_path / "grids.npz", grids, spec, conditions, problem.template.id)
    code, out, complaint = call("backmap", "grids.npz", "--run", folder, "--out", "read.extxyz", "--json")
    assert code == 0, complaint
    records = json.loads(out)
    assert [record["reason"] for record in records] == [None] * len(seeds) + ["empty_grid"]
    assert records[1]["condition"] == {"energy_class": 1}
    frames = ase.io.read(tmp_path / "read.extxyz", ":")
    assert len(frames) == len(seeds)
    for frame, seed in zip(frames, seeds, strict=True):
        assert frame.get_chemical_formula() == seed.get_chemical_formula()
        shift = frame.positions[:, None] - seed.positions[None]
        shift[..., :2] -= problem.template.cell[:2] * np.round(shift[..., :2] / problem.template.cell[:2])
        # half precision of the file, 5e-4 of a peak, moves an atom by less than a hundredth of an Å
        assert np.linalg.norm(shift, axis=-1).min(axis=1).max() < 0.01
        assert isinstance(frame.constraints[0], FixAtoms)
    assert call("backmap", "grids.npz", "--out", "alone.extxyz")[0] == 0
    alone = ase.io.read(tmp_path / "alone.extxyz", ":")
    assert len(alone[0]) == len(free[0][0]) and np.allclose(alone[0].cell.lengths(), spec.lengths)
    write_grids(tmp_path / "other.npz", grids, spec, conditions, "another")
    code, _, complaint = call("backmap", "other.npz", "--run", folder, "--out", "x.extxyz")
    assert code == 2 and "made for template another" in complaint


def test_files_of_grids_are_checked(call, tmp_path):
    spec = GridSpec((4, 4, 4), ("O",), 0.8, (0.0, 0.0, 0.0), (3.0, 3.0, 3.0))
    write_grids(tmp_path / "good.npz", np.zeros((2, 1, 4, 4, 4)), spec)
    assert read_grids(tmp_path / "good.npz").conditions == [{}, {}]
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:300])
    np.savez(tmp_path / "other.npz", grids=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", grids=np.array([{}], dtype=object))
    write_grids(tmp_path / "shape.npz", np.zeros((2, 1, 4, 4, 5)), spec)
    for name, says in (
        ("cut", "cannot be read"),
        ("other", "has no"),
        ("pickled", "cannot be read"),
        ("shape", "asks"),
    ):
        with pytest.raises(GridError, match=says):
            read_grids(tmp_path / f"{name}.npz")
        assert call("backmap", f"{name}.npz", "--out", "x.extxyz")[0] == 2
    assert call("backmap", "nowhere.npz", "--out", "x.extxyz")[0] == 2


@pytest.mark.parametrize(
    ("name", "file_format"),
    [("a.extxyz.xz", "extxyz"), ("POSCAR", "vasp"), ("CONTCAR_2", "vasp"), ("vasprun.xml", "vasp-xml"),
     ("OUTCAR", "vasp-out"), ("x.pwo", "espresso-out"), ("geometry.in", "aims"), ("a.db", "db")],
)  # fmt: skip
def test_formats_are_known_by_the_files_name(name, file_format):
    assert format_of(Path(name)) == file_format


def test_a_script_is_not_run_as_a_structure(call, tmp_path):
    """ASE takes a Python file for a structure, and runs it."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\natoms = None\n")
    for words in (["roundtrip", "evil.py"], ["relax", "evil.py", "--out", "x.extxyz"], ["diagram", "evil.py"]):
        code, _, complaint = call(*words)
        assert code == 2 and "unknown ending" in complaint
    assert not (tmp_path / "ran").exists()


def test_an_ase_json_database_is_read(call, tmp_path):
    ase.io.write(tmp_path / "bulk.json", Crystal().bulk())
    ase.io.write(tmp_path / "one.xsf", Atoms("O", cell=[4, 4, 4], pbc=True))
    assert call("roundtrip", "bulk.json", "one.xsf", "--shape", "24", "24", "24", "--sigma", "0.4", "--json")[0] == 0
