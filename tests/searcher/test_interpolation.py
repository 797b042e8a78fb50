"""A way between two structures begins and ends at what the generator makes of them, and is written to be relaxed."""

from dataclasses import replace
from pathlib import Path

import ase.io
import pytest
import torch
from test_reach import NETWORKS, SPEC, structure

from generators.latent_inversion import InversionSettings
from generators.sampling import Sampler
from generators.training.loop import Trainer
from generators.training.settings import TrainingSettings
from generators.training.view import View
from searcher.errors import InputError
from searcher.generation.interpolation import way_between
from searcher.generation.reach import Known

SEARCH = InversionSettings(tried=16, starts=2, steps=60)


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    """Two structures learned by heart: an encoder and no critic to speak of."""
    settings = TrainingSettings(
        steps=150, batch_size=4, threads=1, check_every=0, terms={"autoencoding": 30.0}, critic_rate=1e-9,
        generator_rate=5e-3, ema_decay=0.5,
    )  # fmt: skip
    networks = replace(NETWORKS, generator_channels=(16, 8))
    view = View("cell", augmentation="none")
    data = [structure(name, n).record for name, n in (("a", 1), ("b", 2))]
    trainer = Trainer(None, SPEC, networks, settings, data, torch.Generator().manual_seed(0), view=view)
    list(trainer.run())
    return Sampler.of(trainer)


def test_a_way_leads_from_one_to_the_other(sampler: Sampler, tmp_path: Path) -> None:
    ends: list[Known] = [structure("a", 1), structure("b", 2)]
    told = way_between(sampler, None, ends, 5, 0, tmp_path / "way.extxyz", SEARCH)
    assert [end["name"] for end in told["ends"]] == ["a", "b"]
    assert max(end["unexplained"] for end in told["ends"]) < 0.2
    assert (told["steps"][0], told["steps"][-1]) == ("RuO", "RuO2")
    written = ase.io.read(tmp_path / "way.extxyz", ":")
    assert len(written) == told["structures"] >= 2
    assert written[0].info["step"] == 0 and written[-1].info["step"] == 4
    assert written[0].info["from"] == "a"


def test_a_way_without_ends_is_refused(sampler: Sampler, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two ends"):
        way_between(sampler, None, [structure("a", 1), structure("b", 2)], 1, 0, tmp_path / "way.extxyz", SEARCH)
