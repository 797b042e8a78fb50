"""What a trained generator is worth: metrics beside their floors, nearest real structures, pictures."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from rich.console import Console
from rich.table import Table

from generators.networks.conditioning import decode
from generators.sampling import Drawn, GridSampler
from generators.template import Template
from generators.training.dataset import StructureDataset
from generators.training.evaluation import as_record, compare_property, evaluate, smoothness
from generators.training.health import coarse_features
from generators.training.likeness import nearest_by_similarity
from searcher.campaign.workers.executor import Executor
from searcher.campaign.workers.fingerprints import Fingerprints
from searcher.generation.attributed import print_attribution
from searcher.generation.data_set import DataSet
from searcher.generation.reach import (
    as_told,
    known_structures,
    paths_picture,
    print_reach,
    reach,
    spread_over,
    unreached_picture,
)
from searcher.generation.reading import read_structures, whole_structure
from searcher.results import generator_plots
from searcher.results.soap_map import map_axes
from searcher.scoring.descriptors import LocalVectors, SoapSettings, mean_vector
from searcher.scoring.known_set import KnownSet

LEAST = 12
"""Structures of each kind without which no distribution can be spoken of."""
SHOWN = 6
PATH_STEPS = 16
SHOWN_PATHS = 4
OXYGEN = 8
COUNTED = ("n_oxygen", "n_metal")


def assess(
    sampler: GridSampler,
    template: Template | None,
    data: DataSet,
    n: int,
    seed: int,
    executor: Executor,
    out: Path | None,
    reached: int = 0,
) -> dict[str, Any]:
    """Draw samples under the data's own conditions and compare them with training and held-out structures.

    Parameters
    ----------
    sampler : GridSampler
    template : Template or None
    data : DataSet
        What the weights were trained on.
    n : int
        Samples.
    seed : int
    executor : Executor
        Where SOAP vectors are computed.
    out : pathlib.Path, optional
        Folder for pictures.
    reached : int
        Structures of the data, at most, that are traced back to the noise.

    Returns
    -------
    dict
        ``decoded`` share, ``reasons`` of the others, ``metrics`` and ``atoms`` as ``{"value", "floor"}`` by name,
        ``smoothness``: largest over mean step of the grids along an even path of the noise,
        ``lattice_error`` where lengths are emitted, ``similarity`` to the nearest training grid (median and
        largest), ``kappa`` to the nearest training structure,
        ``followed``: share of samples with the counts that were asked for; ``reach``: see `searcher.generation.reach`.
        Where too few could be read or are held out, ``not_compared`` says so in the place of distributions.
    """
    rng = np.random.default_rng(seed)
    drawn = sampler.draw(n, {}, rng)
    dataset = StructureDataset(data.records, sampler.spec, data.conditions, template, view=sampler.view)
    training = _unmoved(dataset, sampler)
    index, similarity = nearest_by_similarity(drawn.grids[: min(n, 64)], training)
    told: dict[str, Any] = {
        "samples": n,
        "similarity": {"median": float(similarity.median()), "largest": float(similarity.max())},
    }
    if drawn.lengths is not None:
        told["lattice_error"] = lattice_error(drawn.lengths, dataset.lengths)
    paths = [sampler.path(PATH_STEPS, rng) for _ in range(1 if out is None else SHOWN_PATHS)]
    told["smoothness"] = smoothness(coarse_features(paths[0]))
    if out is not None:
        _draw_grids(out, sampler, drawn, training[index], similarity)
        (out / "paths.png").write_bytes(paths_picture(paths))
    if reached:
        told["reach"] = _reach(sampler, template, data, reached, seed, out)
    if sampler.view.kind == "slice":
        return told
    structures, reasons, rows = _decoded(drawn, sampler, template)
    told |= {"decoded": len(structures) / n, "reasons": dict(Counter(reasons))}
    if min(len(structures), len(data.holdout), len(data.records)) < LEAST:
        told["not_compared"] = (
            f"{len(structures)} samples could be read and {len(data.holdout)} structures are held out; {LEAST} of each "
            "are needed to compare distributions: draw more, or train longer"
        )
        return told
    return told | _compared(structures, rows, sampler, template, data, executor, out)


def lattice_error(generated: torch.Tensor, real: torch.Tensor) -> float:
    """Median over samples of the largest relative error of a length (n, 3), against the data's nearest cell (m, 3)."""
    cells = torch.unique(real.cpu(), dim=0)
    errors = (generated[:, None] / cells[None] - 1.0).abs().amax(dim=2).amin(dim=1)
    return float(errors.median())


def print_assessment(told: dict[str, Any], console: Console) -> None:
    """A table of metrics beside their floors, and the rest in lines."""
    table = Table(box=None)
    table.add_column("metric")
    for heading in ("generated", "floor"):
        table.add_column(heading, justify="right")
    for group in ("metrics", "atoms"):
        for name, figure in told.get(group, {}).items():
            table.add_row(name.replace("_", " "), f"{figure['value']:.4g}", f"{figure['floor']:.4g}")
    if table.row_count:
        console.print(table)
    if "decoded" in told:
        console.print(f"{told['decoded']:.1%} of {told['samples']} samples could be read", highlight=False)
    for name, share in told.get("followed", {}).items():
        console.print(f"{share:.1%} have the {name} that they were asked for", highlight=False)
    if "not_compared" in told:
        console.print(told["not_compared"], highlight=False)
    if "lattice_error" in told:
        console.print(
            f"lengths are off by {told['lattice_error']:.1%}, the median of each sample's worst", highlight=False
        )
    if "reach" in told:
        print_reach(told["reach"], console)
    if "attribution" in told:
        print_attribution(told["attribution"], console)
    near = told["similarity"]
    console.print(f"structural similarity with the nearest training grid: median {near['median']:.3f}", highlight=False)


def _reach(
    sampler: GridSampler, template: Template | None, data: DataSet, most: int, seed: int, out: Path | None
) -> dict[str, Any]:
    """The data's structures traced back, with a picture of those that are reached worst."""
    reached = reach(sampler, template, spread_over(known_structures(data, template), most), seed)
    if out is not None and reached:
        (out / "unreached.png").write_bytes(unreached_picture(reached))
    return as_told(reached)


def _unmoved(dataset: StructureDataset, sampler: GridSampler) -> torch.Tensor:
    """Grids of training structures as the augmentation makes them, each about once."""
    return dataset.batch(len(dataset), torch.Generator().manual_seed(0)).grids


def _decoded(
    drawn: Drawn, sampler: GridSampler, template: Template | None
) -> tuple[list[Atoms], list[str], list[dict[str, int | float]]]:
    """Structures that could be read with their conditions, and the reasons of the others."""
    found: list[Atoms] = []
    reasons: list[str] = []
    kept: list[dict[str, int | float]] = []
    read = read_structures(drawn, sampler, template)
    for (atoms, reason), condition in zip(read, decode(drawn.rows, sampler.conditions), strict=True):
        if reason is None:
            found.append(atoms)
            kept.append(condition)
        else:
            reasons.append(reason)
    return found, reasons, kept


def _compared(
    structures: Sequence[Atoms],
    conditions: Sequence[dict[str, int | float]],
    sampler: GridSampler,
    template: Template | None,
    data: DataSet,
    executor: Executor,
    out: Path | None,
) -> dict[str, Any]:
    """Metrics in SOAP space, atom counts, nearest structures by κ, and what was followed."""
    n_frozen = 0 if template is None else template.n_frozen
    groups = {
        "made": list(structures),
        "train": [whole_structure(record, sampler.spec, template) for record in data.records],
        "held": [whole_structure(record, sampler.spec, template) for record in data.holdout],
    }
    soap = SoapSettings(species=tuple(sampler.spec.species))
    described = {name: _described(name, group, soap, n_frozen, executor) for name, group in groups.items()}
    features = {name: np.array([mean_vector(v, soap) for v in rows]) for name, rows in described.items()}
    counts = {name: np.array([len(atoms) for atoms in group], dtype=float) for name, group in groups.items()}
    known = KnownSet()
    for number, vectors in enumerate(described["train"]):
        known.add(str(number), vectors, 0.0)
    kappa = np.array([kappa for kappa, _ in known.nearest(described["made"])])
    told: dict[str, Any] = {
        "metrics": as_record(evaluate(features["train"], features["held"], features["made"])),
        "atoms": as_record(compare_property(counts["train"], counts["held"], counts["made"])),
        "kappa": {"median": float(np.median(kappa)), "smallest": float(kappa.min())},
        "followed": _followed(structures, conditions, n_frozen),
    }
    if out is not None:
        _draw_structures(out, features, counts, structures, conditions, n_frozen)
    return told


def _described(
    name: str, group: Sequence[Atoms], soap: SoapSettings, n_frozen: int, executor: Executor
) -> list[LocalVectors]:
    """Vectors of the free atoms, of the structures that can be described."""
    found = Fingerprints(executor, soap).of({f"{name}-{number}": atoms for number, atoms in enumerate(group)})
    return [v.subset(range(n_frozen, v.n_centers)) for v in found.values() if v is not None]


def _counted(atoms: Atoms, n_frozen: int) -> dict[str, int]:
    free = atoms.numbers[n_frozen:]
    oxygen = int(np.count_nonzero(free == OXYGEN))
    return {"n_oxygen": oxygen, "n_metal": len(free) - oxygen}


def _followed(
    structures: Sequence[Atoms], conditions: Sequence[dict[str, int | float]], n_frozen: int
) -> dict[str, float]:
    """Share of samples that have the counts they were asked for, by condition."""
    got = [_counted(atoms, n_frozen) for atoms in structures]
    return {
        name: float(np.mean([g[name] == c[name] for g, c in zip(got, conditions, strict=True)]))
        for name in COUNTED
        if conditions and name in conditions[0]
    }


def _draw_grids(out: Path, sampler: GridSampler, drawn: Drawn, real: torch.Tensor, similarity: torch.Tensor) -> None:
    grids = drawn.grids.numpy()
    order = torch.argsort(similarity, descending=True)[:SHOWN]
    pictures = {
        "beside_nearest.png": generator_plots.beside_nearest(
            grids[order.numpy()], real[order].numpy(), similarity[order].numpy()
        )
    }
    told = decode(drawn.rows, sampler.conditions)
    name = sampler.conditions[0].name if sampler.conditions else ""
    labels = [f"{name} {condition[name]:g}" if name else "" for condition in told]
    pictures["gallery.png"] = generator_plots.gallery(grids, labels)
    if sampler.view.kind != "slice":
        lengths = np.tile(sampler.spec.lengths, (len(grids), 1)) if drawn.lengths is None else drawn.lengths.numpy()
        pictures["isosurfaces.png"] = generator_plots.isosurfaces(grids, sampler.spec.species, lengths)
    for file, picture in pictures.items():
        (out / file).write_bytes(picture)


def _draw_structures(
    out: Path,
    features: dict[str, np.ndarray],
    counts: dict[str, np.ndarray],
    structures: Sequence[Atoms],
    conditions: Sequence[dict[str, int | float]],
    n_frozen: int,
) -> None:
    real = np.concatenate([features["train"], features["held"]])
    places, axes = map_axes(np.concatenate([real, features["made"]]))
    pictures = {
        "map.png": generator_plots.likeness_map(places[: len(real)], places[len(real) :], None, axes),
        "atoms.png": generator_plots.histograms(counts["train"], counts["made"], "atoms"),
    }
    for name in COUNTED:
        if conditions and name in conditions[0]:
            asked = np.array([condition[name] for condition in conditions])
            got = np.array([_counted(atoms, n_frozen)[name] for atoms in structures])
            pictures[f"confusion_{name}.png"] = generator_plots.confusion(asked, got, name)
    for file, picture in pictures.items():
        (out / file).write_bytes(picture)
