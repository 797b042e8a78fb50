"""The tasks that run in worker processes: plain values in, plain values out.

A faulty candidate comes back with a reason code. A faulty set-up (no such potential, wrong settings) raises. Only an
answer that comes back counts as success: the GAP's library can end a process with exit code 0 and no exception.
"""

import os

# The GAP library and numpy read it when they are loaded; one task has one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from relax.checks import ENERGY_NOT_FINITE, check_input, check_output
from relax.dynamics import DynamicsSettings, shake
from relax.potential import CountingCalculator, PotentialSpec, build_calculator, file_stamp, potential_hash, species
from relax.references import measure_references
from relax.relaxation import StopCriterion, relax
from relax.relaxation_settings import relaxation_settings
from relax.vibrations import einstein_energies

_built: dict[tuple[object, ...], tuple[CountingCalculator, str]] = {}
"""This process's potentials and their hashes, by what tells their files from others; the oldest gives way."""
KEPT_POTENTIALS = 2
"""A campaign's and the one that its proposals are relaxed by first"""


def relax_task(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Relax one structure.

    Parameters
    ----------
    payload : mapping
        ``potential`` (`PotentialSpec.as_dict`), ``numbers`` (n_atoms,), ``positions`` (n_atoms, 3) in Å, ``cell``
        (3, 3) in Å, ``pbc`` (3,), ``frozen`` (n_frozen,) indices; optional: ``settings`` (`RelaxationSettings` as a
        dictionary), ``criteria`` (list of {``import_path``, ``arguments``} whose call returns a `StopCriterion`),
        ``variance`` (true: also the GAP's `local_gap_variance` of the final structure).

    Returns
    -------
    dict
        The fields of `relax.relaxation.RelaxationResult` and ``potential_hash``; with ``variance`` also
        ``local_variance`` (n_atoms,) in eV², absent if nothing was evaluated.

    Raises
    ------
    ValueError
        For a faulty set-up.
    """
    spec, calculator, digest = _potential(payload)
    settings = relaxation_settings(payload.get("settings", {}))
    criteria = [stop_criterion(one) for one in payload.get("criteria", ())]
    atoms = _atoms(payload)
    result = relax(atoms, calculator, settings, criteria, species(spec))
    answer = {**vars(result), "potential_hash": digest}
    if payload.get("variance") and np.isfinite(result.energy):
        atoms.positions = result.positions
        answer["local_variance"] = calculator.local_variance(atoms)
    return answer


def evaluate_task(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Energies and forces of structures as they are.

    Parameters
    ----------
    payload : mapping
        ``potential`` and ``structures``, a list of mappings with ``numbers``, ``positions``, ``cell`` and ``pbc`` as
        for `relax_task`; optional: ``variance`` (true: also the GAP's `local_gap_variance`).

    Returns
    -------
    dict
        ``energies`` (n,) in eV with NaN where there is none, ``forces`` (list of (n_atoms, 3), eV/Å), ``reasons`` (list
        of reason codes or None), ``force_calls`` and ``potential_hash``; with ``variance`` also ``local_variances``
        (list of (n_atoms,), eV², NaN where there is no energy).

    Raises
    ------
    ValueError
        For a faulty set-up.
    """
    spec, calculator, digest = _potential(payload)
    energies, all_forces, reasons, variances = [], [], [], []
    before = calculator.force_calls
    for structure in payload["structures"]:
        atoms = _atoms(structure)
        energy, forces = np.nan, np.full((len(atoms), 3), np.nan)
        reason = check_input(atoms, species(spec))
        if reason is None:
            atoms.calc = calculator
            energy, forces = float(atoms.get_potential_energy()), atoms.get_forces(apply_constraint=False)
            reason = check_output(energy, forces)
        energies.append(energy)
        all_forces.append(forces)
        reasons.append(reason)
        if payload.get("variance"):
            variances.append(np.full(len(atoms), np.nan) if reason else calculator.local_variance(atoms))
    answer = {
        "energies": np.array(energies),
        "forces": all_forces,
        "reasons": reasons,
        "force_calls": calculator.force_calls - before,
        "potential_hash": digest,
    }
    return {**answer, "local_variances": variances} if payload.get("variance") else answer


def dynamics_task(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Shake one structure at a temperature and let it come to rest.

    Parameters
    ----------
    payload : mapping
        As for `relax_task`, with ``dynamics`` (`DynamicsSettings` as a dictionary) and ``seed``.

    Returns
    -------
    dict
        The fields of `relax.dynamics.DynamicsResult` and ``potential_hash``.

    Raises
    ------
    ValueError
        For a faulty set-up.
    """
    spec, calculator, digest = _potential(payload)
    result = shake(
        _atoms(payload),
        calculator,
        DynamicsSettings(**payload["dynamics"]),
        relaxation_settings(payload.get("settings", {})),
        np.random.default_rng(payload["seed"]),
        species(spec),
    )
    return {**vars(result), "potential_hash": digest}


def vibrations_task(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Vibrations of single atoms of one structure.

    Parameters
    ----------
    payload : mapping
        ``potential``, the structure as for `relax_task`, and ``indices`` of the atoms that swing.

    Returns
    -------
    dict
        ``energies`` (n, 3) in eV as `relax.vibrations.einstein_energies` gives them, NaN where ``reason``, a code of
        `relax.checks` or None, says why; ``force_calls`` and ``potential_hash``.

    Raises
    ------
    ValueError
        For a faulty set-up.
    """
    spec, calculator, digest = _potential(payload)
    atoms, indices, before = _atoms(payload), np.asarray(payload["indices"], dtype=int), calculator.force_calls
    reason = check_input(atoms, species(spec))
    energies = np.full((len(indices), 3), np.nan)
    if reason is None:
        energies = einstein_energies(atoms, indices, calculator)
        reason = None if np.isfinite(energies).all() else ENERGY_NOT_FINITE
    calls = calculator.force_calls - before
    return {"energies": energies, "reason": reason, "force_calls": calls, "potential_hash": digest}


def reference_task(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Energies of crystal, metal and molecule by the same potential.

    Parameters
    ----------
    payload : mapping
        ``potential``, ``bulk`` (a mapping with ``numbers``, ``positions``, ``cell`` and ``pbc``) and
        ``metal_structure`` as `ase.build.bulk` names it.

    Returns
    -------
    dict
        The fields of `relax.references.References`.

    Raises
    ------
    ValueError
        If the potential cannot be made or a relaxation does not converge.
    """
    _, calculator, digest = _potential(payload)
    bulk, metal_structure = _atoms(payload["bulk"]), payload["metal_structure"]
    return asdict(measure_references(calculator, digest, bulk, metal_structure))


def plain_arrays(atoms: Atoms) -> dict[str, Any]:
    """A structure as the values of a payload that say what it is: ``numbers``, ``positions``, ``cell``, ``pbc``."""
    return {
        "numbers": np.asarray(atoms.numbers),
        "positions": np.asarray(atoms.positions),
        "cell": np.asarray(atoms.cell.array),
        "pbc": [bool(axis) for axis in atoms.pbc],
    }


def _potential(payload: Mapping[str, Any]) -> tuple[PotentialSpec, CountingCalculator, str]:
    spec = PotentialSpec(**payload["potential"])
    stamp = file_stamp(spec)
    if stamp not in _built:
        digest = potential_hash(spec)
        while len(_built) >= KEPT_POTENTIALS:
            _built.pop(next(iter(_built)))
        _built[stamp] = build_calculator(spec), digest
    return spec, *_built[stamp]


def _atoms(payload: Mapping[str, Any]) -> Atoms:
    atoms = Atoms(
        numbers=np.asarray(payload["numbers"], dtype=int),
        positions=np.asarray(payload["positions"], dtype=float).reshape(-1, 3),
        cell=np.asarray(payload["cell"], dtype=float),
        pbc=payload["pbc"],
    )
    if len(payload.get("frozen", ())):
        atoms.set_constraint(FixAtoms(indices=np.asarray(payload["frozen"], dtype=int)))
    return atoms


def stop_criterion(description: Mapping[str, Any]) -> StopCriterion:
    """A criterion from the ``import_path`` of a callable that returns it, and its ``arguments``."""
    module_name, _, name = description["import_path"].partition(":")
    return getattr(importlib.import_module(module_name), name)(**description.get("arguments", {}))
