"""Sources of proposals, and which of their proposals are relaxed, how far."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from searcher.config.base import PositiveFloat, PositiveInt, Settings


class ScreeningSection(Settings):
    """What is dropped before a force call is spent on it."""

    oversampling: PositiveInt = Field(default=20, description="proposals made for each that is relaxed")
    known_basins: bool = Field(default=True, description="drop what looks like something known or on its way there")
    reach: PositiveFloat = Field(
        default=1.0, description="of `acceptance.kappa_min`: up to this κ to something known a proposal counts as known"
    )
    composition_quota: bool = Field(default=True, description="places in turns over oxygen counts")
    surrogate: bool = Field(
        default=True, description="what may relax lowest goes first, by a guess that past relaxations taught"
    )
    newness: bool = Field(
        default=True, description="learn from past relaxations how far from the known a start must be to lead elsewhere"
    )
    rank: Literal["gain", "height"] = Field(
        default="gain",
        description="first what is expected to come furthest below the margin as something new, or what may be lowest",
    )
    deviations: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="how many standard deviations below the guess a proposal may be hoped to relax"
    )
    class_handicap_mev_per_A2: Annotated[float, Field(ge=0)] = Field(
        default=2.0,
        description="by which a proposal is put back for each one of its oxygen count and guessed class before it",
    )
    explored: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.25, description="share of the places that go to the least certain guesses"
    )


class StoppingSection(Settings):
    """Which relaxations end before they have converged."""

    forming_o2: bool = Field(default=True, description="where an O2 molecule has formed and none is accepted")
    known_minimum: bool = Field(default=True, description="where a path leads into a known minimum, told by SOAP")
    known_minimum_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="of `acceptance.kappa_min`: largest κ to the known minimum"
    )
    known_minimum_every: PositiveInt = Field(default=1, description="force calls between two looks")
    calm_force: PositiveFloat = Field(default=1.0, description="eV/Å; no look at larger forces")
    hopeless: bool = Field(default=True, description="where the energy can no longer reach the margin")
    hopeless_looks: tuple[tuple[PositiveInt, Annotated[float, Field(ge=0)]], ...] = Field(
        default=((10, 120.0), (20, 100.0), (40, 80.0), (60, 60.0)),
        description="force call, and meV/Å² that γ may still be lowered from there",
    )


class ArmSection(Settings):
    """One source of proposals with its share of the force calls; each kind adds settings of its own."""

    MAPPINGS: ClassVar[dict[str, type]] = {}
    """sections that are mappings, and what their keys are fields of"""

    name: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="the arm's name in tables and candidates' ids")
    ]
    kind: str = Field(description="what makes its proposals")
    share: Annotated[float, Field(gt=0, le=1, description="of the force calls; all arms together 1")]
    feeds_training: bool = Field(
        default=True, description="whether what it finds is learned from and counts as known to the other arms"
    )
    first_iteration: Annotated[
        int, Field(ge=0, description="before it the other arms have this arm's force calls, in proportion to theirs")
    ] = 0
    screening: ScreeningSection = ScreeningSection()
    stopping: StoppingSection = StoppingSection()

    def check_beside(self, arms: Sequence["ArmSection"]) -> None:
        """Raise ValueError if this arm does not fit to all arms of the campaign; any arm fits that names no other."""
