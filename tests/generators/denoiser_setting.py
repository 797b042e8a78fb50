"""A small denoiser on the small template."""

import torch
from gan_setting import CLASSES, grid, records, template

from generators.denoising.network import Denoiser
from generators.denoising.settings import DenoiserNetworkSettings, DenoiserTrainingSettings
from generators.denoising.training import DenoiserTrainer, build_denoiser

NETWORK = DenoiserNetworkSettings(conditions=(CLASSES,), condition_size=4, channels=(6, 8), embedding=8)
SETTINGS = DenoiserTrainingSettings(steps=6, batch_size=4, checkpoint_every=2, threads=1)


def trainer(settings: DenoiserTrainingSettings = SETTINGS, seed: int = 0, **keywords: object) -> DenoiserTrainer:
    network, data = keywords.pop("network", NETWORK), keywords.pop("data", records())
    random = torch.Generator().manual_seed(seed)
    return DenoiserTrainer(template(), grid(), network, settings, data, random, **keywords)  # type: ignore[arg-type]


def drawn_denoiser(settings: DenoiserNetworkSettings = NETWORK) -> Denoiser:
    """Untrained, but with every weight away from zero."""
    random = torch.Generator().manual_seed(0)
    network = build_denoiser(template(), grid(), settings, 0.2, random, "cpu")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    return network.eval()
