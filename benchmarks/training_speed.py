"""How fast the networks are trained: lazy penalties, several processes, and on a GPU compilation and precision.

    OMP_NUM_THREADS=1 python benchmarks/training_speed.py
    OMP_NUM_THREADS=1 python benchmarks/training_speed.py --processes 2

The data are invented structures in the window of a template, or in whole cells of 32³ voxels with `--cell`; nothing but
this repository is needed. Every ratio comes from one run, in which the ways take turns and the medians are compared.
On a machine with a GPU its ways are measured too, with the networks of `configs/generators/thesis.yaml` beside them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from generators.grids.spec import GridSpec
from generators.networks.conditioning import ConditionSpec
from generators.networks.settings import NetworkSettings
from generators.proposal import TrainingRecord
from generators.training.loop import Trainer
from generators.training.processes import ALONE, Processes, join_processes, leave_processes
from generators.training.settings import TrainingSettings
from generators.training.view import View
from searcher.loading import load_generator_config

CONDITIONS = (ConditionSpec("energy_class", "class", n_classes=10),)
CELL, SIGMA, N_ATOMS, N_RECORDS = (12.8, 12.5, 22.0), 0.5, 150, 64
THESIS_RATE = 26.8
"""structures per second that the published three-dimensional training reached on its GPUs"""
ROOT = Path(__file__).parent.parent
METHOD = {"critic_steps": 5, "penalty_every": 1, "check_every": 0}
"""a full iteration: five critic steps with the penalty each, one of the generator"""


def invented(n: int, lengths: tuple[float, float, float], n_atoms: int) -> list[TrainingRecord]:
    """Structures with atoms on a shaken lattice."""
    rng = np.random.default_rng(0)
    edge = int(np.ceil(n_atoms ** (1 / 3)))
    sites = np.stack(np.meshgrid(*[(np.arange(edge) + 0.5) / edge] * 3, indexing="ij"), -1).reshape(-1, 3)[:n_atoms]
    return [
        TrainingRecord(
            np.where(np.arange(n_atoms) % 3, 8, 44),
            (sites + rng.normal(0.0, 0.02, sites.shape)) % 1.0 * np.array(lengths),
            {"energy_class": i % 10},
            lengths=lengths,
        )
        for i in range(n)
    ]


def trainer(
    networks: NetworkSettings, settings: TrainingSettings, shape: tuple[int, int, int], processes: Processes = ALONE
) -> Trainer:
    lengths = CELL if shape[0] > 16 else (6.4, 6.3, 8.1)
    n_atoms = N_ATOMS if shape[0] > 16 else 13
    spec = GridSpec.for_cell(lengths, shape, ("O", "Ru"), SIGMA)
    records = invented(N_RECORDS, lengths, n_atoms)
    random = torch.Generator(settings.device).manual_seed(0)
    return Trainer(None, spec, networks, settings, records, random, view=View("cell"), processes=processes)


def seconds_per_step(
    made: dict[str, Trainer], rounds: int, steps: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of a training step of each way; all take turns, and the first steps do not count."""
    runs = {name: one.run() for name, one in made.items()}
    for run in runs.values():
        next(run)
        next(run)
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = clock()
            for _ in range(steps):
                next(run)  # its metrics were read, so that a GPU has ended its work
            measured[name].append((clock() - started) / steps)
    return {name: float(np.median(values)) for name, values in measured.items()}


def processor(shape: tuple[int, int, int], rounds: int, steps: int, batch: int) -> dict[str, float]:
    """The lazy penalty against one at every step: seconds of one thread's work, whatever else the machine does."""
    networks = NetworkSettings(conditions=CONDITIONS)
    base = TrainingSettings(steps=10**6, batch_size=batch, threads=1, **METHOD)
    ways = {"penalty every step": 1, "every second step": 2, "every fourth step": 4}
    made = {name: trainer(networks, replace(base, penalty_every=every), shape) for name, every in ways.items()}
    made["finite difference"] = trainer(networks, replace(base, penalty="finite_difference_r1"), shape)
    return seconds_per_step(made, rounds, steps, time.process_time)


def graphics(shape: tuple[int, int, int], rounds: int, steps: int, batch: int) -> dict[str, float]:
    """Plain single precision against what a GPU does better, and the published layout beside them."""
    networks = NetworkSettings(conditions=CONDITIONS)
    plain = TrainingSettings(steps=10**6, batch_size=batch, device="cuda", channels_last=False, **METHOD)
    ways = {
        "plain fp32": plain,
        "channels last": replace(plain, channels_last=True),
        "bf16": replace(plain, channels_last=True, precision="bf16"),
        "compiled": replace(plain, compiled=True),
        "compiled, bf16": replace(plain, compiled=True, precision="bf16"),
        "compiled, bf16, lazy penalty": replace(plain, compiled=True, precision="bf16", penalty_every=4),
    }
    made = {name: trainer(networks, settings, shape) for name, settings in ways.items()}
    config = load_generator_config(ROOT / "configs/generators/thesis.yaml", [])
    layout = NetworkSettings(
        conditions=CONDITIONS, **{k: tuple(v) if isinstance(v, list) else v for k, v in config.network.items()}
    )
    made["published layout, plain fp32"] = trainer(layout, plain, shape)
    return seconds_per_step(made, rounds, steps)


def in_processes(count: int, shape: tuple[int, int, int], steps: int, batch: int) -> float:
    """Seconds per step of `count` processes of one thread each that share every batch."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    command += [str(Path(__file__)), "--worker", "--shape", *map(str, shape), "--steps", str(steps)]
    command += ["--batch", str(batch)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(ended.stdout.strip().splitlines()[-1])


def worker(shape: tuple[int, int, int], steps: int, batch: int) -> None:
    """One of the processes."""
    processes = join_processes("cpu")
    settings = TrainingSettings(steps=10**6, batch_size=batch, threads=1, **METHOD)
    one = trainer(NetworkSettings(conditions=CONDITIONS), settings, shape, processes)
    seconds = seconds_per_step({"": one}, 3, steps)[""]
    if processes.first:
        print(seconds)
    leave_processes()


def memory_per_sample(shape: tuple[int, int, int], device: str) -> float:
    """MiB that one more sample in a batch takes while a step is made."""
    networks = NetworkSettings(conditions=CONDITIONS)
    used = []
    for batch in (8, 40):
        settings = TrainingSettings(steps=1, batch_size=batch, device=device, threads=1, **METHOD)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        list(trainer(networks, settings, shape).run())
        peak = torch.cuda.max_memory_allocated() if device == "cuda" else 1024 * resource.getrusage(0).ru_maxrss
        used.append(peak / 2**20)
    return (used[1] - used[0]) / 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(16, 16, 16))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--processes", type=int, default=0, help="also measure so many processes against one")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shape = (arguments.shape[0], arguments.shape[1], arguments.shape[2])
    if arguments.worker:
        worker(shape, arguments.steps, arguments.batch)
        return
    told: dict[str, object] = {"shape": shape, "batch": arguments.batch, "load before": os.getloadavg()[0]}
    seconds = processor(shape, arguments.rounds, arguments.steps, arguments.batch)
    told |= {"seconds per iteration, one thread": seconds}
    told["lazy penalty, ratio"] = seconds["penalty every step"] / seconds["every fourth step"]
    told["MiB per sample, processor"] = memory_per_sample(shape, "cpu")
    if arguments.processes:
        each = {n: in_processes(n, shape, arguments.steps, arguments.batch) for n in (1, arguments.processes)}
        told["processes, ratio"] = each[1] / each[arguments.processes]
    if torch.cuda.is_available():
        fast = graphics(shape, arguments.rounds, arguments.steps, arguments.batch)
        told |= {"GPU": torch.cuda.get_device_name(), "seconds per iteration, GPU": fast}
        told["best of the GPU's ways, ratio"] = fast["plain fp32"] / min(
            fast[name] for name in fast if "published" not in name and "lazy" not in name
        )
        told["structures per second"] = {name: 6 * arguments.batch / value for name, value in fast.items()}
        told["structures per second, published"] = THESIS_RATE
        told["MiB per sample, GPU"] = memory_per_sample(shape, "cuda")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
