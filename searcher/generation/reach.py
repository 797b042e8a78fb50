"""Which structures a trained generator cannot make, and what these have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from rich.console import Console
from rich.table import Table
from scipy.stats import hypergeom

from generators.latent_inversion import InversionSettings, Inverted, invert
from generators.proposal import TrainingRecord
from generators.sampling import GridSampler, Sampler
from generators.template import Template
from generators.training.dataset import Batch, StructureDataset
from searcher.errors import InputError
from searcher.generation.data_set import DataSet
from searcher.generation.reading import read_structures, whole_structure
from searcher.results.description import coordination
from searcher.results.generator_plots import beside_nearest, gallery

WORST_SHARE = 0.25
"""Of the structures, whose features are compared with those of all."""
FEWEST_WORST = 3
LARGEST_CHANCE = 0.05
SHOWN_WORST = 6


@dataclass(frozen=True)
class Known:
    """A structure that the generator is asked to make.

    Attributes
    ----------
    name : str
    record : TrainingRecord
    atoms : ase.Atoms
        The whole structure, frozen atoms first.
    labels : mapping of str to str
        What else is known of it, for example its facet.
    """

    name: str
    record: TrainingRecord
    atoms: Atoms
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Reached:
    r"""How near the generator comes to a structure.

    Attributes
    ----------
    name : str
    unexplained : float
        1 − R² of the nearest generated grid, see `generators.latent_inversion`.
    made : str
        Composition of the atoms in that grid, or the reason why it cannot be read.
    features : dict of str to str
        Of the structure itself.
    given, nearest : numpy.ndarray, shape (n_species, \*shape)
        Its grid, and the generated one.
    """

    name: str
    unexplained: float
    made: str
    features: dict[str, str]
    given: np.ndarray
    nearest: np.ndarray


def reach(
    sampler: GridSampler,
    template: Template | None,
    known: Sequence[Known],
    seed: int,
    settings: InversionSettings | None = None,
) -> list[Reached]:
    """Trace structures back to the generator's noise under their own conditions, the least explained first.

    Parameters
    ----------
    sampler : GridSampler
    template : Template or None
        Of windows.
    known : sequence of Known
    seed : int
        Of the searches' starts.
    settings : InversionSettings, optional

    Raises
    ------
    InputError
        If the weights are of a kind without noise to search, or of slices, or a structure has a condition that they
        were not trained for.
    """
    if not known:
        return []
    batch, found = traced_back(sampler, known, seed, settings)
    n_frozen = 0 if template is None else template.n_frozen
    read = read_structures(found.drawn, sampler, template)
    reached = [
        Reached(
            one.name,
            float(found.unexplained[index]),
            reason or _formula(atoms[n_frozen:]),
            features(one, n_frozen, [spec.name for spec in sampler.conditions]),
            batch.grids[index].numpy(),
            found.drawn.grids[index].numpy(),
        )
        for index, (one, (atoms, reason)) in enumerate(zip(known, read, strict=True))
    ]
    return sorted(reached, key=lambda one: (-one.unexplained, one.name))


def traced_back(
    sampler: GridSampler, known: Sequence[Known], seed: int, settings: InversionSettings | None = None
) -> tuple[Batch, Inverted]:
    """Grids of structures where they stand, and the nearest generated ones with their noise.

    Raises
    ------
    InputError
        As `reach` does.
    """
    if not isinstance(sampler, Sampler) or sampler.view.kind == "slice":
        raise InputError("structures are traced back by a search of the noise of a GAN of whole structures, which this "
                         "generator is not")  # fmt: skip
    records = [one.record for one in known]
    try:
        batch = StructureDataset(records, sampler.spec, sampler.conditions, None, view=sampler.view).each()
    except ValueError as error:
        raise InputError(f"structures do not fit the weights: {error}") from None
    random = torch.Generator().manual_seed(seed)
    return batch, invert(sampler, batch.grids, batch.conditions, random, settings)


def features(one: Known, n_frozen: int, conditions: Sequence[str]) -> dict[str, str]:
    """What a structure may have in common with others: composition, conditions, fewest neighbours, labels."""
    found = {"composition": _formula(one.atoms[n_frozen:])}
    found |= {name: f"{one.record.condition[name]:g}" for name in conditions}
    for symbol, neighbours in coordination(one.atoms, n_frozen).items():
        found[f"fewest neighbours of {symbol}"] = str(min(neighbours))
    return found | dict(one.labels)


def shared_features(reached: Sequence[Reached]) -> list[dict[str, Any]]:
    """Features that are more frequent among the worst quarter than chance would have it, the surest first.

    Parameters
    ----------
    reached : sequence of Reached
        The least explained first.

    Returns
    -------
    list of dict
        ``feature``, ``value``, ``of_worst`` and ``of_all`` (shares), ``chance``: that as many of the worst have it if
        drawn at random without putting back (hypergeometric distribution), not corrected for how many are looked at.
    """
    n_worst = max(FEWEST_WORST, round(WORST_SHARE * len(reached)))
    if n_worst >= len(reached):
        return []
    found = []
    pairs = sorted({pair for one in reached for pair in one.features.items()})
    for name, value in pairs:
        has = np.array([one.features.get(name) == value for one in reached])
        of_worst, of_all = int(has[:n_worst].sum()), int(has.sum())
        chance = float(hypergeom.sf(of_worst - 1, len(reached), of_all, n_worst))
        if chance <= LARGEST_CHANCE:
            found.append(
                {
                    "feature": name,
                    "value": value,
                    "of_worst": of_worst / n_worst,
                    "of_all": of_all / len(reached),
                    "chance": chance,
                }
            )
    return sorted(found, key=lambda row: (row["chance"], row["feature"], row["value"]))


def as_told(reached: Sequence[Reached]) -> dict[str, Any]:
    """What `--json` prints of it."""
    left = np.array([one.unexplained for one in reached])
    return {
        "structures": len(reached),
        "unexplained": {"median": float(np.median(left)), "largest": float(left.max())} if len(left) else {},
        "worst": [
            {"name": one.name, "unexplained": one.unexplained, "made": one.made, **one.features}
            for one in reached[:SHOWN_WORST]
        ],
        "shared": shared_features(reached),
    }


def print_reach(told: Mapping[str, Any], console: Console) -> None:
    """The structures that are reached worst, and what they have in common."""
    if not told["structures"]:
        return
    console.print(
        f"of {told['structures']} structures the nearest generated grids leave unexplained: median "
        f"{told['unexplained']['median']:.1%}, most {told['unexplained']['largest']:.1%}",
        highlight=False,
    )
    table = Table(box=None)
    for heading in ("reached worst", "unexplained", "composition", "made instead"):
        table.add_column(heading)
    for row in told["worst"]:
        table.add_row(row["name"], f"{row['unexplained']:.1%}", row["composition"], row["made"])
    console.print(table)
    for row in told["shared"]:
        console.print(
            f"{row['feature']} {row['value']}: {row['of_worst']:.0%} of the worst, {row['of_all']:.0%} of all "
            f"(chance {row['chance']:.2g})",
            highlight=False,
        )


def known_structures(data: DataSet, template: Template | None) -> list[Known]:
    """Structures of a data set, each once though several conditions are told of it."""
    found: dict[str, Known] = {}
    n_learned = len(data.records)
    for index, (record, (name, family)) in enumerate(zip([*data.records, *data.holdout], data.origins, strict=True)):
        labels = {"family": family, "learned from": "yes" if index < n_learned else "no"}
        found.setdefault(name, Known(name, record, whole_structure(record, data.spec, template), labels))
    return list(found.values())


def unreached_picture(reached: Sequence[Reached]) -> bytes:
    """The structures that are reached worst above the nearest generated grids, with what stays unexplained."""
    worst = reached[:SHOWN_WORST]
    return beside_nearest(
        np.array([one.given for one in worst]),
        np.array([one.nearest for one in worst]),
        np.array([one.unexplained for one in worst]),
        rows=("real", "nearest made"),
    )


def paths_picture(paths: Sequence[torch.Tensor]) -> bytes:
    """Ways through the noise, one in each row, every second step of them."""
    shown = torch.cat([path[::2] for path in paths]).numpy()
    steps = len(paths[0][::2])
    labels = [f"path {number + 1}" for number in range(len(paths)) for _ in range(steps)]
    return gallery(shown, labels, per_label=steps)


def spread_over(known: Sequence[Known], most: int) -> list[Known]:
    """At most so many, evenly spaced in the order they come."""
    if len(known) <= most:
        return list(known)
    return [known[index] for index in np.linspace(0, len(known) - 1, most).round().astype(int)]


def _formula(atoms: Atoms) -> str:
    formula: str = atoms.get_chemical_formula(mode="metal")
    return formula or "nothing"
