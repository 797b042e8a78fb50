"""Search of a trained generator's noise."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from searcher.config.arms import ArmSection
from searcher.config.base import PositiveFloat, PositiveInt, Settings


class LatentSection(Settings):
    """How the noise is searched for each proposal."""

    starts: PositiveInt = Field(default=32, description="random rows of noise, of which the most promising begins")
    population: Annotated[int, Field(ge=2, description="proposals of each generation")] = 11
    generations: Annotated[int, Field(ge=0, description="steps of the search; 0 keeps the best start")] = 4
    step: PositiveFloat = Field(
        default=0.4, description="first standard deviation of a population, in units of the noise's own"
    )
    conditions: Literal["asked", "searched"] = Field(
        default="asked", description="conditions as `conditioning` asks for them, or searched like the noise"
    )


class LatentSearchArm(ArmSection):
    """An arm of kind `latent_search`: what the surrogate promises low among all that a generator can make."""

    kind: Literal["latent_search"] = "latent_search"
    generator: str | None = Field(
        default=None, description="arm of kind `gan` whose networks are searched; none: networks of its own"
    )
    noise_temperature: Annotated[float, Field(gt=0, description="factor on the noise; networks are trained at 1")] = 1.0
    latent: LatentSection = LatentSection()

    @model_validator(mode="after")
    def _guided(self) -> "LatentSearchArm":
        if not self.screening.surrogate:
            raise ValueError("`screening.surrogate` is false, but it is what a search of the noise is led by")
        return self

    def check_beside(self, arms: Sequence[ArmSection]) -> None:
        """Refuse a generator that no arm before this one has."""
        before = [arm.name for arm in arms[: list(arms).index(self)] if arm.kind == "gan"]
        if self.generator is not None and self.generator not in before:
            raise ValueError(
                f"`generator` of arm `{self.name}` is `{self.generator}` but must name an arm of kind `gan` before it"
                f" ({', '.join(before) or 'there is none'})"
            )


SECTION = LatentSearchArm
