"""A fit is a pure function of data and settings, and meets the data it was made from."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from relax_structures import rutile

from relax.fitting.gap_fit import fit
from relax.fitting.pair_core import core_repulsion
from relax.fitting.settings import FitError, FitSettings
from relax.fitting.written_files import rename_by_content
from relax.labelling.frames import ENERGY_KEY, FORCES_KEY, data_hash
from relax.potential import check_files, gap_spec, species

SMALL = FitSettings(n_sparse={"O": 8, "Ru": 8}, n_max=4, l_max=2, pair_sparse=8)


def _labelled(calculator: Calculator) -> list[Atoms]:
    """Two isolated atoms and a few distorted crystals, labelled by the stand-in."""
    rng = np.random.default_rng(5)
    frames = [Atoms([symbol], cell=[9, 9, 9], pbc=True) for symbol in ("O", "Ru")]
    for frame in frames:
        frame.info["config_type"] = "isolated_atom"
    for _ in range(4):
        crystal = rutile()
        crystal.positions += rng.normal(0, 0.08, (len(crystal), 3))
        crystal.info["config_type"] = "bulk"
        frames.append(crystal)
    for frame in frames:
        measured = frame.copy()
        measured.calc = calculator
        frame.info[ENERGY_KEY] = float(measured.get_potential_energy())
        frame.arrays[FORCES_KEY] = measured.get_forces()
    return frames


def test_equal_data_and_settings_give_equal_files(analytic: Calculator, tmp_path: Path) -> None:
    data = _labelled(analytic)
    contents = []
    for name in ("one", "two"):
        xml = fit(data, SMALL, tmp_path / name)
        check_files(gap_spec(xml))
        contents.append({file.name: file.read_bytes() for file in xml.parent.iterdir()})
    assert contents[0] == contents[1]
    assert species(gap_spec(tmp_path / "one" / "gap.xml")) == ("O", "Ru")


def test_an_element_without_reference_or_sparse_points_is_named(analytic: Calculator, tmp_path: Path) -> None:
    data = _labelled(analytic)
    with pytest.raises(FitError, match="isolated_atom"):
        fit(data[1:], SMALL, tmp_path)
    with pytest.raises(FitError, match="Ru"):
        fit(data, FitSettings(n_sparse={"O": 8}), tmp_path)


def test_the_hash_of_data_follows_labels(analytic: Calculator) -> None:
    data = _labelled(analytic)
    before = data_hash(data)
    assert data_hash([frame.copy() for frame in data]) == before
    data[3].info[ENERGY_KEY] += 1e-4
    assert data_hash(data) != before


def test_names_lose_their_time_stamp(tmp_path: Path) -> None:
    label = "GAP_2026_1_2_0_3_4_5_678"
    written = b"1.23456789012345678901e-01\n"
    (tmp_path / f"gap.xml.sparseX.{label}1").write_bytes(written)
    (tmp_path / "gap.xml").write_text(
        f'<{label}><c sparseX_filename="gap.xml.sparseX.{label}1" md5="{hashlib.md5(written).hexdigest()}"/>'
        f"<command_line>x</command_line></{label}>"
    )
    files = rename_by_content(tmp_path / "gap.xml")
    kept = b"1.23456789012e-01\n"
    content_hash = hashlib.sha256(kept).hexdigest()[:16]
    assert list(files) == ["gap.xml", f"gap.xml.sparseX.{content_hash}"]
    assert b"2026" not in files["gap.xml"]
    assert files[f"gap.xml.sparseX.{content_hash}"] == kept
    assert hashlib.md5(kept).hexdigest().encode() in files["gap.xml"]


def test_the_core_is_repulsive_and_ends_smoothly() -> None:
    distances = np.linspace(0.3, 1.6, 200)
    energies = core_repulsion(8, 44, distances, cutoff=1.45)
    assert np.all(np.diff(energies) <= 0)
    assert np.all(energies[distances >= 1.45] == 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_fit_ends_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    endless = tmp_path / "gap_fit"
    told = f'echo $$ > "{tmp_path}/started"; mv "{tmp_path}/started" "{tmp_path}/pid"'
    endless.write_text(f"#!/bin/sh\n{told}\nexec sleep 300\n")
    endless.chmod(0o755)
    asking = f"""
from pathlib import Path
import relax.fitting.program as program
program.gap_fit_program = lambda: {str(endless)!r}
program.run_gap_fit([], Path({str(tmp_path)!r}))
"""
    with subprocess.Popen([sys.executable, "-c", asking]) as process:
        pid = tmp_path / "pid"
        wait_until(pid.exists)
        process.terminate()
    wait_until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


def wait_until(so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Fail if something does not become so, on a machine however busy."""
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        time.sleep(0.05)
