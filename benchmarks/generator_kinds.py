"""The GAN and the denoiser on the same structures with the same processor time: what their samples are like.

    searcher dataset RUN… --snapshots 8 --out data.extxyz.xz
    OMP_NUM_THREADS=1 nohup python benchmarks/generator_kinds.py data.extxyz.xz --seconds 600 --work kinds &

The data are slabs on one template. The number of steps follows from the processor time of the first ones. What is done
stays in `--work`; a second call goes on.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from generator_measures import measure

from generators.denoising.sampling import DenoiserSampler
from generators.denoising.settings import DenoiserSamplingSettings
from generators.sampling import GridSampler
from generators.training.evaluation import as_record
from searcher.generation.data_set import data_set
from searcher.generation.sampling import open_sampler
from searcher.generation.settings import GeneratorConfig
from searcher.generation.training import train_on_files, with_steps
from searcher.loading import load_generator_config
from searcher.structures.files import read_named

ROOT = Path(__file__).parent.parent
CONFIGURATIONS = ("default", "denoiser")
CALIBRATION_STEPS = 20
SAMPLINGS = {
    "heun, 18 steps": DenoiserSamplingSettings(),
    "heun, 9 steps": DenoiserSamplingSettings(steps=9),
    "walk and jump": DenoiserSamplingSettings(sampler="walk_jump"),
    "walk and jump in 9 steps": DenoiserSamplingSettings(sampler="walk_jump", jump_steps=9),
}


def trained(
    config: GeneratorConfig, named: Sequence[tuple[str, Atoms]], seconds: float, folder: Path
) -> dict[str, Any]:
    """Train for about so much processor time, unless that is done."""
    done = folder / "trained.json"
    if done.is_file():
        found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return found
    each = _seconds_per_step(config, named, folder.with_name(f"{folder.name}-calibration"))
    steps = max(CALIBRATION_STEPS, round(seconds / each))
    began = time.process_time()
    told = train_on_files(with_steps(_fading(config, steps), steps), named, folder)
    record = {"steps": steps, "seconds": time.process_time() - began, "structures": told["structures"]}
    done.write_text(json.dumps(record), encoding="utf-8")
    return record


def _seconds_per_step(config: GeneratorConfig, named: Sequence[tuple[str, Atoms]], folder: Path) -> float:
    """Processor time of a step, without the first ones, which compile and allocate."""
    times: list[float] = []
    short = with_steps(_fading(config, CALIBRATION_STEPS), CALIBRATION_STEPS)
    train_on_files(short, named, folder, lambda metrics: times.append(time.process_time()))
    return (times[-1] - times[CALIBRATION_STEPS // 2]) / (len(times) - 1 - CALIBRATION_STEPS // 2)


def _fading(config: GeneratorConfig, steps: int) -> GeneratorConfig:
    """Further terms of a loss fade in over half of the steps, as the default has them."""
    if "terms_blend" not in config.training:
        return config
    return config.model_copy(update={"training": {**config.training, "terms_blend": steps // 2}})


def figures(
    sampler: GridSampler, config: GeneratorConfig, named: Sequence[tuple[str, Atoms]], n: int
) -> dict[str, Any]:
    """Of `n` samples before relaxation, and the processor time of drawing one."""
    data = data_set(named, config.data)
    began = time.process_time()
    drawn = sampler.draw(n, {}, np.random.default_rng(config.seed))
    each = (time.process_time() - began) / n
    found = measure(drawn, sampler, data, config.seed)
    metrics = as_record(found.metrics)
    return {
        "decoded": found.decoded,
        "valid of the decoded": found.valid,
        "unique of the valid": found.unique,
        "oxygen count as asked": found.followed,
        "atom counts off by": found.atom_counts,
        "milliseconds to draw one": 1e3 * each,
        **{name: metrics[name]["value"] for name in ("frechet", "density", "coverage", "precision", "recall")},
        "frechet floor": metrics["frechet"]["floor"],
        "coverage floor": metrics["coverage"]["floor"],
    }


def ways_of(sampler: GridSampler) -> dict[str, GridSampler]:
    """The same weights, drawn from in each way that they allow."""
    if isinstance(sampler, DenoiserSampler):
        return {name: replace(sampler, sampling=settings) for name, settings in SAMPLINGS.items()}
    return {"": sampler}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600.0, help="of processor time for each training")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    named = read_named(arguments.files)
    generators = []
    for name in CONFIGURATIONS:
        path = ROOT / "configs" / "generators" / f"{name}.yaml"
        config = load_generator_config(path, ["training.threads=1", *arguments.overrides])
        folder = arguments.work / name
        folder.mkdir(parents=True, exist_ok=True)
        training = trained(config, named, arguments.seconds, folder)
        ways = ways_of(open_sampler(folder, None)[0])
        generators += [(f"{name}, {way}" if way else name, config, training, sampler) for way, sampler in ways.items()]
    table: dict[str, Any] = {}
    for row, config, training, sampler in generators:
        table[row] = {**training, **figures(sampler, config, named, arguments.samples)}
        (arguments.work / "figures.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
        print(json.dumps({row: table[row]}), flush=True)


if __name__ == "__main__":
    main()
