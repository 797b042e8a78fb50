"""What each suspect of the published layout does to a generator: the layout, each corrected one at a time, the default.

    searcher dataset RUN… --out data.extxyz.xz
    OMP_NUM_THREADS=1 nohup python benchmarks/generator_ablation.py data.extxyz.xz --work ablation > ablation.log &
    python benchmarks/generator_ablation.py data.extxyz.xz --work ablation --table

The data are slabs on one template with their frozen atoms fixed and γ recorded. Each row is trained on the same windows
of 16³ voxels for the same iterations with three seeds; what is done is kept in `--work`, and a second call goes on.
`--rows` and `--seeds` share the work between processes or machines.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from generator_measures import Measured, measure, striped_share

from generators.sampling import GridSampler
from generators.training.dataset import StructureDataset
from generators.training.evaluation import as_record
from generators.training.health import RULES, examine
from searcher.generation.data_set import DataSet, data_set
from searcher.generation.sampling import open_sampler
from searcher.generation.settings import DataSection, GeneratorConfig
from searcher.generation.training import train_on_files
from searcher.loading import load_generator_config
from searcher.structures.files import read_named

DEFAULT = Path(__file__).parent.parent / "configs/generators/default.yaml"
PUBLISHED: dict[str, Any] = {
    "network": {
        "latent": 512,
        "generator_channels": [128, 64],
        "critic_channels": [32, 128],
        "generator_head": "density",
        "generator_norm": "batch",
        "output_norm": "batch",
        "doubling": "unwrapped",
        "critic_norm": "layer",
        "critic_dropout": 0.5,
        "minibatch_deviation": False,
        "condition_method": "integer",
        "condition_size": 206,
        "critic_condition": "constant",
    },
    "training": {
        "critic_steps": 5,
        "penalty_every": 1,
        "penalty_interpolation": "epoch",
        "generator_rate": 1e-3,
        "critic_rate": 1e-3,
        "betas": [0.5, 0.9],
        "ema_decay": 0.0,
    },
    "data": {"augmentation": "stored"},
}
"""The layout and rates of the thesis at the size of the default, so that only the suspects differ."""
CORRECTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "published layout": {},
    "no batch norm before the sigmoid": {"network": {"output_norm": "none"}},
    "lower rates": {"training": {"generator_rate": 1e-4, "critic_rate": 4e-4}},
    "periodic transposed convolutions": {"network": {"doubling": "transposed"}},
    "a penalty factor for each sample": {"training": {"penalty_interpolation": "sample"}},
    "fresh symmetry operations": {"data": {"augmentation": "fresh"}},
    "averaged generator": {"training": {"ema_decay": 0.99}},
}
COLUMNS = ("striped", "collapsed", "density", "coverage", "frechet", "valid", "unique")


def configuration(row: str, seed: int, steps: int, data: dict[str, Any]) -> GeneratorConfig:
    """Settings of one row; the default's are those of its configuration."""
    common = {"steps": steps, "threads": 1, "check_every": 250, "remedies": False}
    if row == "default":
        own = load_generator_config(DEFAULT)
        return own.model_copy(
            update={"seed": seed, "data": DataSection(**data), "training": {**own.training, **common}}
        )
    merged = {section: {**PUBLISHED[section], **CORRECTIONS[row].get(section, {})} for section in PUBLISHED}
    return GeneratorConfig(
        name="published",
        seed=seed,
        data=DataSection(**{**data, **merged["data"]}),
        network=merged["network"],
        training={**merged["training"], **common},
    )


def train_row(
    row: str, seed: int, named: Sequence[tuple[str, Atoms]], work: Path, steps: int, n: int, data: dict[str, Any]
) -> dict[str, Any]:
    """Train and measure one row with one seed, unless that is done."""
    folder = work / f"{row.replace(' ', '-')}-{seed}"
    done = folder / "figures.json"
    if done.is_file():
        found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return found
    config = configuration(row, seed, steps, data)
    told = train_on_files(config, named, folder)
    sampler, _ = open_sampler(folder, None)
    figures = row_figures(sampler, data_set(named, config.data), n, seed)
    figures |= {"row": row, "seed": seed, "findings": told["findings"], "last": told["last"]}
    done.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures


def row_figures(sampler: GridSampler, data: DataSet, n: int, seed: int) -> dict[str, Any]:
    """The columns of the table for one generator."""
    drawn = sampler.draw(n, {}, np.random.default_rng(seed))
    measured: Measured = measure(drawn, sampler, data, seed)
    metrics = as_record(measured.metrics)
    typical = _typical(sampler, data, len(drawn.grids))
    figures = examine(typical, drawn.grids, lambda grids: grids.flatten(1).mean(dim=1))
    return {
        "striped": striped_share(drawn.grids, typical),
        "collapsed": any(rule.ill(figures) for rule in RULES if rule.name in ("repetition", "sameness")),
        "density": metrics["density"],
        "coverage": metrics["coverage"],
        "frechet": metrics["frechet"],
        "decoded": measured.decoded,
        "valid": measured.valid,
        "unique": measured.unique,
        "followed": measured.followed,
    }


def _typical(sampler: GridSampler, data: DataSet, n: int) -> torch.Tensor:
    dataset = StructureDataset(data.records, sampler.spec, data.conditions, data.template, view=sampler.view)
    return dataset.batch(n, torch.Generator().manual_seed(0)).grids


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: means over the seeds, floors in brackets; collapse counts the seeds."""
    lines = [f"| row | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for name in dict.fromkeys(row["row"] for row in rows):
        own = [row for row in rows if row["row"] == name]
        cells = []
        for column in COLUMNS:
            values = [row[column] for row in own]
            if column == "collapsed":
                cells.append(f"{sum(values)} of {len(values)}")
            elif isinstance(values[0], dict):
                value, floor = (statistics.mean(v[part] for v in values) for part in ("value", "floor"))
                cells.append(f"{value:.3g} ({floor:.3g})")
            else:
                cells.append(f"{statistics.mean(values):.1%}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2, 3))
    parser.add_argument("--rows", nargs="+", default=[*CORRECTIONS, "default"], choices=[*CORRECTIONS, "default"])
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--shape", type=int, nargs=3, default=(16, 16, 16))
    parser.add_argument("--sigma", type=float, default=0.55)
    parser.add_argument("--table", action="store_true", help="only the table of what is done")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = {
        "view": "window",
        "shape": tuple(arguments.shape),
        "sigma": arguments.sigma,
        "allow_coarse": True,
        "conditions": ("energy_class", "n_oxygen"),
    }
    named = read_named(arguments.files)
    arguments.work.mkdir(parents=True, exist_ok=True)
    if not arguments.table:
        for seed in arguments.seeds:
            for row in arguments.rows:
                found = train_row(row, seed, named, arguments.work, arguments.steps, arguments.samples, data)
                print(json.dumps({key: found[key] for key in ("row", "seed", *COLUMNS)}), flush=True)
    done = sorted(arguments.work.glob("*/figures.json"))
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in done]
    order = [*CORRECTIONS, "default"]
    print(table(sorted(rows, key=lambda row: (order.index(row["row"]), row["seed"]))))


if __name__ == "__main__":
    main()
