"""Laws of a potential's identity, and the traps in its files, which must be refused before they are loaded."""

import shutil
from pathlib import Path

import pytest
from ase import Atoms
from relax_structures import distorted_slab

from relax.potential import (
    CountingCalculator,
    PotentialError,
    PotentialSpec,
    build_calculator,
    check_files,
    gap_spec,
    potential_hash,
    sparse_files,
    species,
)


@pytest.fixture
def gap_copy(tmp_path: Path) -> Path:
    """The shipped potential in a folder of its own."""
    shipped = Path(gap_spec("ruo2").path).parent
    for file in shipped.glob("gap.xml*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "gap.xml"


def test_the_shipped_potential_is_whole() -> None:
    spec = gap_spec("ruo2")
    check_files(spec)
    assert species(spec) == ("O", "Ru")
    assert sum(file.stat().st_size for file in Path(spec.path).parent.glob("gap.xml*")) <= 15_000_000


def test_the_hash_is_of_contents_not_of_place(gap_copy: Path) -> None:
    assert potential_hash(gap_spec(gap_copy)) == potential_hash(gap_spec("ruo2"))


def test_an_altered_sparse_file_changes_the_hash(gap_copy: Path) -> None:
    before = potential_hash(gap_spec(gap_copy))
    sparse = gap_copy.parent / sparse_files(gap_spec(gap_copy))[0]
    content = bytearray(sparse.read_bytes())
    content[-3] ^= 1
    sparse.write_bytes(content)
    assert potential_hash(gap_spec(gap_copy)) != before


def test_a_missing_sparse_file_is_named(gap_copy: Path) -> None:
    name = sparse_files(gap_spec(gap_copy))[0]
    (gap_copy.parent / name).unlink()
    with pytest.raises(PotentialError, match=name):
        check_files(gap_spec(gap_copy))


def test_a_truncated_xml_is_refused_before_it_is_loaded(gap_copy: Path) -> None:
    content = gap_copy.read_bytes()
    gap_copy.write_bytes(content[: len(content) // 2])
    with pytest.raises(PotentialError, match="truncated"):
        build_calculator(gap_spec(gap_copy))


@pytest.mark.fault(24, "a potential's XML with entities", "refused before it is parsed")
@pytest.mark.parametrize(("encoding", "says"), [("utf-8", "ENTITY"), ("utf-16", "UTF-8")])
def test_entities_are_refused_before_they_are_parsed(gap_copy: Path, encoding: str, says: str) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]>\n'
    gap_copy.write_bytes((bomb + gap_copy.read_text()).encode(encoding))
    with pytest.raises(PotentialError, match=says):
        build_calculator(gap_spec(gap_copy))


def test_a_sparse_file_elsewhere_is_refused(gap_copy: Path) -> None:
    name = sparse_files(gap_spec(gap_copy))[0]
    gap_copy.write_text(gap_copy.read_text().replace(name, f"../{name}"))
    with pytest.raises(PotentialError, match="beside"):
        check_files(gap_spec(gap_copy))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (gap_spec("no/such/gap.xml"), "does not exist"),
        (PotentialSpec("calculator", import_path="relax.analytic"), "module:Callable"),
        (PotentialSpec("calculator", import_path="no_such_package:Potential"), "no_such_package"),
        (PotentialSpec("calculator", import_path="relax.analytic:Absent"), "Absent"),
    ],
)
def test_a_potential_that_is_not_there_is_named(spec: PotentialSpec, words: str) -> None:
    with pytest.raises(PotentialError, match=words):
        check_files(spec)


def test_the_hash_of_a_calculator_follows_its_arguments() -> None:
    one = PotentialSpec("calculator", import_path="ase.calculators.lj:LennardJones", arguments={"sigma": 1.0})
    two = PotentialSpec("calculator", import_path="ase.calculators.lj:LennardJones", arguments={"sigma": 1.1})
    assert potential_hash(one) == potential_hash(PotentialSpec(**one.as_dict()))
    assert potential_hash(one) != potential_hash(two)


def test_asking_twice_counts_once(analytic: CountingCalculator) -> None:
    atoms: Atoms = distorted_slab(seed=1)
    atoms.calc = analytic
    atoms.get_potential_energy()
    atoms.get_forces()
    assert analytic.force_calls == 1
    atoms.positions[-1, 2] += 0.1
    atoms.get_forces()
    assert analytic.force_calls == 2


def test_only_a_gap_knows_its_variance(analytic: CountingCalculator) -> None:
    with pytest.raises(PotentialError, match="local_gap_variance"):
        analytic.local_variance(distorted_slab(seed=1))
