"""A GAP in machine code: the same energies as by quippy, and the laws that any potential obeys."""

import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from compiled_gap_in_process import by_both, by_machine_code, variance, when_they_disagree
from hypothesis import given
from hypothesis import strategies as st
from relax_structures import distorted_slab, rutile
from scipy.special import eval_legendre

from relax.compiled_gap.harmonics import spherical_harmonics
from relax.compiled_gap.parameters import NotCompilable, gap_parameters
from relax.potential import gap_spec

GAP = gap_spec("ruo2").path
L_MAX = 5


@pytest.fixture(scope="module")
def worker() -> Iterator[Callable[..., Any]]:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield lambda function, gap, *structures: pool.submit(
            function, {"gap": str(gap), "structures": structures}
        ).result(timeout=300)


def strained_bulk(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = rutile().repeat((1, 1, 2))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.03, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    return atoms


def scattered_slab(seed: int) -> Atoms:
    """With an atom outside of the cell and one that is alone."""
    atoms = distorted_slab(seed, 0.3)
    atoms.set_constraint()
    atoms.positions[-1] += 2 * atoms.cell[0] - atoms.cell[1]
    return atoms + Atoms("O", positions=[[1.0, 1.0, atoms.positions[:, 2].max() + 5.5]])


def pair(symbols: str, distance: float) -> Atoms:
    return Atoms(symbols, positions=[[0, 0, 0], [0, 0, distance]])


STRUCTURES = [
    *(strained_bulk(seed) for seed in (1, 2)),
    *(scattered_slab(seed) for seed in (1, 2)),
    *(pair(symbols, r) for symbols in ("O2", "RuO", "Ru2") for r in (0.9, 1.3, 1.9999, 2.0001, 3.9999, 4.4, 4.8, 5.5)),
    molecule("O3"),
    Atoms("Ru", cell=[3.0, 3.1, 3.2], pbc=True),
    Atoms("O2", positions=[[0, 0, 0], [1.2, 0, 0]], cell=[2.6, 2.7, 30.0], pbc=(True, True, False)),
]


def require_agreement(found: dict[str, Any]) -> None:
    for ours, theirs in zip(found["ours"], found["theirs"], strict=True):
        n_atoms = len(ours["forces"])
        assert ours["energy"] == pytest.approx(theirs["energy"], abs=2e-7 * n_atoms)
        largest = max(3.0, np.abs(theirs["forces"]).max())
        np.testing.assert_allclose(ours["forces"], theirs["forces"], atol=1e-5 * largest)
        if "stress" in theirs:
            np.testing.assert_allclose(ours["stress"], theirs["stress"], atol=1e-6 * largest)


def test_it_agrees_with_quippy(worker: Callable[..., Any]) -> None:
    found = worker(by_both, GAP, *STRUCTURES)
    assert found["evaluated_by"] == "machine code"
    require_agreement(found)


def test_other_powers_of_the_kernel_agree_too(worker: Callable[..., Any], tmp_path: Path) -> None:
    for file in Path(GAP).parent.glob("gap.xml*"):
        shutil.copy(file, tmp_path)
    xml = tmp_path / "gap.xml"
    xml.write_text(re.sub(r'zeta="2.0*"', 'zeta="3.0"', xml.read_text()))
    found = worker(by_both, xml, strained_bulk(1), scattered_slab(1))
    assert found["evaluated_by"] == "machine code"
    require_agreement(found)


def test_forces_are_the_slope_of_the_energy(worker: Callable[..., Any]) -> None:
    atoms, step = scattered_slab(3), 1e-4
    moved = []
    for axis in range(3):
        for sign in (1, -1):
            other = atoms.copy()
            other.positions[7, axis] += sign * step
            moved.append(other)
    found = worker(by_machine_code, GAP, atoms, *moved)
    energies = np.array([answer["energy"] for answer in found[1:]]).reshape(3, 2)
    np.testing.assert_allclose(found[0]["forces"][7], -(energies[:, 0] - energies[:, 1]) / (2 * step), atol=2e-5)
    np.testing.assert_allclose(found[0]["forces"].sum(axis=0), 0.0, atol=1e-9)


def test_stress_is_the_slope_by_strain(worker: Callable[..., Any]) -> None:
    atoms, step = strained_bulk(3), 1e-5
    strained = []
    for sign in (1, -1):
        strain = np.eye(3)
        strain[0, 1] = strain[1, 0] = sign * step / 2
        strain[2, 2] += sign * step
        other = atoms.copy()
        other.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        strained.append(other)
    found = worker(by_machine_code, GAP, atoms, *strained)
    slope = (found[1]["energy"] - found[2]["energy"]) / (2 * step) / atoms.get_volume()
    assert found[0]["stress"][2] + found[0]["stress"][5] == pytest.approx(slope, abs=1e-5)


def test_it_does_not_see_where_and_in_which_order_atoms_are_told(worker: Callable[..., Any]) -> None:
    atoms = scattered_slab(4)
    moved = atoms.copy()
    moved.positions += [13.7, -4.2, 0.3]
    turned = atoms.copy()
    turned.rotate(90, "z", rotate_cell=True)
    order = np.random.default_rng(0).permutation(len(atoms))
    one, *same, twice = worker(by_machine_code, GAP, atoms, moved, turned, atoms[order], atoms.repeat((2, 1, 1)))
    for other in same:
        assert other["energy"] == pytest.approx(one["energy"], abs=1e-8)
    assert twice["energy"] == pytest.approx(2 * one["energy"], abs=1e-8)
    np.testing.assert_allclose(same[2]["forces"], one["forces"][order], atol=1e-8)


def test_quippy_evaluates_where_they_disagree(worker: Callable[..., Any]) -> None:
    slab = distorted_slab(1)
    found = worker(when_they_disagree, GAP, slab)
    assert found["evaluated_by"].startswith("quippy, as machine code differs from it by")
    (ours,) = worker(by_machine_code, GAP, slab)
    assert found["energy"] == pytest.approx(ours["energy"], abs=1e-6)


def test_quippy_evaluates_what_machine_code_does_not_know(worker: Callable[..., Any], tmp_path: Path) -> None:
    for file in Path(GAP).parent.glob("gap.xml*"):
        shutil.copy(file, tmp_path)
    xml = tmp_path / "gap.xml"
    xml.write_text(xml.read_text().replace('zeta="2.0000000000000000"', 'zeta="1.5000000000000000"'))
    found = worker(by_both, xml, distorted_slab(1))
    assert found["evaluated_by"] == "quippy, as its soap_turbo term has no kernel of a whole power"
    assert found["ours"][0]["energy"] == found["theirs"][0]["energy"]


@pytest.mark.parametrize(
    ("told", "instead", "complaint"),
    [
        ("rcut_soft=", "rcut_other=", "its files are not as expected"),
        ("atom_sigma_r={", "atom_sigma_r={9.5 ", "its soap_turbo term has several values of atom_sigma_r"),
    ],
)
def test_settings_that_are_not_understood_are_no_machine_code(told: str, instead: str, complaint: str) -> None:
    root = ElementTree.parse(GAP).getroot()
    assert gap_parameters(root, Path(GAP).parent).soaps
    term = next(t for t in root.iter("descriptor") if told in (t.text or ""))
    term.text = str(term.text).replace(told, instead)
    with pytest.raises(NotCompilable, match=complaint):
        gap_parameters(root, Path(GAP).parent)


def test_variances_come_from_quippy_and_change_no_energy(worker: Callable[..., Any]) -> None:
    slab = distorted_slab(1)
    found = worker(variance, GAP, slab)
    assert found["before"] == found["after"]
    assert found["variances"].shape == (len(slab),)
    assert (found["variances"] > 0).all()


directions = st.tuples(st.floats(0, 2 * np.pi), st.floats(-1, 1)).map(
    lambda angles: np.array(
        [
            np.sqrt(1 - angles[1] ** 2) * np.cos(angles[0]),
            np.sqrt(1 - angles[1] ** 2) * np.sin(angles[0]),
            angles[1],
        ]
    )
)


def harmonics(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, slopes = np.zeros((L_MAX + 1) ** 2), np.zeros(((L_MAX + 1) ** 2, 3))
    spherical_harmonics(*direction, values, slopes)
    return values, slopes


@given(directions, directions)
def test_the_addition_theorem(one: np.ndarray, other: np.ndarray) -> None:
    product = harmonics(one)[0] * harmonics(other)[0]
    for degree in range(L_MAX + 1):
        expected = eval_legendre(degree, np.clip(one @ other, -1, 1))
        assert product[degree**2 : (degree + 1) ** 2].sum() == pytest.approx(expected, abs=1e-12)


@given(directions)
def test_harmonics_slopes_are_tangential_and_right(direction: np.ndarray) -> None:
    _, slopes = harmonics(direction)
    np.testing.assert_allclose(slopes @ direction, 0.0, atol=1e-12)
    step = 1e-6
    for axis in range(3):
        ahead, behind = direction.copy(), direction.copy()
        ahead[axis] += step
        behind[axis] -= step
        difference = harmonics(ahead / np.linalg.norm(ahead))[0] - harmonics(behind / np.linalg.norm(behind))[0]
        np.testing.assert_allclose(slopes[:, axis], difference / (2 * step), atol=1e-8)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_code_that_was_just_compiled_answers_to_the_bit_like_the_same_code_out_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    found = []
    for _ in range(2):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found.append(pool.submit(by_machine_code, {"gap": str(GAP), "structures": STRUCTURES}).result(timeout=300))
    assert list(tmp_path.rglob("*.nbc"))
    for compiled, cached in zip(*found, strict=True):
        assert all(np.array_equal(compiled[name], cached[name]) for name in compiled)
