"""A generator that puts out its own training structures is as good as the data, and told to have them by heart."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from test_generation import SMALL, slabs

from generators.sampling import Drawn, Sampler
from generators.template import Template
from generators.training.dataset import StructureDataset
from searcher.campaign.workers.executor import InlineExecutor
from searcher.generation.assessment import assess
from searcher.generation.data_set import DataSet, data_set
from searcher.generation.sampling import open_sampler
from searcher.generation.settings import GeneratorConfig
from searcher.generation.training import train_on_files
from searcher.loading import load_generator_config
from searcher.results.generator_plots import likeness_map
from searcher.results.soap_map import map_axes

pytestmark = pytest.mark.filterwarnings("ignore::generators.grids.resolution.GridWarning")
DEFAULT = Path(__file__).parents[2] / "configs" / "generators" / "default.yaml"


class Copying:
    """In the place of a sampler: grids of the data themselves."""

    def __init__(self, sampler: Sampler, data: DataSet, template: Template | None) -> None:
        self.dataset = StructureDataset(data.records, sampler.spec, data.conditions, template, view=sampler.view)
        self.sampler = sampler

    def __getattr__(self, name: str) -> object:
        return getattr(self.sampler, name)

    def draw(self, n: int, condition: object, rng: np.random.Generator) -> Drawn:
        batch = self.dataset.batch(n, torch.Generator().manual_seed(1))
        return Drawn(batch.grids, batch.conditions, None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GeneratorConfig]:
    folder = tmp_path_factory.mktemp("generator")
    config = load_generator_config(DEFAULT, [*SMALL, "data.shape=[12, 8, 12]", "data.holdout_every=2"])
    named = [(f"{name}-{copy}", atoms) for copy in range(3) for name, atoms in slabs(copy)]
    train_on_files(config, named, folder)
    return folder, config


def test_copies_are_recognised_and_pictured(trained: tuple[Path, GeneratorConfig], tmp_path: Path) -> None:
    folder, config = trained
    data = data_set([(f"{n}-{copy}", atoms) for copy in range(3) for n, atoms in slabs(copy)], config.data)
    sampler, template = open_sampler(folder, None)
    told = assess(Copying(sampler, data, template), template, data, 40, 0, InlineExecutor(Event()), tmp_path)  # type: ignore[arg-type]
    assert told["decoded"] == 1.0
    assert told["followed"]["n_oxygen"] == 1.0
    assert told["similarity"]["median"] > 0.95  # of the same structures under the template's own operations
    assert told["kappa"]["median"] < 0.01
    assert told["metrics"]["memorised"]["value"] == 1.0
    names = {path.name for path in tmp_path.iterdir()}
    assert {"map.png", "gallery.png", "isosurfaces.png", "beside_nearest.png", "confusion_n_oxygen.png"} <= names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())


def test_a_generator_that_cannot_be_read_is_not_compared(trained: tuple[Path, GeneratorConfig], tmp_path: Path) -> None:
    folder, config = trained
    data = data_set([(f"{n}-{copy}", atoms) for copy in range(3) for n, atoms in slabs(copy)], config.data)
    sampler, template = open_sampler(folder, None)
    told = assess(sampler, template, data, 16, 0, InlineExecutor(Event()), tmp_path, reached=2)
    assert told["reach"]["structures"] == 2
    assert all(row["family"] == "110" and 0.0 < row["unexplained"] < 1.5 for row in told["reach"]["worst"])
    assert {"paths.png", "unreached.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "could be read" in told["not_compared"]
    assert "metrics" not in told and 0.0 <= told["similarity"]["median"] <= 1.0


def test_maps_keep_neighbours_together() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(0.0, 0.1, (15, 9)), rng.normal(5.0, 0.1, (15, 9))])
    places, axes = map_axes(rows)
    assert axes in ("principal component", "UMAP")
    within = np.linalg.norm(places[:15] - places[:15].mean(axis=0), axis=1).max()
    assert np.linalg.norm(places[:15].mean(axis=0) - places[15:].mean(axis=0)) > 3.0 * within
    assert likeness_map(places[:15], places[15:], np.arange(15.0), axes).startswith(b"\x89PNG")
