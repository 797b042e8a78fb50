"""What must fit together before a training starts."""

import torch
from torch.nn import functional

from generators.networks.settings import NetworkSettings
from generators.training.settings import TrainingSettings

CONVOLUTION_TOLERANCE = 0.02
"""Relative error that bf16, with its 8 bits, may show in a sum of a few hundred products."""


def check_fitting(networks: NetworkSettings, training: TrainingSettings, n_processes: int) -> None:
    """Refuse settings of networks and training that exclude each other.

    Raises
    ------
    ValueError
    """
    if training.batch_size % (networks.packing * n_processes):
        raise ValueError(
            f"`batch_size` is {training.batch_size} but must be divisible by `packing` {networks.packing} times "
            f"{n_processes} processes"
        )
    if training.compiled and networks.critic_dropout > 0.0:
        raise ValueError("`compiled` excludes `critic_dropout`, whose masks come from a generator of their own")
    if training.curriculum_steps and not networks.conditions:
        raise ValueError("`curriculum_steps` needs a condition to go by")


def check_precision(precision: str, on: str) -> None:
    """Refuse a GPU that computes convolutions wrongly, as some releases of cuDNN do in bf16.

    Parameters
    ----------
    precision : {"fp32", "bf16"}
    on : str
        Device, as torch names it.

    Raises
    ------
    ValueError
    """
    device = torch.device(on)
    if device.type != "cuda" or precision == "fp32":
        return
    random = torch.Generator().manual_seed(0)
    grid = torch.randn(2, 16, 8, 8, 8, generator=random).to(device)
    kernel = torch.randn(16, 16, 3, 3, 3, generator=random).to(device)
    exact = functional.conv3d(grid.double(), kernel.double(), padding=1)
    found = functional.conv3d(grid.bfloat16(), kernel.bfloat16(), padding=1).double()
    error = float((found - exact).norm() / exact.norm())
    if not error <= CONVOLUTION_TOLERANCE:
        raise ValueError(
            f"`precision` bf16: a convolution on this GPU is off by {error:.1%} (cuDNN "
            f"{torch.backends.cudnn.version()}); use fp32"
        )
