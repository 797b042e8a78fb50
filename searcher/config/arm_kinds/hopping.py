"""Moves of what is known."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from searcher.config.arms import ArmSection
from searcher.config.base import Settings


class MovesSection(Settings):
    """How what is known is changed."""

    kind: Literal["delocalized", "cartesian"] = Field(
        default="delocalized", description="delocalized (along collective bond stretches) or Cartesian displacements"
    )
    step_length: Annotated[float, Field(gt=0, description="largest Cartesian component of a displacement in Å")] = 1.2
    mode_fraction: Annotated[
        float, Field(gt=0, le=1, description="share of the delocalized modes that a move combines")
    ] = 0.25
    oxygen_probability: Annotated[
        float, Field(ge=0, le=1, description="how often an oxygen atom is inserted or removed instead")
    ] = 0.3
    relocation_probability: Annotated[
        float, Field(ge=0, le=1, description="how often an oxygen atom is taken away and put elsewhere instead")
    ] = 0.2
    crossover_probability: Annotated[
        float, Field(ge=0, le=1, description="how often half of the cell is taken from another termination instead")
    ] = 0.35
    reach_mev_per_A2: Annotated[
        float,
        Field(gt=0, description="moves begin e times less often at a termination so much further above the envelope"),
    ] = 15.0

    @model_validator(mode="after")
    def _shares(self) -> "MovesSection":
        if self.oxygen_probability + self.relocation_probability + self.crossover_probability > 1 + 1e-9:
            raise ValueError(
                "`oxygen_probability`, `relocation_probability` and `crossover_probability` exceed 1 together"
            )
        return self


class HoppingArm(ArmSection):
    """An arm of kind `hopping`: known terminations, changed."""

    kind: Literal["hopping"] = "hopping"
    moves: MovesSection = MovesSection()


SECTION = HoppingArm
