"""`searcher roundtrip`: what it says about a grid is true, and every bad input ends with one line."""

import json
from functools import partial

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene
from ase.constraints import FixAtoms

from searcher.structures.crystal import Crystal
from searcher.structures.templates import TemplateSettings, seed_structures

FIGURES = ("structures", "atoms", "recall", "precision", "rmsd", "max_error", "refused", "seconds")


@pytest.fixture
def call(call):
    return partial(call, "roundtrip")


@pytest.fixture
def terminations(tmp_path):
    """Rattled terminations of (110) and (101) in a cell that 32 points along z resolve."""
    rng = np.random.default_rng(0)
    structures = []
    for facet in ("110", "101"):
        structures += seed_structures(Crystal(), facet, (1, 2), TemplateSettings(vacuum=6.0)).values()
    for atoms in structures:
        atoms.positions += rng.normal(0.0, 0.05, atoms.positions.shape)
    ase.io.write(tmp_path / "terminations.extxyz", structures)
    return structures


def test_a_fine_grid_loses_nothing(call, terminations):
    code, out, _ = call("terminations.extxyz", "--shape", 32, 32, 32, "--sigma", 0.45, "--json")
    figures = json.loads(out)
    assert code == 0 and set(FIGURES) <= set(figures)
    assert figures["structures"] == len(terminations)
    assert figures["atoms"] == sum(map(len, terminations))
    assert (figures["recall"], figures["precision"], figures["refused"]) == (1.0, 1.0, 0)
    assert figures["rmsd"] <= figures["max_error"] <= 1e-6
    code, out, _ = call("terminations.extxyz", "--shape", 32, 32, 32, "--sigma", 0.45)
    assert code == 0 and "0 refused" in out and "all" in out


def test_a_window_holds_the_free_atoms(call, terminations, tmp_path):
    words = ("terminations.extxyz", "--window", "--shape", 16, 16, 16, "--sigma", 0.4, "--json")
    code, out, complaint = call(*words, "--noise", 0.02)
    figures = json.loads(out)
    n_free = sum(len(atoms) - len(atoms.constraints[0].index) for atoms in terminations)
    assert (code, figures["atoms"], figures["recall"], complaint) == (0, n_free, 1.0, "")
    assert 1e-3 < figures["rmsd"] < 0.02
    assert json.loads(call(*words, "--noise", 0.02)[1])["rmsd"] == figures["rmsd"]
    assert json.loads(call(*words, "--noise", 0.02, "--seed", 1)[1])["rmsd"] != figures["rmsd"]
    free = terminations[0].copy()
    free.set_constraint()
    ase.io.write(tmp_path / "free.cif", free)
    code, out, complaint = call("free.cif", *words[1:], "--shape", 16, 16, 32)
    assert code == 0 and "no fixed atoms" in complaint
    assert json.loads(out)["atoms"] == len(free)


def test_a_coarse_grid_is_refused_with_what_would_do(call, terminations):
    words = ("terminations.extxyz", "--shape", 32, 32, 12, "--sigma", 0.5, "--json")
    code, out, complaint = call(*words)
    assert code == 2
    for needed in ("voxel", "along z is above 0.6 Å", "`sigma` 0.500 Å", "closest pair", "would do", "--allow-coarse"):
        assert needed in complaint
    figures = json.loads(out)
    assert figures["refused"] == figures["structures"] and figures["recall"] is None
    code, out, complaint = call(*words, "--allow-coarse")
    assert code == 0 and "cannot tell atoms apart" in complaint
    assert json.loads(out)["refused"] == 0 and json.loads(out)["allow_coarse"]


def test_a_close_pair_is_refused_beside_others_that_are_not(call, tmp_path):
    apart = Atoms("O2", positions=[[1, 1, 1], [4, 4, 4]], cell=[6, 6, 6], pbc=True)
    molecule = Atoms("O2", positions=[[1, 1, 1], [1, 1, 2.2]], cell=[6, 6, 6], pbc=True)
    ase.io.write(tmp_path / "both.extxyz", [apart, molecule])
    code, out, complaint = call("both.extxyz", "--shape", 16, 16, 16, "--sigma", 0.5, "--json")
    assert code == 0 and json.loads(out)["refused"] == 1 and json.loads(out)["atoms"] == 2
    assert "closest pair, 1.200 Å" in complaint and "`sigma` 0.300 Å would do" in complaint


def test_other_cells_become_orthogonal_ones(call, tmp_path):
    ase.io.write(tmp_path / "graphene.extxyz", graphene(vacuum=4.0))
    code, out, complaint = call("graphene.extxyz", "--sigma", 0.3, "--json")
    assert code == 0 and "supercell of 4 atoms" in complaint
    assert json.loads(out)["max_error"] < 1e-6


def test_less_vacuum_makes_a_grid_fine_enough(call, terminations):
    words = ("terminations.extxyz", "--shape", 32, 32, 24, "--sigma", 0.5, "--json")
    assert json.loads(call(*words)[1])["refused"] > 0
    code, out, _ = call(*words, "--vacuum", 3.0)
    assert (code, json.loads(out)["refused"], json.loads(out)["recall"]) == (0, 0, 1.0)
    n_atoms = json.loads(call(*words, "--vacuum", 3.0, "--square")[1])["atoms"]
    assert n_atoms >= json.loads(out)["atoms"]


def test_the_picture_shows_the_worst(call, terminations, tmp_path):
    words = ("--window", "--shape", 16, 16, 16, "--sigma", 0.4, "--noise", 0.05)
    assert call("terminations.extxyz", *words, "--picture", "worst.png")[0] == 0
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")


BAD = {
    "nan.extxyz": Atoms("O", positions=[[np.nan, 0, 0]], cell=[4, 4, 4], pbc=True),
    "molecule.xyz": Atoms("O", positions=[[0, 0, 0]]),
    "dummy.extxyz": Atoms("XO", positions=[[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True),
    "graphene.extxyz": graphene(vacuum=4.0),
    "fixed.extxyz": Atoms("O", cell=[4, 4, 4], pbc=True, constraint=FixAtoms([0])),
    "good.extxyz": Crystal().bulk(),
}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nan.extxyz"], "no numbers"),
        (["molecule.xyz"], "is it a molecule"),
        (["dummy.extxyz"], "chemical elements"),
        (["graphene.extxyz", "--window"], "orthorhombic"),
        (["fixed.extxyz", "--window"], "no free atom"),
        (["nowhere.cif"], "does not exist"),
        (["empty.extxyz"], "0 bytes"),
        (["junk.foo"], "unknown ending"),
        (["good.extxyz", "--shape", "0", "8", "8"], "`--shape`"),
        (["good.extxyz", "--shape", "9999", "9999", "9999"], "1 to 256"),
        (["good.extxyz", "--sigma", "-1"], "`sigma` is -1.0 Å"),
        (["good.extxyz", "--sigma", "nan"], "`sigma` is nan Å"),
        (["good.extxyz", "--noise", "5"], "5 % is 0.05"),
        (["good.extxyz", "--vacuum", "12"], "is this a slab"),
        (["good.extxyz", "--picture", "nowhere/x.png"], "`nowhere/x.png`"),
    ],
)
def test_bad_input_ends_with_one_line(call, tmp_path, words, says):
    for name, atoms in BAD.items():
        ase.io.write(tmp_path / name, atoms)
    (tmp_path / "empty.extxyz").touch()
    (tmp_path / "junk.foo").write_text("no structure")
    code, _, complaint = call(*words, *([] if "--shape" in words else ["--shape", "12", "12", "12"]))
    assert (code, len(complaint.strip().splitlines())) == (2, 1), complaint
    assert says in complaint and "Traceback" not in complaint
