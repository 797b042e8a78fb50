"""The surrogate potential of an iteration: a GAP fitted to what force calls answered before it."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console

from relax.fitting.gap_fit import fit
from relax.fitting.settings import FitError, FitSettings
from relax.labelling.frames import ENERGY_KEY, FORCES_KEY
from relax.potential import PotentialSpec, gap_spec
from searcher.campaign.campaign import Campaign
from searcher.campaign.storage.candidate import Gate, spawn_seed
from searcher.campaign.storage.places import XML
from searcher.campaign.storage.verification import file_hash
from searcher.errors import EnvironmentProblem

STAGE = "surrogate"
KIND = "searched"
"""Of frames, as fits know them"""
APART = 12.0
"""Å, side of the cell of an atom that is alone"""
NOT_FITTED = "force_mask"
"""`gap_fit`'s name for the column of atoms whose forces it leaves out"""
LARGEST_FORCE = 50.0
"""eV/Å; frames with larger forces teach nothing of minima"""


def surrogate_potential(campaign: Campaign, iteration: int, console: Console) -> PotentialSpec | None:
    """What the proposals of an iteration are relaxed in first; fitted if there is enough new to learn from.

    Raises
    ------
    EnvironmentProblem
        If `gap_fit` fails, or files of a recorded fit are gone or changed.
    """
    section, ledger = campaign.config.prerelaxation, campaign.ledger
    if not section.on:
        return None
    recorded = ledger.stage(iteration, STAGE)
    if recorded is None:
        recorded = _fitted(campaign, iteration, console)
        with ledger.transaction():
            ledger.finish_stage(iteration, STAGE, recorded)
    if recorded["fitted_in"] is None:
        return None
    fitted = ledger.stage(recorded["fitted_in"], STAGE) or {}
    for file, checksum in fitted["files"].items():
        path = campaign.folder / file
        if not path.is_file() or file_hash(path) != checksum:
            raise EnvironmentProblem(
                f"`{path}` of the surrogate potential is gone or was changed since it was fitted; put it back from a "
                "copy of the campaign"
            )
    return gap_spec((campaign.iteration_folder(recorded["fitted_in"]) / STAGE / XML).resolve())


def _fitted(campaign: Campaign, iteration: int, console: Console) -> dict[str, Any]:
    """The record of an iteration: the last fit's, or a new one's."""
    section, ledger = campaign.config.prerelaxation, campaign.ledger
    last = ledger.stage(iteration - 1, STAGE)
    if last is None or last.get("potential") != campaign.potential_hash:  # another potential is learned from the start
        last = {"frames": 0, "fitted_in": None}
    frames = _frames(campaign, iteration)
    if len(frames) < max(section.first_frames, (1.0 + section.growth) * last["frames"]):
        return {
            "potential": campaign.potential_hash,
            "frames": last["frames"],
            "fitted_in": last["fitted_in"],
            "seconds": 0.0,
        }
    began = time.monotonic()
    console.print(f"  fitting a surrogate potential to {min(len(frames), section.frames)} of {len(frames)} frames …")
    rng = np.random.default_rng(spawn_seed(campaign.config.seed, iteration, STAGE, 0))
    chosen = np.sort(rng.permutation(len(frames))[: section.frames])
    data = [frames[i] for i in chosen]
    folder = campaign.iteration_folder(iteration) / STAGE
    try:
        xml = fit([*_lone_atoms(data), *data], _settings(campaign, data), folder)
    except FitError as error:
        raise EnvironmentProblem(f"no surrogate potential could be fitted: {error}") from None
    files = {str(path.relative_to(campaign.folder)): file_hash(path) for path in sorted(xml.parent.iterdir())}
    return {
        "potential": campaign.potential_hash,
        "frames": len(frames),
        "fitted_in": iteration,
        "seconds": round(time.monotonic() - began, 1),
        "files": files,
        "sha256": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
    }


def _frames(campaign: Campaign, iteration: int) -> list[Atoms]:
    """What the potential in use answered for arms that are learned from, before an iteration."""
    ledger, control = campaign.ledger, campaign.config.control_arms
    relaxed = {c.id: c for c in ledger.candidates(before=iteration, reached=Gate.SELECTED) if c.arm not in control}
    frames, templates = [], {}
    for name, _, energy, positions, forces in ledger.frames(campaign.potential_hash):
        if name in relaxed and np.linalg.norm(forces, axis=1).max() < LARGEST_FORCE:
            if name not in templates:
                templates[name] = ledger.structure(str(relaxed[name].proposed))
            slab = templates[name]
            atoms = Atoms(slab.numbers, positions, cell=slab.cell, pbc=slab.pbc)
            atoms.info = {ENERGY_KEY: energy, "config_type": KIND}
            atoms.arrays[FORCES_KEY] = forces
            atoms.arrays[NOT_FITTED] = slab.get_tags() == 0  # half of a fit's time, and nothing follows those forces
            frames.append(atoms)
    return frames


def _lone_atoms(data: Sequence[Atoms]) -> list[Atoms]:
    """Atoms alone with the energies that explain most of the frames': what a fit counts from."""
    symbols = sorted({symbol for atoms in data for symbol in atoms.symbols.species()})
    counts = np.array([[atoms.symbols.count(symbol) for symbol in symbols] for atoms in data], dtype=float)
    energies = np.linalg.lstsq(counts, np.array([atoms.info[ENERGY_KEY] for atoms in data]), rcond=None)[0]
    alone = []
    for symbol, energy in zip(symbols, energies, strict=True):
        atoms = Atoms(symbol, positions=[[APART / 2] * 3], cell=[APART] * 3, pbc=True)
        atoms.info = {ENERGY_KEY: float(energy), "config_type": "isolated_atom"}
        atoms.arrays[FORCES_KEY] = np.zeros((1, 3))
        alone.append(atoms)
    return alone


def _settings(campaign: Campaign, data: Sequence[Atoms]) -> FitSettings:
    """As the shipped potential is fitted, with fewer representative environments."""
    section, metal = campaign.config.prerelaxation, campaign.config.material.metal
    wanted = {"O": section.sparse_oxygen, metal: section.sparse_metal}
    present = {symbol: sum(atoms.symbols.count(symbol) for atoms in data) for symbol in wanted}
    n_sparse = {symbol: min(number, present[symbol] // 2) for symbol, number in wanted.items() if present[symbol]}
    return replace(FitSettings.for_data(data), n_sparse=n_sparse, seed=campaign.config.seed)
