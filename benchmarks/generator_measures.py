"""What the benchmarks of the generator measure of samples; a part of `generator_ablation.py` and the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from scipy.stats import wasserstein_distance

from generators.grids.backmapping import BackmappingSettings, backmap
from generators.networks.conditioning import decode
from generators.overlaps import DistanceTable, push_apart
from generators.proposal import TrainingRecord
from generators.sampling import Drawn, GridSampler
from generators.template import Template
from generators.training.evaluation import Figure, evaluate
from searcher.generation.data_set import DataSet
from searcher.scoring.descriptors import LocalVectors, SoapSettings, UndescribableStructure, local_vectors, mean_vector
from searcher.scoring.novelty import greedy_unique
from searcher.scoring.validity import ValidityThresholds, check_validity

KAPPA_MIN = 0.075
CONFLICT_SHARE = 0.85
FACE_TOLERANCE = 3.0
"""How many times more than in the data the opposite faces of a periodic axis may differ before a grid is striped."""


@dataclass(frozen=True)
class Measured:
    """Figures of samples; shares are of all samples but `valid`, of the decoded, and `unique`, of the valid."""

    metrics: dict[str, Figure]
    decoded: float
    valid: float
    unique: float
    followed: float
    atom_counts: float
    """earth mover's distance of the numbers of atoms from the data's, over their mean"""
    structures: tuple[Atoms, ...]
    """valid ones"""
    asked: tuple[dict[str, int | float], ...]
    """what these were asked for"""


def measure(drawn: Drawn, sampler: GridSampler, data: DataSet, seed: int) -> Measured:
    """Read samples of windows, judge them before relaxation, and compare with held-out structures."""
    template = data.template
    assert template is not None, "these benchmarks measure windows"
    limits = ValidityThresholds()
    soap = SoapSettings(species=tuple(sampler.spec.species))
    least = DistanceTable({"O-O": limits.o_o_clustered, "Ru-O": limits.metal_o_min, "Ru-Ru": limits.metal_metal_min})
    settings = BackmappingSettings(
        r2_min=0.5,
        integral_decides=True,
        merge_distance=max(2.0, limits.o_o_molecular / sampler.spec.sigma),
        conflict_distance=CONFLICT_SHARE * limits.metal_o_min,
    )
    told = decode(drawn.rows, sampler.conditions)
    read = backmap(drawn.grids, sampler.spec, settings)
    pairs = [
        (template.assemble(one.numbers, push_apart(one.numbers, one.positions, template, least)), asked)
        for one, asked in zip(read, told, strict=True)
        if one.reason is None
    ]
    fine = [(atoms, asked) for atoms, asked in pairs if check_validity(atoms, template.n_frozen, limits).valid]
    rng = np.random.default_rng(seed)
    made = _features([atoms for atoms, _ in pairs], template, soap)
    train, held = (
        _features(_drawn(records, template, len(read), rng), template, soap) for records in (data.records, data.holdout)
    )
    vectors = [_vectors(atoms, template, soap) for atoms, _ in fine]
    kept = [v for v in vectors if v is not None]
    excess = [
        float(np.count_nonzero(atoms.numbers == 8))
        for (atoms, _), v in zip(fine, vectors, strict=True)
        if v is not None
    ]
    counts = np.array([len(atoms) for atoms, _ in pairs] or [0], dtype=float)
    real = np.array([len(record.numbers) + template.n_frozen for record in data.records], dtype=float)
    oxygen = [np.count_nonzero(atoms.numbers[template.n_frozen :] == 8) == asked["n_oxygen"] for atoms, asked in pairs]
    enough = min(len(made), len(train), len(held)) > 12
    return Measured(
        metrics=evaluate(train, held, made) if enough else dict.fromkeys(METRICS, Figure(float("nan"), float("nan"))),
        decoded=len(pairs) / max(1, len(read)),
        valid=len(fine) / max(1, len(pairs)),
        unique=len(greedy_unique(kept, KAPPA_MIN, excess)) / max(1, len(fine)),
        followed=float(np.mean(oxygen)) if oxygen else 0.0,
        atom_counts=float(wasserstein_distance(real, counts) / (real.mean() - template.n_frozen)),
        structures=tuple(atoms for atoms, _ in fine),
        asked=tuple(asked for _, asked in fine),
    )


METRICS = ("frechet", "density", "coverage", "recall", "precision", "vendi", "clusters_reached", "memorised")


def striped_share(grids: torch.Tensor, real: torch.Tensor) -> float:
    """Share of grids whose opposite faces along x or y fit much worse, for their contents, than those of the data.

    Stripes and seams of layers that see nothing beyond the cell show where the cell is periodic: the step from the last
    voxel to the first is compared with the mean step inside.
    """
    limit = FACE_TOLERANCE * torch.quantile(_seam(real), 0.95)
    return float((_seam(grids) > limit).float().mean())


def _seam(grids: torch.Tensor) -> torch.Tensor:
    """Largest ratio (n,) of the mean step across the boundary to the mean step inside, along x and y."""
    ratios = []
    for axis in (2, 3):
        steps = (grids - grids.roll(1, dims=axis)).abs()
        across = steps.select(axis, 0).flatten(1).mean(dim=1)
        inside = steps.narrow(axis, 1, grids.shape[axis] - 1).flatten(1).mean(dim=1)
        ratios.append((across + 1e-4) / (inside + 1e-4))
    return torch.stack(ratios).amax(dim=0)


def _drawn(records: Sequence[TrainingRecord], template: Template, n: int, rng: np.random.Generator) -> list[Atoms]:
    weights = np.array([record.weight for record in records])
    rows = rng.choice(len(records), size=n, p=weights / weights.sum())
    return [template.assemble(records[row].numbers, records[row].positions) for row in rows]


def _vectors(atoms: Atoms, template: Template, soap: SoapSettings) -> LocalVectors | None:
    try:
        return local_vectors(atoms, soap, range(template.n_frozen, len(atoms)))
    except UndescribableStructure:
        return None


def _features(structures: Sequence[Atoms], template: Template, soap: SoapSettings) -> np.ndarray:
    found = [_vectors(atoms, template, soap) for atoms in structures]
    return np.array([mean_vector(vectors, soap) for vectors in found if vectors is not None])
