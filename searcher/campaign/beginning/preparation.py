"""What happens once, before the first iteration: reference energies, seeds, and what else is known."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console

from generators.template import Template
from relax.references import References
from relax.worker import evaluate_task, plain_arrays, reference_task
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import (
    ReferenceEnergies,
    SurfaceProblem,
    build_problem,
    gamma_of_bottom,
    surface_repeat,
    template_settings,
)
from searcher.campaign.relaxing import relax_candidates, require_same_potential
from searcher.campaign.storage.candidate import PREPARATION, Candidate, Gate, Verdict, candidate_id
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.storage.warm_start import WarmStart, load_warm_start
from searcher.config.recorded import recorded_config
from searcher.errors import EnvironmentProblem, InputError, SearchFailed
from searcher.scoring.thermodynamics import Line
from searcher.scoring.validity import check_validity
from searcher.structures.crystal import Crystal
from searcher.structures.files import read_structures
from searcher.structures.templates import bottom_slab, seed_structures

CHUNK = 8  # structures per evaluation task
TEMPLATE_TOLERANCE = 0.05  # Å: how far a file's frozen atoms may stand from the template's


def prepare(campaign: Campaign, console: Console) -> SurfaceProblem:
    """References, seeds and known structures, each recorded once; a repeated call only reads.

    Raises
    ------
    EnvironmentProblem
        If the potential gives no usable bulk.
    SearchFailed
        If no seed relaxes to a valid termination.
    """
    references, gamma_bottom = _references(campaign, console)
    problem = build_problem(campaign.config, references, gamma_bottom)
    template = problem.template
    with campaign.ledger.transaction():
        campaign.ledger.set_fact("references", asdict(references))
        campaign.ledger.set_fact("delta_mu_o_range", list(problem.delta_mu_o_range))
        campaign.ledger.set_fact("template", _template_record(template))
    _seeds(campaign, problem, console)
    _known(campaign, problem, console)
    return problem


def seed_lines(campaign: Campaign) -> dict[str, Line]:
    """γ(Δμ_O) of the relaxed seeds: what energy classes are measured from."""
    seeds = campaign.ledger.candidates(iteration=PREPARATION, arm="seed", reached=Gate.VALID_RELAXED)
    return {c.id: campaign.line_of(c) for c in seeds}


def _references(campaign: Campaign, console: Console) -> tuple[ReferenceEnergies, float]:
    recorded = campaign.ledger.stage(PREPARATION, "references")
    if recorded is None:
        console.print("reference energies of bulk and O2 …")
        config = campaign.config
        crystal = Crystal(config.material.metal, config.material.a, config.material.c, config.material.u)
        answer = _single(
            campaign,
            reference_task,
            {
                "potential": campaign.potential.as_dict(),
                "bulk": plain_arrays(crystal.bulk()),
                "metal_structure": config.material.metal_structure,
            },
        )
        measured = References(**answer)
        references = ReferenceEnergies.of(measured, config)
        if config.potential.gap is not None:
            console.print(f"the GAP is evaluated by {measured.evaluated_by}")
        relaxed = crystal.with_lattice(references.a, references.c, references.u)
        slab = bottom_slab(relaxed, config.surface.facet, template_settings(config.surface))
        energy = _evaluate(campaign, [slab])[0]
        gamma_bottom = gamma_of_bottom(slab, energy, references.energy_bulk)
        recorded = {"references": asdict(references), "gamma_bottom": gamma_bottom}
        with campaign.ledger.transaction():
            campaign.ledger.set_fact("evaluated_by", measured.evaluated_by)
            campaign.ledger.finish_stage(PREPARATION, "references", recorded)
    return ReferenceEnergies(**recorded["references"]), float(recorded["gamma_bottom"])


def recorded_problem(ledger: Ledger) -> SurfaceProblem:
    """The problem of a campaign whose references are recorded.

    Raises
    ------
    InputError
        If they are not yet.
    """
    recorded = ledger.stage(PREPARATION, "references")
    if recorded is None:
        raise InputError(f"the campaign of `{ledger.path}` has recorded no lattice yet; `searcher run` does so first")
    config = recorded_config(ledger.fact("config"))
    return build_problem(config, ReferenceEnergies(**recorded["references"]), float(recorded["gamma_bottom"]))


def _seeds(campaign: Campaign, problem: SurfaceProblem, console: Console) -> None:
    ledger, config = campaign.ledger, campaign.config
    if ledger.stage(PREPARATION, "seeds") is not None:
        return
    references = problem.references
    crystal = Crystal(problem.metal, references.a, references.c, references.u)
    repeat = surface_repeat(config.surface, crystal)
    constructed = seed_structures(crystal, config.surface.facet, repeat, template_settings(config.surface))
    found = chosen_terminations(constructed, config.surface.facet, config.surface.terminations)
    for path in config.seeds:
        found |= {f"{path.stem}-{i}": atoms for i, atoms in enumerate(on_template(path, problem.template))}
    if not ledger.candidates(iteration=PREPARATION, arm="seed"):
        with ledger.transaction():
            ledger.add_candidates(
                Candidate(
                    id=candidate_id(PREPARATION, "seed", index),
                    iteration=PREPARATION,
                    arm="seed",
                    index=index,
                    seed=0,
                    passed=Gate.SELECTED,
                    condition={},
                    proposed=ledger.put_structure(atoms),
                    label=label,
                )
                for index, (label, atoms) in enumerate(found.items())
            )
    console.print(f"relaxing {len(found)} seeds …")
    open_seeds = ledger.candidates(iteration=PREPARATION, arm="seed", verdict=Verdict.OPEN)
    relax_candidates(campaign, problem, [c for c in open_seeds if c.passed < Gate.CONVERGED])
    relaxed = ledger.candidates(iteration=PREPARATION, arm="seed", verdict=Verdict.OPEN)
    if not relaxed:
        failed = ledger.candidates(iteration=PREPARATION, arm="seed")
        reasons = ", ".join(f"{c.label}: {c.reason}" for c in failed)
        raise SearchFailed(f"no seed relaxes to a valid termination ({reasons}); does the potential fit the material?")
    seeds = {c.id: c.measured_line for c in relaxed}
    with ledger.transaction():
        for candidate in relaxed:
            energy_class = problem.energy_class(seeds[candidate.id], seeds)
            ledger.update_candidate(replace(candidate, verdict=Verdict.REFERENCE, energy_class=energy_class))
        ledger.finish_stage(PREPARATION, "seeds", {"count": len(relaxed)})


def chosen_terminations(constructed: dict[str, Atoms], facet: str, names: Sequence[str] | None) -> dict[str, Atoms]:
    """Terminations by construction that are seeds, by label.

    Raises
    ------
    InputError
        If one of the names is none of the facet's.
    """
    if names is None:
        return constructed
    for name in names:
        if f"{facet}-{name}" not in constructed:
            known = ", ".join(label.removeprefix(f"{facet}-") for label in constructed)
            raise InputError(f"`surface.terminations`: ({facet}) has no termination `{name}`; it has {known}")
    return {f"{facet}-{name}": constructed[f"{facet}-{name}"] for name in names}


def _known(campaign: Campaign, problem: SurfaceProblem, console: Console) -> None:
    ledger, config = campaign.ledger, campaign.config
    if ledger.stage(PREPARATION, "known") is not None:
        return
    warm_start = load_warm_start(Path(config.network.warm_start)) if config.network.warm_start else None
    from_files = [atoms for path in config.known for atoms in on_template(path, problem.template)]
    with ledger.transaction():
        if from_files:
            console.print(f"energies of {len(from_files)} known structures …")
            add_references(campaign, problem, "known", from_files, _evaluate(campaign, from_files), [])
        if warm_start is not None:
            _add_pretraining(campaign, problem, warm_start, console)
        ledger.finish_stage(PREPARATION, "known", {"count": len(ledger.candidates(iteration=PREPARATION))})


def _add_pretraining(campaign: Campaign, problem: SurfaceProblem, warm_start: WarmStart, console: Console) -> None:
    if warm_start.template != problem.template.id:
        raise InputError(
            f"`network.warm_start` was trained on template {warm_start.template}, this campaign has "
            f"{problem.template.id}: facet, repeat, frozen part or the potential's lattice differ"
        )
    console.print(f"{len(warm_start.minima)} structures behind the warm start count as known …")
    if warm_start.potential == campaign.potential_hash:
        energies = [minimum.energy for minimum in warm_start.minima]
    else:
        energies = _evaluate(campaign, [minimum.atoms for minimum in warm_start.minima])
    paths = [minimum.path for minimum in warm_start.minima]
    add_references(campaign, problem, "pretraining", [m.atoms for m in warm_start.minima], energies, paths)


def add_references(
    campaign: Campaign,
    problem: SurfaceProblem,
    arm: str,
    structures: Sequence[Atoms],
    energies: Sequence[float],
    paths: Sequence[Sequence[tuple[int, Atoms, float]]],
) -> None:
    """Write relaxed structures that nothing judges to the ledger; the caller holds the transaction.

    Parameters
    ----------
    energies : sequence of float
        eV, by the campaign's potential.
    paths : sequence of sequences of (force call, structure, energy in eV above the minimum)
        One per structure, or none at all.
    """
    ledger, seeds = campaign.ledger, seed_lines(campaign)
    for index, (atoms, energy) in enumerate(zip(structures, energies, strict=True)):
        line = problem.gamma(atoms, energy)
        key = ledger.put_structure(atoms)
        validity = check_validity(atoms, problem.template.n_frozen, problem.thresholds)
        candidate = Candidate(
            id=candidate_id(PREPARATION, arm, index),
            iteration=PREPARATION,
            arm=arm,
            index=index,
            seed=0,
            passed=Gate.VALID_RELAXED if validity.valid else Gate.CONVERGED,
            verdict=Verdict.REFERENCE,
            reason=None if validity.valid else validity.reasons[0],
            proposed=key,
            relaxed=key,
            gamma_zero=line.gamma0,
            gamma_slope=line.slope,
            energy_class=problem.energy_class(line, seeds),
        )
        ledger.add_candidates([candidate])
        ledger.set_energy(candidate.id, campaign.potential_hash, energy)
        if paths:
            steps = [(call, ledger.put_structure(step), excess) for call, step, excess in paths[index]]
            ledger.add_snapshots(candidate.id, steps)


def on_template(path: Path, template: Template) -> list[Atoms]:
    """Structures of a user's file, laid on the template.

    Raises
    ------
    InputError
        If one of them does not hold the template's frozen atoms.
    """
    laid = []
    for number, atoms in enumerate(read_structures(path)):
        frozen = atoms.positions[: template.n_frozen]
        fits = len(atoms) > template.n_frozen and np.array_equal(
            atoms.numbers[: template.n_frozen], template.frozen_numbers
        )
        if not fits or np.abs(frozen - template.frozen_positions).max() > TEMPLATE_TOLERANCE:
            raise InputError(
                f"`{path}`, structure {number}: its first {template.n_frozen} atoms are not the frozen part of this "
                f"template ({template.facet}, {template.repeat[0]}×{template.repeat[1]}); `searcher seeds` writes "
                "structures that fit"
            )
        laid.append(template.assemble(*template.free_part(atoms)))
    return laid


def _evaluate(campaign: Campaign, structures: Sequence[Atoms]) -> list[float]:
    chunks = [structures[i : i + CHUNK] for i in range(0, len(structures), CHUNK)]
    payloads = [
        {"potential": campaign.potential.as_dict(), "structures": [plain_arrays(atoms) for atoms in chunk]}
        for chunk in chunks
    ]
    energies: dict[int, list[float]] = {}
    for outcome in campaign.executor.map(evaluate_task, payloads):
        if outcome.result is None:
            raise EnvironmentProblem(f"the potential gives no energies: {outcome.failure}, {outcome.message}")
        require_same_potential(campaign, outcome.result)
        for number, reason in enumerate(outcome.result["reasons"]):
            if reason is not None:
                index = outcome.index * CHUNK + number
                raise InputError(f"the potential gives no energy for structure {index}: {reason}")
        energies[outcome.index] = [float(energy) for energy in outcome.result["energies"]]
    return [energy for index in range(len(chunks)) for energy in energies[index]]


def _single(
    campaign: Campaign, task: Callable[[dict[str, Any]], dict[str, Any]], payload: dict[str, Any]
) -> dict[str, Any]:
    outcome = next(iter(campaign.executor.map(task, [payload])))
    if outcome.result is None:
        raise EnvironmentProblem(f"the potential gives no reference energies: {outcome.failure}, {outcome.message}")
    return outcome.result


def _template_record(template: Template) -> dict[str, Any]:
    return {
        "id": template.id,
        "facet": template.facet,
        "repeat": list(template.repeat),
        "area": template.area,
        "n_frozen": template.n_frozen,
        "cell": template.cell.tolist(),
        "free_floor": template.free_floor,
        "free_ceiling": template.free_ceiling,
        "gamma_bottom": template.gamma_bottom,
    }
