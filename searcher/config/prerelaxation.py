"""Relaxing proposals in a potential of the campaign's own before a force call is spent on them."""

from typing import Annotated

from pydantic import Field, model_validator

from searcher.config.base import PositiveFloat, PositiveInt, Settings


class PrerelaxationSection(Settings):
    """A surrogate potential fitted to what the campaign's force calls answered, and how proposals are relaxed in it."""

    on: bool = Field(default=False, description="fit a surrogate potential, and relax proposals in it first")
    first_frames: PositiveInt = Field(default=100, description="frames of relaxations that the first fit waits for")
    growth: PositiveFloat = Field(default=0.5, description="share by which frames must have grown for a new fit")
    frames: PositiveInt = Field(default=250, description="frames of a fit at most, chosen at random")
    sparse_oxygen: PositiveInt = Field(default=400, description="representative environments of oxygen")
    sparse_metal: PositiveInt = Field(default=200, description="and of the metal")
    candidates: PositiveInt = Field(
        default=12, description="proposals relaxed in it for each that is relaxed by force calls"
    )
    max_calls: PositiveInt = Field(default=80, description="evaluations of the surrogate in one relaxation")
    deviation_mev_per_A2: Annotated[float, Field(gt=0)] = Field(
        default=3.0, description="by which its γ is taken to err"
    )

    @model_validator(mode="after")
    def _frames_in_order(self) -> "PrerelaxationSection":
        if self.first_frames > self.frames:
            raise ValueError(f"`first_frames` {self.first_frames} is above `frames` {self.frames}")
        return self
