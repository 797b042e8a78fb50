"""Random insertion."""

from typing import Literal

from pydantic import Field

from searcher.config.arms import ArmSection


class RandomArm(ArmSection):
    """An arm of kind `random`: atoms put where they are not too close to others."""

    kind: Literal["random"] = "random"
    composition: Literal["training", "uniform"] = Field(
        default="training", description="counts of atoms: as in the training set, or uniform in the ranges"
    )
    metal: Literal["random", "training"] = Field(
        default="random", description="where metal goes: at random, or where a training structure has it"
    )


SECTION = RandomArm
