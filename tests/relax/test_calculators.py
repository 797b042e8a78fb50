"""Potentials by import path: any ASE calculator relaxes as the shipped potential does."""

import importlib.util
import os
import subprocess

import numpy as np
import pytest
from ase.build import fcc111
from ase.constraints import FixAtoms
from relax_structures import distorted_slab, payload, rutile

from relax.potential import PotentialSpec, build_calculator
from relax.references import bulk_reference
from relax.relaxation import relax
from relax.relaxation_settings import OPTIMISERS, RelaxationSettings
from relax.worker import relax_task

EMT = PotentialSpec("calculator", import_path="ase.calculators.emt:EMT")
SEVENNET = PotentialSpec(
    "calculator", import_path="sevenn.calculator:SevenNetCalculator", arguments={"model": "7net-0", "device": "cpu"}
)


def copper_slab(seed: int = 0, repeats: int = 2) -> "fcc111":
    slab = fcc111("Cu", (repeats, repeats, 3), vacuum=6.0, orthogonal=repeats % 2 == 0)
    slab.pbc = (True, True, False)
    frozen = np.flatnonzero(slab.positions[:, 2] < slab.positions[:, 2].min() + 1.0)
    slab.set_constraint(FixAtoms(frozen))
    free = np.setdiff1d(np.arange(len(slab)), frozen)
    slab.positions[free] += np.random.default_rng(seed).normal(0, 0.1, (len(free), 3))
    return slab


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_optimiser_finds_the_one_minimum_and_leaves_frozen_atoms(optimiser: str) -> None:
    atoms = copper_slab()
    settings = RelaxationSettings(fmax=0.01, max_calls=300, optimiser=optimiser, push_apart={})
    result = relax(atoms, build_calculator(EMT), settings)
    best = relax(atoms, build_calculator(EMT), RelaxationSettings(fmax=0.01, max_calls=300, push_apart={}))
    assert result.converged
    frozen = atoms.constraints[0].index
    np.testing.assert_array_equal(result.positions[frozen], atoms.positions[frozen])
    # eV: at 0.01 eV/Å and a softest mode of 1 eV/Å² an atom is at most (0.01)²/2 above the minimum
    assert result.energy == pytest.approx(best.energy, abs=len(atoms) * 5e-5)


def test_a_relaxation_by_emt_passes_the_worker() -> None:
    answer = relax_task(payload(copper_slab(), EMT.as_dict(), settings={"fmax": 0.05}))
    assert answer["converged"] and answer["max_force"] <= 0.05


def test_a_model_hessian_saves_force_calls() -> None:
    """The reason for it: a stiff bond and a soft one in one structure."""
    calculator = build_calculator(PotentialSpec("calculator", import_path="relax.analytic:AnalyticRuO"))
    calls = {
        name: sum(
            relax(distorted_slab(seed), calculator, RelaxationSettings(fmax=0.02, optimiser=name)).force_calls
            for seed in range(2)
        )
        for name in ("bfgs", "fire")
    }
    assert calls["bfgs"] < calls["fire"] / 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # a network's package says what it would like to have installed
def test_a_trained_network_as_potential(tmp_path) -> None:
    if importlib.util.find_spec("sevenn") is None:
        pytest.skip("the extra `label` (sevenn) is not installed")
    references = bulk_reference(SEVENNET, rutile(), cache=tmp_path)
    # Å: PBE 4.52 and 3.12; the network, trained on PBE, is known to be within 1 %
    assert references.a == pytest.approx(4.52, rel=0.01) and references.c == pytest.approx(3.12, rel=0.01)
    result = relax(distorted_slab(seed=1), build_calculator(SEVENNET), RelaxationSettings(max_calls=60))
    assert result.converged and result.force_calls <= 60


@pytest.mark.slow
def test_a_real_dft_code_as_potential() -> None:
    if importlib.util.find_spec("relax.gpaw_process") is None:
        pytest.skip("relax/gpaw_process.py, the calculator that reaches GPAW, is not there")
    python = os.environ.get("GPAW_PYTHON", "/usr/bin/python3")
    if subprocess.run([python, "-c", "import gpaw"], capture_output=True, check=False).returncode:
        pytest.skip(f"{python} has no gpaw; install it or set GPAW_PYTHON")
    spec = PotentialSpec(
        "calculator",
        import_path="relax.gpaw_process:GpawProcess",
        arguments={"cutoff": 250.0, "kpoint_length": 3.0, "python": python},
    )
    stretched = rutile()
    stretched.positions[2] += [0.1, 0.0, 0.0]
    result = relax(stretched, build_calculator(spec), RelaxationSettings(fmax=1.5, max_calls=4, push_apart={}))
    assert np.isfinite(result.energy) and result.force_calls >= 2
    assert result.energy <= result.path_energies[0]
