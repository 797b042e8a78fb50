"""Whole cells with lattice heads: the default against the published layout, on the same data for the same time.

    searcher dataset RUN… --snapshots 8 --out data.extxyz.xz
    OMP_NUM_THREADS=1 nohup python benchmarks/full_cells.py data.extxyz.xz --work cells --hours 6 &

Each configuration is trained for the same wall time, in turns of `--minutes`, so that what else the machine does weighs
on both; a second call goes on where it was. `--device cuda` trains on a GPU.
"""

import argparse
import json
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

import torch
from generator_measures import striped_share

from generators.sampling import Sampler
from generators.training.dataset import StructureDataset
from generators.training.loop import Trainer
from searcher.campaign.workers.executor import LocalExecutor
from searcher.generation.assessment import assess
from searcher.generation.data_set import DataSet, data_set
from searcher.generation.settings import GeneratorConfig
from searcher.generation.training import settings_of, view_of
from searcher.loading import load_generator_config
from searcher.structures.files import read_named

ROOT = Path(__file__).parent.parent
CONFIGURATIONS = ("cell", "thesis")
DEADLINE_S, MEMORY_GIB, TASKS_PER_WORKER = 900.0, 4.0, 100


def open_training(config: GeneratorConfig, data: DataSet) -> Trainer:
    """A training of a configuration, from its beginning."""
    networks, training = settings_of(config, data)
    random = torch.Generator(training.device).manual_seed(config.seed)
    return Trainer(data.template, data.spec, networks, training, data.records, random, view=view_of(config))


def train_for(trainer: Trainer, folder: Path, seconds: float) -> float:
    """Train on from the last checkpoint for some wall time, to a whole number of checkpoints; the seconds spent."""
    started = perf_counter()
    for metrics in trainer.run(folder):
        kept = metrics["step"] % trainer.settings.checkpoint_every == 0
        if kept and perf_counter() - started >= seconds:
            break
    return perf_counter() - started


def figures(trainer: Trainer, data: DataSet, n: int, executor: LocalExecutor, out: Path) -> dict[str, Any]:
    """Stripes, lattice error, and what `searcher assess` tells, with its pictures."""
    sampler = Sampler.of(trainer)
    dataset = StructureDataset(data.records, data.spec, data.conditions, None, view=trainer.view)
    real = dataset.batch(min(n, 256), torch.Generator().manual_seed(0)).grids
    drawn = torch.Generator().manual_seed(1)
    rows = dataset.conditions[dataset.draw(min(n, 256), drawn)].to(sampler.device)
    noise = torch.randn(len(rows), sampler.settings.latent, generator=drawn).to(sampler.device)
    with torch.inference_mode():
        grids = sampler.network(noise, rows).cpu()
    told: dict[str, Any] = {"step": trainer.state.step, "striped": striped_share(grids, real)}
    return told | assess(sampler, None, data, n, 0, executor, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=6.0, help="for each configuration, in all")
    parser.add_argument("--minutes", type=float, default=20.0, help="of one turn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    named = read_named(arguments.files)
    overrides = [*arguments.overrides, f"training.device={arguments.device}"]
    configs = {
        name: load_generator_config(ROOT / f"configs/generators/{name}.yaml", overrides) for name in CONFIGURATIONS
    }
    data = {name: data_set(named, config.data) for name, config in configs.items()}
    spent_file = arguments.work / "spent.json"
    arguments.work.mkdir(parents=True, exist_ok=True)
    spent = dict.fromkeys(CONFIGURATIONS, 0.0)
    if spent_file.is_file():
        spent |= json.loads(spent_file.read_text(encoding="utf-8"))
    while min(spent.values()) < 3600.0 * arguments.hours:
        name = min(CONFIGURATIONS, key=lambda one: spent[one])
        trainer = open_training(configs[name], data[name])
        turn = min(60.0 * arguments.minutes, 3600.0 * arguments.hours - spent[name])
        spent[name] += max(1e-3, train_for(trainer, arguments.work / name, turn))
        spent_file.write_text(json.dumps(spent), encoding="utf-8")
        print(f"{name}: step {trainer.state.step}, {spent[name] / 3600:.2f} h", flush=True)
        if trainer.state.step >= trainer.settings.steps:
            spent[name] = 3600.0 * arguments.hours
    executor = LocalExecutor(arguments.workers, DEADLINE_S, MEMORY_GIB, TASKS_PER_WORKER, Event())
    found = {}
    try:
        for name in CONFIGURATIONS:
            trainer = open_training(configs[name], data[name])
            train_for(trainer, arguments.work / name, 0.0)
            pictures = arguments.work / f"{name}-pictures"
            pictures.mkdir(exist_ok=True)
            found[name] = figures(trainer, data[name], arguments.samples, executor, pictures)
    finally:
        executor.close()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
