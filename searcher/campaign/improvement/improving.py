"""One round of active learning: label where the potential is unsure, fit anew, take into use what got nowhere worse.

Every step is recorded when it is done and never repeated: labels and fitted potentials are facts. A new potential adds
energies to the archive; it changes no verdict of the past.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console

from relax.labelling.frames import read_data
from relax.labelling.labels import label, read_labels
from relax.potential import PotentialSpec, potential_hash
from relax.potential_figures import worsened
from relax.references import References
from relax.worker import evaluate_task, plain_arrays, reference_task
from searcher.campaign.campaign import Campaign
from searcher.campaign.improvement.refit import (
    Trial,
    fit_folder,
    fit_gap,
    kept_labeller_figures,
    labelled_frames,
    labeller_figures,
    measure_both,
)
from searcher.campaign.improvement.selection import Pick, pick
from searcher.campaign.improvement.versions import lines_under, with_references
from searcher.campaign.problem import ReferenceEnergies, SurfaceProblem, gamma_of_bottom, template_settings
from searcher.campaign.snapshot import is_known
from searcher.campaign.storage.candidate import Candidate
from searcher.campaign.storage.potential_versions import add_version
from searcher.config import ImproveSection
from searcher.errors import EnvironmentProblem, InputError
from searcher.structures.crystal import Crystal
from searcher.structures.templates import bottom_slab

IMPROVE = "improve"
ENERGIES = "improve:energies"
CHUNK = 8
Fitter = Callable[[Trial], PotentialSpec]


def take_up(campaign: Campaign, problem: SurfaceProblem) -> SurfaceProblem:
    """The problem under the potential in use; the campaign learns what γ it gives to older minima."""
    number, hashed, since, _, record = campaign.ledger.potentials()[-1]
    if number == 0:
        return problem
    problem = with_references(problem, record)
    campaign.lines = lines_under(campaign.ledger, problem, hashed, since, campaign.ledger.candidates())
    return problem


def improve(
    campaign: Campaign,
    problem: SurfaceProblem,
    iteration: int,
    section: ImproveSection,
    console: Console,
    fitter: Fitter = fit_gap,
) -> SurfaceProblem:
    """One round after an iteration that has been judged; interrupted, the same call goes on where it stopped.

    Parameters
    ----------
    section : ImproveSection
    fitter : callable
        Makes a potential from a `Trial`'s frames.

    Returns
    -------
    SurfaceProblem
        Measured with the potential in use afterwards.

    Raises
    ------
    InputError
        If the campaign's potential is no GAP with labelled frames, or there is no labeller.
    """
    ledger = campaign.ledger
    if ledger.stage(iteration, IMPROVE) is not None:
        return problem
    if not section.labeller:
        raise InputError("`improve.labeller` names no reference calculator; an example is module:Callable")
    frames = labelled_frames(fit_folder(campaign), section)
    kept_labeller_figures(campaign, section)  # refused now rather than after the fit
    chosen = _picked(campaign, iteration, section)
    if not chosen.uncertain and not chosen.wrong:
        return _closed(campaign, problem, iteration, {"adopted": None, "why": ["nothing is uncertain"]}, console)
    folder = campaign.iteration_folder(iteration) / IMPROVE
    folder.mkdir(exist_ok=True)
    new = _labelled(campaign, iteration, chosen, section, folder, console)
    trial = Trial(folder, campaign.potential, fit_folder(campaign), read_data(frames), new, section.fit)
    spec = _fitted(campaign, iteration, trial, fitter, console)
    console.print("  measuring the potential in use and the new one …")
    compared = _compared(campaign, problem, iteration, trial, spec, section)
    console.print("  energies of all minima by the new one …")
    energies, without = _archive_energies(campaign, spec)
    why = compared.pop("worse") + without
    detail = {
        "adopted": not why,
        "why": why,
        "hash": potential_hash(spec),
        "labeller": section.labeller,
        "new_frames": len(new),
        **compared,
    }
    if why:
        return _closed(campaign, problem, iteration, detail, console)
    return _adopted(campaign, problem, iteration, spec, energies, detail, console)


def _picked(campaign: Campaign, iteration: int, section: ImproveSection) -> Pick:
    name = f"{IMPROVE}:pick"
    recorded = campaign.ledger.stage(iteration, name)
    if recorded is None:
        recorded = asdict(pick(campaign, iteration, section))
        with campaign.ledger.transaction():
            campaign.ledger.finish_stage(iteration, name, recorded)
    return Pick(**recorded)


def _labelled(
    campaign: Campaign, iteration: int, chosen: Pick, section: ImproveSection, folder: Path, console: Console
) -> list[Atoms]:
    """Frames of the chosen candidates, labelled; what the labeller failed at stays out and in the file."""
    tasks = [task for name in chosen.uncertain for task in _frames(campaign, name, section.path_frames)]
    tasks += [_task(campaign, name, str(campaign.ledger.candidate(name).proposed)) for name in chosen.wrong]
    console.print(f"  labelling {len(tasks)} structures of {len(chosen.uncertain) + len(chosen.wrong)} candidates …")
    labels = folder / "labels.jsonl"
    report = label(tasks, section.labeller, section.labeller_arguments, labels, section.processes)
    name = f"{IMPROVE}:labels"
    if campaign.ledger.stage(iteration, name) is None:
        with campaign.ledger.transaction():
            campaign.ledger.finish_stage(iteration, name, {"tasks": len(tasks), "left_out": dict(report.skipped)})
    return read_labels(labels)


def _frames(campaign: Campaign, name: str, path_frames: int) -> list[Atoms]:
    candidate = campaign.ledger.candidate(name)
    path = [key for _, key, _ in campaign.ledger.snapshots(name)]
    spread = np.unique(np.linspace(0, len(path) - 1, min(path_frames, len(path))).round().astype(int))
    keys = [str(candidate.relaxed), *(path[i] for i in spread)]
    return [_task(campaign, name, key) for key in dict.fromkeys(keys)]


def _task(campaign: Campaign, name: str, key: str) -> Atoms:
    stored = campaign.ledger.structure(key)
    atoms = Atoms(stored.numbers, positions=stored.positions, cell=stored.cell, pbc=True)
    atoms.info = {"config_type": "searched", "family": f"{campaign.config.name}-{name}"}
    return atoms


def _fitted(campaign: Campaign, iteration: int, trial: Trial, fitter: Fitter, console: Console) -> PotentialSpec:
    name = f"{IMPROVE}:fit"
    recorded = campaign.ledger.stage(iteration, name)
    if recorded is None:
        console.print(f"  fitting to {len(trial.training)} frames, {len(trial.new)} of them new …")
        spec = fitter(trial)
        recorded = {"spec": spec.as_dict(), "hash": potential_hash(spec)}
        with campaign.ledger.transaction():
            campaign.ledger.finish_stage(iteration, name, recorded)
    spec = PotentialSpec(**recorded["spec"])
    if potential_hash(spec) != recorded["hash"]:
        raise EnvironmentProblem(f"the potential fitted in `{trial.folder}` was changed after it had been recorded")
    return spec


def _compared(
    campaign: Campaign,
    problem: SurfaceProblem,
    iteration: int,
    trial: Trial,
    spec: PotentialSpec,
    section: ImproveSection,
) -> dict[str, Any]:
    """What both potentials are worth on the same frames and faces, and in what the new one is worse."""
    name = f"{IMPROVE}:check"
    recorded = campaign.ledger.stage(iteration, name)
    if recorded is None:
        figures = labeller_figures(campaign, problem, section)
        before, after = measure_both(campaign, problem, trial, spec, figures)
        recorded = {"worse": worsened(before, after), "before": before.summary(), "after": after.summary()}
        with campaign.ledger.transaction():
            campaign.ledger.finish_stage(iteration, name, recorded)
    return recorded


def _archive_energies(campaign: Campaign, spec: PotentialSpec) -> tuple[dict[str, float], list[str]]:
    """Energies in eV of all minima by another potential, and what has none, one line each."""
    minima = [c for c in campaign.ledger.candidates() if is_known(c)]
    energies, without = {}, []
    for candidate, energy, reason in _evaluated(campaign, spec, minima):
        if reason is None:
            energies[candidate.id] = energy
        else:
            without.append(f"{candidate.id} has no energy any more ({reason})")
    return energies, sorted(without)


def _evaluated(
    campaign: Campaign, spec: PotentialSpec, candidates: Sequence[Candidate]
) -> list[tuple[Candidate, float, str | None]]:
    structures = [campaign.ledger.structure(str(c.relaxed)) for c in candidates]
    answers = _evaluate(campaign, spec, structures)
    return [(c, energy, reason) for c, (energy, reason) in zip(candidates, answers, strict=True)]


def _evaluate(campaign: Campaign, spec: PotentialSpec, structures: Sequence[Atoms]) -> list[tuple[float, str | None]]:
    chunks = [structures[i : i + CHUNK] for i in range(0, len(structures), CHUNK)]
    payloads = [{"potential": spec.as_dict(), "structures": [plain_arrays(a) for a in chunk]} for chunk in chunks]
    found: dict[int, list[tuple[float, str | None]]] = {}
    for outcome in campaign.executor.map(evaluate_task, payloads):
        if outcome.result is None:
            raise EnvironmentProblem(f"the new potential gives no energies: {outcome.failure}, {outcome.message}")
        energies = [float(energy) for energy in outcome.result["energies"]]
        found[outcome.index] = list(zip(energies, outcome.result["reasons"], strict=True))
    return [answer for index in range(len(chunks)) for answer in found[index]]


def _adopted(
    campaign: Campaign,
    problem: SurfaceProblem,
    iteration: int,
    spec: PotentialSpec,
    energies: dict[str, float],
    detail: dict[str, object],
    console: Console,
) -> SurfaceProblem:
    ledger, hashed = campaign.ledger, potential_hash(spec)
    if ledger.stage(iteration, ENERGIES) is None:
        with ledger.transaction():
            for name, energy in energies.items():
                ledger.set_energy(name, hashed, energy)
            ledger.finish_stage(iteration, ENERGIES, {"potential": hashed, "count": len(energies)})
    references, gamma_bottom = _references(campaign, problem, spec)
    record = {
        "fit": str((campaign.iteration_folder(iteration) / IMPROVE).relative_to(campaign.folder)),
        "references": asdict(references),
        "gamma_bottom": gamma_bottom,
    }
    version = add_version(campaign.folder, ledger, spec, iteration + 1, record)
    with ledger.transaction():
        ledger.finish_stage(iteration, IMPROVE, detail)
    campaign.potential, campaign.potential_hash = version.spec, version.hash
    console.print(f"  potential {hashed} is in use from iteration {iteration + 1} on")
    return take_up(campaign, problem)


def _closed(
    campaign: Campaign, problem: SurfaceProblem, iteration: int, detail: dict[str, object], console: Console
) -> SurfaceProblem:
    with campaign.ledger.transaction():
        campaign.ledger.finish_stage(iteration, IMPROVE, detail)
    console.print(f"  the potential stays: {'; '.join(detail['why'])}")  # type: ignore[arg-type]
    return problem


def _references(campaign: Campaign, problem: SurfaceProblem, spec: PotentialSpec) -> tuple[ReferenceEnergies, float]:
    """A later potential's references: the bulk in the campaign's lattice, since the slabs stand in it; own O2."""
    config, lattice = campaign.config, problem.references
    crystal = Crystal(config.material.metal, lattice.a, lattice.c, lattice.u)
    payload = {
        "potential": spec.as_dict(),
        "bulk": plain_arrays(crystal.bulk()),
        "metal_structure": config.material.metal_structure,
    }
    outcome = next(iter(campaign.executor.map(reference_task, [payload])))
    if outcome.result is None:
        raise EnvironmentProblem(f"the new potential gives no reference energies: {outcome.message}")
    slab = bottom_slab(crystal, config.surface.facet, template_settings(config.surface))
    (bulk_energy, _), (slab_energy, _) = _evaluate(campaign, spec, [crystal.bulk(), slab])
    n_bulk = int(np.count_nonzero(crystal.bulk().numbers != 8))
    found = replace(
        References(**outcome.result), a=lattice.a, c=lattice.c, u=lattice.u, energy_bulk=bulk_energy / n_bulk
    )
    references = ReferenceEnergies.of(found, config)
    return references, gamma_of_bottom(slab, slab_energy, references.energy_bulk)
