"""The voxel denoiser."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from generators.denoising.settings import (
    DenoiserNetworkSettings,
    DenoiserSamplingSettings,
    DenoiserTrainingSettings,
)
from searcher.config.arms import ArmSection


class DenoiserArm(ArmSection):
    """An arm of kind `denoiser`: a network that takes noise off grids, learned from what the campaign knows."""

    MAPPINGS: ClassVar[dict[str, type]] = {
        "network": DenoiserNetworkSettings,
        "training": DenoiserTrainingSettings,
        "sampling": DenoiserSamplingSettings,
    }

    kind: Literal["denoiser"] = "denoiser"
    network: dict[str, Any] = Field(default_factory=dict, description="keys of the network settings to change")
    training: dict[str, Any] = Field(default_factory=dict, description="keys of the training settings to change")
    sampling: dict[str, Any] = Field(default_factory=dict, description="keys of the sampling settings to change")
    transfer: str | None = Field(
        default=None, description="weights of a denoiser, perhaps of another cell, which the first training begins with"
    )


SECTION = DenoiserArm
