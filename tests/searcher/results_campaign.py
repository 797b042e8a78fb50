"""A small invented campaign on a real template, for the tests of what people see."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from generators.grids.density import densities, pack
from generators.grids.files import write_grids
from generators.grids.spec import GridSpec
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict, candidate_id, spawn_seed
from searcher.campaign.storage.ledger import Ledger
from searcher.config import BudgetSection, CampaignConfig, PotentialSection
from searcher.config.arm_kinds.gan import GanArm
from searcher.config.arm_kinds.random import RandomArm
from searcher.structures.crystal import Crystal
from searcher.structures.templates import build_template, seed_structures

POTENTIAL = "f" * 64
CALLS = 50
AREA_SCALE = 2 / 39.49  # dγ/dΔμ_O in 1/Å² for two O more or fewer on a doubled (110) cell


def build_campaign(folder: Path, name: str = "invented", iterations: int = 2, per_arm: int = 12) -> Ledger:
    """A campaign folder with a ledger: seeds, two arms, every kind of end, metrics and generated grids."""
    config = CampaignConfig(
        name=name,
        potential=PotentialSection(gap="ruo2"),
        budget=BudgetSection(iterations=iterations),
        arms=(
            GanArm(name="gan", share=0.8),
            RandomArm(name="random", share=0.2, feeds_training=False),
        ),
    )
    folder.mkdir(parents=True)
    template = build_template(Crystal(), "110", (1, 2))
    ledger = Ledger.create(
        folder / "campaign.db",
        {
            "name": name,
            "seed": 1,
            "config": config.model_dump(mode="json"),
            "potential": POTENTIAL,
            "versions": {"ase": "3.29.0", "torch": "0.0.1"},
            "threads": 2,
            "host": "somewhere",
            "template": {
                "id": template.id,
                "facet": "110",
                "repeat": [1, 2],
                "area": template.area,
                "n_frozen": template.n_frozen,
            },
            "references": {"energy_bulk": -25.0, "half_energy_o2": -4.9, "a": 4.4968, "c": 3.1049, "u": 0.3053},
        },
    )
    (folder / "campaign.yaml").write_text(f"name: {name}\n", encoding="utf-8")
    seeds = seed_structures(Crystal(), "110", (1, 2))
    with ledger.transaction():
        _add_seeds(ledger, seeds)
        ledger.finish_stage(-1, "seeds", {"count": len(seeds)})
        rng = np.random.default_rng(5)
        for iteration in range(iterations):
            _add_iteration(ledger, iteration, list(seeds.values()), per_arm, rng)
            _add_grids(folder / "iterations" / f"{iteration:03d}", list(seeds.values()), rng)
    return ledger


def _add_seeds(ledger: Ledger, seeds: dict[str, Atoms]) -> None:
    for index, (label, atoms) in enumerate(seeds.items()):
        key = ledger.put_structure(atoms)
        ledger.add_candidates(
            [
                Candidate(
                    id=candidate_id(-1, "seed", index), iteration=-1, arm="seed", index=index, seed=0,
                    passed=Gate.VALID_RELAXED, verdict=Verdict.REFERENCE, proposed=key, relaxed=key, force_calls=CALLS,
                    fmax=0.02, gamma_zero=0.07 + 0.03 * abs(index - 1), gamma_slope=AREA_SCALE * (1 - index),
                    energy_class=0, label=label,
                )
            ]
        )  # fmt: skip
        ledger.set_energy(candidate_id(-1, "seed", index), POTENTIAL, -200.0 - index)


def _add_iteration(
    ledger: Ledger, iteration: int, structures: list[Atoms], per_arm: int, rng: np.random.Generator
) -> None:
    for arm in ("gan", "random"):
        for index in range(per_arm):
            ledger.add_candidates([_candidate(ledger, iteration, arm, index, structures, rng)])
            if ledger.candidate(candidate_id(iteration, arm, index)).relaxed:
                ledger.set_energy(candidate_id(iteration, arm, index), POTENTIAL, -210.0 - index)
    steps = np.arange(0, 400, 10)
    for name, values in (
        ("critic_loss", -4 * np.exp(-steps / 150) + rng.normal(0, 0.1, len(steps))),
        ("generator_loss", 2 * np.exp(-steps / 250) + rng.normal(0, 0.1, len(steps))),
        ("wasserstein", 5 * np.exp(-steps / 120) + rng.normal(0, 0.1, len(steps))),
        ("critic_gradient", 1 + rng.uniform(0, 0.2, len(steps))),
        ("generator_gradient", 0.5 + rng.uniform(0, 0.2, len(steps))),
        ("health_diversity", 1 - 0.8 * steps / 400),
    ):
        rows = [(name, int(s), float(v)) for s, v in zip(steps, values, strict=True)]
        ledger.add_metrics(iteration, rows)
    finding = {
        "step": 300, "rule": "repetition", "figure": "diversity", "value": 0.24, "threshold": 0.25,
        "diagnosis": "the generator makes few different grids", "action": "roll_back",
    }  # fmt: skip
    ledger.finish_stage(iteration, "train:gan", {"records": 12, "findings": [finding]})
    ledger.finish_stage(iteration, "close", {"seconds": 3.5})


def _candidate(
    ledger: Ledger, iteration: int, arm: str, index: int, structures: list[Atoms], rng: np.random.Generator
) -> Candidate:
    plain = Candidate(
        id=candidate_id(iteration, arm, index), iteration=iteration, arm=arm, index=index,
        seed=spawn_seed(1, iteration, arm, index), condition={"energy_class": index % 4},
    )  # fmt: skip
    if index % 6 == 4:
        return replace(plain, verdict=Verdict.REJECTED, reason="count_not_whole")
    atoms = structures[index % len(structures)].copy()
    free = atoms.get_tags() == 1
    atoms.positions[free] += rng.normal(0, 0.1, (int(free.sum()), 3))
    key = ledger.put_structure(atoms)
    if index % 6 == 3:
        return replace(plain, passed=Gate.DECODED, proposed=key, verdict=Verdict.REJECTED, reason="o_o_overlap")
    if index % 6 == 5:
        return replace(
            plain, passed=Gate.SELECTED, proposed=key, force_calls=CALLS, verdict=Verdict.FAILED, reason="timeout"
        )
    relaxed = replace(
        plain, proposed=key, relaxed=key, force_calls=CALLS, fmax=0.03,
        gamma_zero=0.08 + 0.05 * float(rng.uniform()), gamma_slope=AREA_SCALE * (1 - index % 3),
        energy_class=int(rng.integers(0, 6)), kappa=float(rng.uniform(0.05, 0.3)), nearest=candidate_id(-1, "seed", 1),
        above_envelope=float(rng.uniform(0, 0.04)),
    )  # fmt: skip
    if arm == "random" and index % 6:
        return replace(relaxed, passed=Gate.UNIQUE, verdict=Verdict.REJECTED, reason="known")
    return replace(relaxed, passed=Gate.ACCEPTED, verdict=Verdict.ACCEPTED)


def _add_grids(folder: Path, structures: list[Atoms], rng: np.random.Generator) -> None:
    """What a generator might have sampled: the seeds, blurred by noise in the atoms' places."""
    folder.mkdir(parents=True)
    first = structures[0]
    free = [atoms[atoms.get_tags() == 1] for atoms in structures]
    floor = min(atoms.positions[:, 2].min() for atoms in free) - 2.0
    height = max(atoms.positions[:, 2].max() for atoms in free) + 2.0 - floor
    lengths = (float(first.cell[0, 0]), float(first.cell[1, 1]), float(height))
    spec = GridSpec((16, 16, 16), ("O", "Ru"), 0.5, (0.0, 0.0, float(floor)), lengths)
    numbers = [atoms.numbers for atoms in free]
    places = [atoms.positions + rng.normal(0, 0.15, (len(atoms), 3)) for atoms in free]
    grids = densities(*pack(list(zip(numbers, places, strict=True)), spec), spec)
    write_grids(folder / "samples-gan.npz", grids.numpy(), spec)
