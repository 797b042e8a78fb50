"""An encoder learns beside the GAN what noise a structure comes from, and costs nothing where it is not named."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gan_setting import NETWORKS, cell_grid, cell_records, grid, records, template

from generators.latent_inversion import InversionSettings, invert
from generators.networks.encoder import Encoder
from generators.sampling import Sampler, described_sampler
from generators.training.checkpoint import load_weights
from generators.training.loop import Trainer
from generators.training.settings import TrainingSettings
from generators.training.view import View

SETTINGS = TrainingSettings(steps=2, batch_size=4, checkpoint_every=1, threads=1, check_every=0)
TERMS = ("autoencoding", "autoencoding_features")


def trainer(
    terms: dict[str, float], view: View | None = None, seed: int = 0, warm_start: Path | None = None, **changes: float
) -> Trainer:
    settings = replace(SETTINGS, terms=terms, **changes)  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(seed)
    if view is not None:
        return Trainer(None, cell_grid(), NETWORKS, settings, cell_records(), random, view=view)
    return Trainer(template(), grid(), NETWORKS, settings, records(), random, warm_start)


def saved(made: Trainer, folder: Path) -> Path:
    list(made.run())
    made.save(folder / "weights.safetensors")
    return folder / "weights.safetensors"


@pytest.mark.parametrize(
    "view", [None, View("cell"), View("slice", planes=(0.0, 0.5))], ids=["window", "cell", "slice"]
)
@pytest.mark.parametrize("name", TERMS)
def test_a_training_with_an_encoder_resumes_to_the_bit(tmp_path: Path, name: str, view: View | None) -> None:
    whole = trainer({name: 0.5}, view)
    metrics = list(whole.run())
    assert all(math.isfinite(row[name]) and row["encoder_divergence"] >= 0.0 for row in metrics)
    interrupted = trainer({name: 0.5}, view).run(tmp_path)
    next(interrupted)
    interrupted.close()
    resumed = trainer({name: 0.5}, view, seed=9)
    list(resumed.run(tmp_path))
    ours, theirs = whole.prepared[name].tensors(), resumed.prepared[name].tensors()
    assert [n for n, tensor in ours.items() if not torch.equal(tensor, theirs[n])] == []
    expected, found = whole.state.tensors(), resumed.state.tensors()
    assert [n for n, tensor in expected.items() if not torch.equal(tensor, found[n])] == []


def test_encoder_and_generator_learn_to_explain_the_data() -> None:
    """Against an idle critic, whose pull the weight outdoes, half of what was unexplained is explained in 40 steps."""
    settings = {"steps": 40, "batch_size": 8, "critic_rate": 1e-9, "generator_rate": 4e-3}
    left = [row["autoencoding"] for row in trainer({"autoencoding": 30.0}, **settings).run()]
    assert np.mean(left[-5:]) < 0.5 * np.mean(left[:5])


def test_the_encoder_is_kept_with_the_weights_and_taken_up(tmp_path: Path) -> None:
    made = trainer({"autoencoding": 1.0})
    path = saved(made, tmp_path)
    loaded = described_sampler(path, template())
    assert isinstance(loaded, Sampler)
    batch = made.dataset.each()
    expected = Sampler.of(made).encode(batch.grids, batch.conditions)
    found = loaded.encode(batch.grids, batch.conditions)
    assert expected is not None and found is not None
    assert found.shape == (12, NETWORKS.latent) and torch.equal(found, expected)
    begun = trainer({"autoencoding": 1.0}, warm_start=path, seed=4).kept["encoder"].state_dict()
    assert all(torch.equal(tensor, begun[name]) for name, tensor in made.kept["encoder"].state_dict().items())


def test_without_the_terms_nothing_is_made(tmp_path: Path) -> None:
    """The same draws and the same tensors on disk, none of an encoder."""
    path = saved(trainer({}), tmp_path)
    tensors, description = load_weights(path)
    assert {name.partition(".")[0] for name in tensors} == {"generator", "critic"}
    assert "encoder" not in json.dumps(description)
    sampler = described_sampler(path, template())
    assert isinstance(sampler, Sampler)
    assert sampler.encode(torch.zeros(1, 2, 8, 8, 8), torch.zeros(1, 1)) is None


def test_the_encoder_gives_a_search_of_the_noise_a_start() -> None:
    """With an encoder that answers with the noise of a grid, no step is needed."""
    made = trainer({"autoencoding": 1.0})
    list(made.run())
    sampler = Sampler.of(made)
    noise = torch.randn(1, NETWORKS.latent, generator=torch.Generator().manual_seed(2))
    rows = torch.tensor([[1.0]])
    assert isinstance(sampler.encoder, Encoder)
    with torch.no_grad():
        sampler.encoder.head.weight.zero_()
        sampler.encoder.head.bias[: NETWORKS.latent] = noise[0]
    search = InversionSettings(tried=1, starts=1, steps=0)
    found = invert(sampler, sampler.at(noise, rows).grids, rows, torch.Generator().manual_seed(0), search)
    assert torch.allclose(found.noise, noise) and float(found.unexplained) < 1e-6


def test_first_distributions_are_about_standard_normal() -> None:
    made = trainer({"autoencoding": 1.0})
    encoder, batch = made.kept["encoder"], made.dataset.each()
    with torch.no_grad():
        mean, log_variance = encoder(batch.grids, batch.conditions)
    assert float(mean.abs().max()) < 1.0 and float(log_variance.abs().max()) < 1.0


def test_terms_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="each has an encoder of its own"):
        trainer(dict.fromkeys(TERMS, 1.0))
    packed = replace(NETWORKS, packing=2)
    settings = replace(SETTINGS, terms={"autoencoding_features": 1.0})
    with pytest.raises(ValueError, match="`packing` is 2"):
        Trainer(template(), grid(), packed, settings, records(), torch.Generator().manual_seed(0))
