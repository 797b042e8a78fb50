"""Active learning of the potential."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from searcher.config.base import PositiveInt, Settings


class ImproveSection(Settings):
    """Active learning of the potential: label where it is unsure, fit anew, take into use what is better."""

    every: Annotated[int, Field(ge=0)] = Field(
        default=0, description="improve after each so many iterations; 0: never by itself"
    )
    labeller: str = Field(default="", description="`module:callable` of the reference ASE calculator")
    labeller_arguments: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the callable")
    structures: PositiveInt = Field(default=20, description="candidates that are labelled in a round")
    wrong_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.25, description="at most this share of them, as proposed, because their relaxation went wrong"
    )
    path_frames: Annotated[int, Field(ge=0)] = Field(
        default=2, description="frames of a candidate's relaxation that are labelled with it"
    )
    least_error_mev: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="only candidates whose worst atom's energy has a larger predicted deviation, in meV",
    )
    data: Path | None = Field(
        default=None, description="labelled frames of the present potential; default: `data/frames.extxyz.xz` beside it"
    )
    processes: PositiveInt = Field(default=1, description="of the labeller")
    fit: dict[str, Any] = Field(
        default_factory=dict, description="keys of the fit's settings to change; the others as the potential was made"
    )

    def due(self, iteration: int) -> bool:
        """Whether the potential is to be improved when an iteration has been judged."""
        return self.every > 0 and (iteration + 1) % self.every == 0

    @model_validator(mode="after")
    def _labeller_named(self) -> "ImproveSection":
        if self.every and not self.labeller:
            raise ValueError("`every` needs a `labeller`, for example sevenn.calculator:SevenNetCalculator")
        return self
