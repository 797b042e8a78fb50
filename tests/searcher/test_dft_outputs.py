"""Outputs that DFT codes themselves wrote, through `searcher import`."""

import re
import shutil
import subprocess
from pathlib import Path

import ase.test
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read
from ase.test.fio.test_espresso import pw_output_text
from results_campaign import build_campaign

from searcher.errors import InputError
from searcher.results.dft_inputs import Job, write_jobs
from searcher.results.dft_results import import_results
from searcher.structures.crystal import Crystal

OUTPUTS = Path(ase.test.__file__).parent / "testdata" / "vasp"
"""ASE's own package holds files that VASP wrote"""
DIAMOND = bulk("C", "diamond", a=3.57)
GPAW_PYTHON = "/usr/bin/python3"


def has_gpaw():
    if not Path(GPAW_PYTHON).exists():
        return False
    return subprocess.run([GPAW_PYTHON, "-c", "import gpaw"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "invented"
    return folder, build_campaign(folder, iterations=1, per_arm=6)


def job_of(tmp_path, code, atoms, name="reference-bulk"):
    write_jobs(tmp_path, code, {name: (Job("bulk", "bulk", name), atoms)}, {}, 6.0)
    return tmp_path / name


def imported(campaign, folder, label):
    import_results(campaign[0], [folder], label)
    (result,) = campaign[1].fact("dft")[label]["results"]
    return result


def test_vasps_own_file_is_read(campaign, tmp_path):
    from pymatgen.io.vasp.outputs import Vasprun

    folder = job_of(tmp_path, "vasp", DIAMOND)
    source = OUTPUTS / "vasprun_pstress.xml"
    shutil.copy(source, folder / "vasprun.xml")
    result = imported(campaign, tmp_path, "finished")
    found = Vasprun(source, parse_potcar_file=False, parse_dos=False, parse_eigen=False)
    assert (result["state"], result["counts"], result["code"]) == ("done", {"C": 2}, "vasp")
    # without smearing the free energy and the energy of σ → 0 are 7 meV apart; VASP writes eight digits
    last = found.ionic_steps[-1]["electronic_steps"][-1]
    assert result["energy"] in (
        pytest.approx(last["e_0_energy"], abs=1e-7),
        pytest.approx(last["e_wo_entrp"], abs=1e-7),
    )
    assert result["fmax"] == pytest.approx(np.linalg.norm(found.ionic_steps[-1]["forces"], axis=1).max(), abs=1e-9)


def test_vasps_own_file_cut_short_is_still_running(campaign, tmp_path):
    folder = job_of(tmp_path, "vasp", DIAMOND)
    text = (OUTPUTS / "vasprun_pstress.xml").read_text(encoding="iso-8859-1")
    (folder / "vasprun.xml").write_text(text[: len(text) // 2], encoding="iso-8859-1")
    assert imported(campaign, tmp_path, "cut")["state"] == "running"


def test_electrons_that_did_not_converge_are_a_failure(campaign, tmp_path):
    folder = job_of(tmp_path, "vasp", DIAMOND)
    text = (OUTPUTS / "vasprun_pstress.xml").read_text(encoding="iso-8859-1")
    steps = text.rpartition("<calculation>")[2].count("<scstep>")
    few, count = re.subn(r'(<i type="int" name="NELM">\s*)\d+', rf"\g<1>{steps}", text)
    assert count == 1 and steps > 1
    (folder / "vasprun.xml").write_text(few, encoding="iso-8859-1")
    assert imported(campaign, tmp_path, "unconverged")["state"] == "failed"


def test_an_outcar_is_done_when_vasp_says_so(campaign, tmp_path):
    source = OUTPUTS / "OUTCAR_example_1"
    atoms = read(source, format="vasp-out", index=-1)
    folder = job_of(tmp_path, "vasp", atoms)
    text = source.read_text()
    (folder / "OUTCAR").write_text(text.partition("General timing")[0])
    assert imported(campaign, tmp_path, "outcar")["state"] == "running"
    (folder / "OUTCAR").write_text(text)
    result = imported(campaign, tmp_path, "outcar")
    assert (result["state"], result["counts"]) == ("done", {"Ni": 18})
    assert result["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)


def test_the_wrong_file_is_refused(campaign, tmp_path):
    folder = job_of(tmp_path, "vasp", Crystal().bulk())
    shutil.copy(OUTPUTS / "vasprun_pstress.xml", folder / "vasprun.xml")
    with pytest.raises(InputError, match="holds C2 but its input was O4Ru2"):
        import_results(campaign[0], [tmp_path], "wrong")


def test_quantum_espressos_own_text_is_read(campaign, tmp_path):
    (tmp_path / "whole.pwo").write_text(pw_output_text)
    atoms = read(tmp_path / "whole.pwo", index=-1, format="espresso-out")
    folder = job_of(tmp_path / "jobs", "espresso", Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True))
    states = {}
    for ending in ("", "\n     convergence NOT achieved after 100 iterations: stopping\n", "\n   JOB DONE.\n"):
        (folder / "espresso.pwo").write_text(pw_output_text + ending)
        states[ending.strip()] = imported(campaign, tmp_path / "jobs", ending.strip() or "open")
    assert [one["state"] for one in states.values()] == ["running", "failed", "done"]
    done = states["JOB DONE."]
    last = re.findall(r"^!\s+total energy\s+=\s+(-[\d.]+) Ry", pw_output_text, re.MULTILINE)[-1]
    assert done["energy"] == pytest.approx(13.605693 * float(last), rel=1e-6)  # Ry, CODATA to seven digits
    assert done["n_atoms"] == len(atoms) == 3


@pytest.mark.slow
@pytest.mark.skipif(not has_gpaw(), reason=f"{GPAW_PYTHON} has no gpaw")
def test_gpaw_runs_an_exported_script_and_its_result_is_read(campaign, tmp_path):
    folder = job_of(tmp_path, "gpaw", bulk("Al", "fcc", a=4.05))
    ran = subprocess.run(
        [GPAW_PYTHON, "run.py"], cwd=folder, capture_output=True, text=True, timeout=600, check=False,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    result = imported(campaign, tmp_path, "GPAW")
    assert (result["state"], result["counts"], result["code"]) == ("done", {"Al": 1}, "gpaw")
    told = (folder / "gpaw.txt").read_text()
    extrapolated = float(re.findall(r"^Extrapolated:\s+(-?[\d.]+)", told, re.MULTILINE)[-1])
    assert result["energy"] == pytest.approx(extrapolated, abs=1e-4)  # gpaw.txt has six digits
    assert result["fmax"] < 0.01  # one atom in a cubic cell feels none
