"""What the report says about the network: losses, health per iteration, samples beside the nearest real structure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from generators.grids.augmentation import apply_operation
from generators.grids.compiled import gaussian_sums
from generators.grids.files import GridFile, read_grids
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.results import plots, svg
from searcher.structures.templates import plane_group

MOST_POINTS = 400
MOST_REAL = 400
SHOWN_SAMPLES = 3
GRADIENTS = ("critic_gradient", "generator_gradient", "penalty")
CHECKS = ("health_diversity", "health_unique", "health_coverage_ratio", "health_memorised", "health_critic_accuracy")
"""figures of `generators.training.health` that are about 1 while all is well"""


@dataclass(frozen=True)
class Chart:
    """Metrics over all iterations, one after another."""

    names: list[str]
    drawing: Markup


@dataclass(frozen=True)
class Slice:
    """One picture of a density with what it shows."""

    source: str
    """``src`` of an image"""
    caption: str


@dataclass(frozen=True)
class Sample:
    """A generated grid beside the real structure nearest to it.

    Attributes
    ----------
    nearest : str
        Id of the real structure, empty if there is none to compare with.
    likeness : float
        Cosine of the two grids, 1 for the same.
    generated, real : list of Slice
    """

    nearest: str
    likeness: float
    generated: list[Slice]
    real: list[Slice]


def losses(ledger: Ledger) -> Chart:
    """Losses of all iterations."""
    names = [n for n in _metric_names(ledger) if n in plots.SHOWN_METRICS or n.endswith("loss")]
    return Chart(names, _chart(ledger, names, "losses", "losses against training steps", "loss / 1"))


def gradients(ledger: Ledger) -> Chart:
    """Gradient norms and penalty of all iterations: they grow without bound in a training that breaks."""
    names = [n for n in _metric_names(ledger) if n in GRADIENTS]
    return Chart(names, _chart(ledger, names, "gradients", "gradient norms and penalty against training steps", "1"))


def checks(ledger: Ledger) -> Chart:
    """What the checks of the training measured, over all iterations."""
    names = [n for n in _metric_names(ledger) if n in CHECKS]
    return Chart(names, _chart(ledger, names, "checks", "figures of the checks against training steps", "1"))


def findings(ledger: Ledger) -> list[dict[str, Any]]:
    """What the checks found: ``iteration`` and the fields of `generators.training.health.Finding`."""
    return [
        {"iteration": iteration, **finding}
        for iteration, name, detail in ledger.stages()
        if name.startswith("train:")
        for finding in detail.get("findings", [])
    ]


def health(ledger: Ledger) -> list[dict[str, Any]]:
    """One record per iteration that trained.

    Returns
    -------
    list of dict
        ``iteration``; ``records``, structures learned from; ``steps``; ``wasserstein`` and ``critic_gradient``, means
        of the last tenth of the steps; ``decoded``, ``valid`` and ``novel``, shares of the proposals of arms that
        learn, None where nothing was proposed or relaxed.
    """
    found = []
    for iteration in range(_iterations(ledger)):
        metrics = ledger.metrics(iteration)
        if not metrics:
            continue
        details = [d for i, name, d in ledger.stages() if i == iteration and name.startswith("train:")]
        proposed = [c for c in ledger.candidates(iteration=iteration) if c.arm in _learning_arms(ledger)]
        relaxed = [c for c in proposed if c.passed >= Gate.VALID_RELAXED]
        found.append(
            {
                "iteration": iteration,
                "records": sum(d.get("records", 0) for d in details) or None,
                "steps": max(step for points in metrics.values() for step, _ in points),
                "wasserstein": _late_mean(metrics.get("wasserstein", [])),
                "critic_gradient": _late_mean(metrics.get("critic_gradient", [])),
                "decoded": _share(proposed, Gate.DECODED),
                "valid": _share(proposed, Gate.VALID),
                "novel": _share(relaxed, Gate.NOVEL),
            }
        )
    return found


def samples(folder: Path, ledger: Ledger) -> list[Sample]:
    """Some grids of the last iteration that kept them, each beside the real structure that is most like it."""
    kept = sorted((folder / "iterations").glob("*/samples-*.npz"))
    if not kept:
        return []
    file = read_grids(kept[-1])
    names, real = _real_grids(ledger, file, iteration=int(kept[-1].parent.name))
    found = []
    for grid in file.grids[:SHOWN_SAMPLES]:
        planes = [int(np.unravel_index(channel.argmax(), channel.shape)[1]) for channel in grid]
        generated = _slices(grid, file, planes, "generated")
        if not len(real):
            found.append(Sample("", 0.0, generated, []))
            continue
        flat = real.reshape(len(real), -1)
        norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(grid)
        cosines = flat @ grid.reshape(-1) / np.maximum(norms, 1e-12)
        best = int(cosines.argmax())
        found.append(Sample(names[best], float(cosines[best]), generated, _slices(real[best], file, planes, "real")))
    return found


def _real_grids(ledger: Ledger, file: GridFile, iteration: int) -> tuple[list[str], np.ndarray]:
    """Grids of minima known when an iteration began, in every image under the template's plane group."""
    known = [c for c in ledger.candidates(reached=Gate.VALID_RELAXED, before=iteration) if c.relaxed and _usable(c)]
    known = known[:: 1 + len(known) // MOST_REAL]
    names: list[str] = []
    images: list[tuple[np.ndarray, np.ndarray]] = []
    operations: list[tuple[np.ndarray, np.ndarray]] = []
    for candidate in known:
        atoms = ledger.structure(str(candidate.relaxed))
        frozen, lengths = atoms.get_tags() == 0, atoms.cell.lengths()
        operations = operations or _operations(atoms.numbers[frozen], atoms.positions[frozen], lengths[:2])
        if not set(atoms.numbers[~frozen].tolist()) <= set(file.spec.numbers.tolist()):
            continue
        for rotation, translation in operations:
            names.append(candidate.label or candidate.id)
            images.append(
                (atoms.numbers[~frozen], apply_operation(atoms.positions[~frozen], rotation, translation, lengths))
            )
    if not images:
        return [], np.zeros((0, len(file.spec.species), *file.spec.shape), dtype=np.float32)
    longest = max(len(numbers) for numbers, _ in images)
    positions = np.zeros((len(images), longest, 3), dtype=np.float32)
    channels = np.full((len(images), longest), -1, dtype=np.int64)
    for row, (numbers, places) in enumerate(images):
        positions[row, : len(numbers)] = places
        channels[row, : len(numbers)] = [file.spec.channel_of(int(number)) for number in numbers]
    return names, gaussian_sums(positions, channels, file.spec)


def _operations(numbers: np.ndarray, positions: np.ndarray, lengths: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    if not len(numbers):
        return [(np.eye(3), np.zeros(3))]
    return list(zip(*plane_group(numbers, positions, lengths), strict=True))


def _usable(candidate: Candidate) -> bool:
    return candidate.verdict != Verdict.REFERENCE or candidate.reason is None


def _slices(grid: np.ndarray, file: GridFile, planes: Sequence[int], kind: str) -> list[Slice]:
    """Per species a plane of constant y through the generated grid's highest peak, and the view from above."""
    x, y, z = file.spec.lengths
    found = []
    for channel, symbol in enumerate(file.spec.species):
        views = (("side", grid[channel][:, planes[channel]], z), ("top", grid[channel].max(axis=2), y))
        for name, density, up in views:
            source = plots.embedded(plots.density_image(density, x, up))
            found.append(Slice(source, f"{symbol} {kind}, {name}, {x:.1f} × {up:.1f} Å"))
    return found


def _metric_names(ledger: Ledger) -> list[str]:
    return sorted({name for i in range(_iterations(ledger)) for name in ledger.metrics(i)})


def _iterations(ledger: Ledger) -> int:
    return 1 + max((iteration for iteration, _, _ in ledger.stages()), default=-1)


def _learning_arms(ledger: Ledger) -> set[str]:
    return {arm["name"] for arm in ledger.fact("config", {}).get("arms", []) if arm.get("kind") != "random"}


def _share(candidates: Sequence[Candidate], gate: Gate) -> float | None:
    return sum(c.passed >= gate for c in candidates) / len(candidates) if candidates else None


def _late_mean(points: Sequence[tuple[int, float]]) -> float | None:
    late = [value for _, value in points[-max(1, len(points) // 10) :] if np.isfinite(value)]
    return float(np.mean(late)) if late else None


def _chart(ledger: Ledger, names: Sequence[str], name: str, title: str, label: str) -> Markup:
    """All iterations one after another, thinned to what a screen can show."""
    series: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    offset, boundaries = 0.0, []
    for iteration in range(_iterations(ledger)):
        metrics = {name: points for name, points in ledger.metrics(iteration).items() if name in series}
        if not metrics:
            continue
        for metric, points in metrics.items():
            series[metric] += [(offset + step, value) for step, value in points]
        offset += 1 + max(step for points in metrics.values() for step, _ in points)
        boundaries.append(offset)
    thinned = {metric: points[:: 1 + len(points) // MOST_POINTS] for metric, points in series.items()}
    return svg.curves_over_steps(thinned, boundaries[:-1], name, title, label)
