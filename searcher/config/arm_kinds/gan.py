"""The DCWGAN."""

from typing import Annotated, Literal

from pydantic import Field

from searcher.config.arms import ArmSection


class GanArm(ArmSection):
    """An arm of kind `gan`: networks that learn from what the campaign knows."""

    kind: Literal["gan"] = "gan"
    noise_temperature: Annotated[
        float, Field(gt=0, description="factor on the noise; above 1 it reaches further from what it learned")
    ] = 1.0


SECTION = GanArm
