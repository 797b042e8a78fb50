"""Fidelity of the default generator on a large training set, and what its labels do to γ after relaxation.

    searcher dataset RUN… --snapshots 8 --out data.extxyz.xz
    OMP_NUM_THREADS=1 nohup python benchmarks/generator_fidelity.py data.extxyz.xz --run RUN --work fidelity &

The data are slabs on one template, RUN a campaign on it, whose potential relaxes the samples. `--device cuda` trains
there; `--config configs/generators/…` trains another generator. What is done stays in `--work`; a second call goes on.
"""

import argparse
import json
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from ase import Atoms
from generator_measures import Measured, measure, striped_share
from scipy.stats import spearmanr

from generators.sampling import GridSampler
from generators.training.dataset import StructureDataset
from generators.training.evaluation import as_record
from searcher.campaign.beginning.preparation import recorded_problem
from searcher.campaign.configured_potential import potential_spec
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.workers.executor import LocalExecutor
from searcher.config.recorded import recorded_config
from searcher.evaluation.relaxed import relaxed, relaxed_settings
from searcher.generation.data_set import DataSet, data_set
from searcher.generation.sampling import open_sampler
from searcher.generation.training import train_on_files, with_steps
from searcher.loading import load_generator_config
from searcher.results.generator_plots import confusion
from searcher.scoring.energy_classes import EnergyClasses
from searcher.structures.files import read_named

ROOT = Path(__file__).parent.parent
DEADLINE_S, MEMORY_GIB, TASKS_PER_WORKER = 900.0, 4.0, 50
LEAST_OF_A_COUNT = 10
"""Samples of one oxygen count without which no rank correlation is taken."""


def fidelity(sampler: GridSampler, data: DataSet, n: int, seed: int) -> tuple[dict[str, Any], Measured]:
    """Figures before relaxation, beside what is asked of the default."""
    drawn = sampler.draw(n, {}, np.random.default_rng(seed))
    found = measure(drawn, sampler, data, seed)
    dataset = StructureDataset(data.records, sampler.spec, data.conditions, data.template, view=sampler.view)
    real = dataset.batch(256, torch.Generator().manual_seed(0)).grids
    metrics = as_record(found.metrics)
    told = {
        "training structures": len(data.records),
        "samples": n,
        "decoded, at least 0.9": found.decoded,
        "valid of the decoded, at least 0.7": found.valid,
        "unique of the valid, at least 0.9": found.unique,
        "coverage over its floor, at least 0.6": metrics["coverage"]["value"] / max(metrics["coverage"]["floor"], 1e-9),
        "recall over its floor, at least 0.6": metrics["recall"]["value"] / max(metrics["recall"]["floor"], 1e-9),
        "atom counts, at most 0.05": found.atom_counts,
        "oxygen count as asked": found.followed,
        "striped": striped_share(drawn.grids, real),
        "metrics": metrics,
    }
    return told, found


def after_relaxation(found: Measured, run: Path, n: int, workers: int, out: Path) -> dict[str, Any]:
    """Rank correlation of the class asked for with γ got, in all and among samples of equal oxygen count."""
    ledger = Ledger.of_run(run)
    problem, config = recorded_problem(ledger), recorded_config(ledger.fact("config"))
    lines = [c.measured_line for c in ledger.candidates() if c.gamma_zero is not None]
    ledger.close()
    lowest = min(line.at(problem.delta_mu_o) for line in lines)
    chosen = list(zip(found.structures, found.asked, strict=True))[:n]
    named: list[tuple[str, Atoms]] = [(str(number), atoms) for number, (atoms, _) in enumerate(chosen)]
    executor = LocalExecutor(workers, DEADLINE_S, MEMORY_GIB, TASKS_PER_WORKER, Event())
    try:
        records = relaxed(
            named, out / "relaxed.extxyz", potential_spec(config)[0], relaxed_settings(0.1, 200), executor
        )
    finally:
        executor.close()
    rows = []
    for record, (atoms, asked) in zip(records, chosen, strict=True):
        if record["converged"]:
            height = problem.gamma(atoms, record["energy_eV"]).at(problem.delta_mu_o) - lowest
            oxygen = int(np.count_nonzero(atoms.numbers[problem.template.n_frozen :] == 8))
            rows.append((asked["energy_class"], EnergyClasses().classify(height), height, oxygen))
    asked_class, got_class, height, oxygen = (np.array(column) for column in zip(*rows, strict=True))
    (out / "classes.png").write_bytes(confusion(asked_class, got_class, "energy class"))
    within = [
        (np.count_nonzero(oxygen == count), _rank(asked_class[oxygen == count], height[oxygen == count]))
        for count in np.unique(oxygen)
        if np.count_nonzero(oxygen == count) >= LEAST_OF_A_COUNT and len(np.unique(asked_class[oxygen == count])) > 1
    ]
    total = sum(size for size, _ in within)
    return {
        "relaxed": len(rows),
        "rank correlation of class asked and γ got, at least 0.5": _rank(asked_class, height),
        "the same among equal oxygen counts, at least 0.3": sum(s * r for s, r in within) / total if total else None,
    }


def _rank(first: np.ndarray, second: np.ndarray) -> float:
    return float(spearmanr(first, second).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=ROOT / "configs/generators/default.yaml")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--run", type=Path, help="campaign whose potential relaxes samples; without it none is")
    parser.add_argument("--relaxed", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    overrides = [*arguments.overrides, f"training.device={arguments.device}"]
    config = with_steps(load_generator_config(arguments.config, overrides), arguments.steps)
    named = read_named(arguments.files)
    arguments.work.mkdir(parents=True, exist_ok=True)
    told = train_on_files(config, named, arguments.work)
    sampler, _ = open_sampler(arguments.work, None, arguments.device)
    figures, found = fidelity(sampler, data_set(named, config.data), arguments.samples, config.seed)
    figures |= {"steps": told["step"], "findings": told["findings"], "device": arguments.device}
    if arguments.run is not None:
        figures |= after_relaxation(found, arguments.run, arguments.relaxed, arguments.workers, arguments.work)
    (arguments.work / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
