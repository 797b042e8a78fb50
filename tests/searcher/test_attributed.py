"""What the critic looks at is written for every atom, and adds up to what it says."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from test_reach import NETWORKS, SPEC, structure

from generators.training.loop import Trainer
from generators.training.settings import TrainingSettings
from generators.training.view import View
from searcher.errors import InputError
from searcher.generation.attributed import draw_attribution


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = TrainingSettings(steps=1, batch_size=2, threads=1, check_every=0)
    data = [structure("a", 1).record, structure("b", 2).record]
    trainer = Trainer(None, SPEC, NETWORKS, settings, data, torch.Generator().manual_seed(0), view=View("cell"))
    list(trainer.run())
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    trainer.save(path)
    return path


def test_the_score_is_divided_among_atoms(weights: Path, tmp_path: Path) -> None:
    """To the quadrature's error at the kinks of leaky rectifiers."""
    pytest.importorskip("captum", reason="Captum is an optional dependency")
    told = draw_attribution(weights, None, [structure("a", 1), structure("b", 2)], tmp_path)
    written = ase.io.read(tmp_path / "attribution.extxyz", ":")
    assert list(told) == ["score"] and [len(atoms) for atoms in written] == [2, 3]
    for row, atoms in zip(told["score"], written, strict=True):
        difference = row["answer"] - row["empty"]
        assert sum(row["by_element"].values()) == pytest.approx(difference, abs=2e-2 * abs(difference) + 1e-6)
        metal = atoms.arrays["attribution_score"][atoms.numbers == 44]
        assert float(np.sum(metal)) == pytest.approx(row["by_element"]["Ru"], abs=1e-6)  # digits of the file
    assert (tmp_path / "attribution-score.png").read_bytes().startswith(b"\x89PNG")


def test_weights_without_a_critic_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        draw_attribution(tmp_path / "weights.safetensors", None, [structure("a", 1)], tmp_path)
