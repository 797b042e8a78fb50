"""Sources of proposals, and which of their proposals are relaxed, how far."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

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


class MovesSection(Settings):
    """How an arm of kind `hopping` changes what is known."""

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
        default=((10, 110.0), (20, 85.0), (40, 60.0), (60, 40.0)),
        description="force call, and meV/Å² that γ may still be lowered from there",
    )


class ArmSection(Settings):
    """One source of proposals with its share of the force calls."""

    name: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="the arm's name in tables and candidates' ids")
    ]
    kind: Literal["gan", "random", "hopping"] = Field(description="what makes its proposals")
    share: Annotated[float, Field(gt=0, le=1, description="of the force calls; all arms together 1")]
    feeds_training: bool = Field(
        default=True, description="whether what it finds is learned from and counts as known to the other arms"
    )
    first_iteration: Annotated[
        int, Field(ge=0, description="before it the other arms have this arm's force calls, in proportion to theirs")
    ] = 0
    noise_temperature: Annotated[
        float, Field(gt=0, description="of a GAN: factor on the noise; above 1 it reaches further from what it learned")
    ] = 1.0
    composition: Literal["training", "uniform"] = Field(
        default="training", description="counts of random placement: as in the training set, or uniform in the ranges"
    )
    metal: Literal["random", "training"] = Field(
        default="random", description="of random placement: at random, or where a training structure has it"
    )
    moves: MovesSection = MovesSection()
    screening: ScreeningSection = ScreeningSection()
    stopping: StoppingSection = StoppingSection()
