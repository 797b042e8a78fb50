"""Grids, networks, their training, and what the generator is told."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from searcher.config.base import PositiveFloat, PositiveInt, Settings


class GridSection(Settings):
    """Density grids over the free part of the slab, or over the whole cell."""

    window: Literal["free", "cell"] = Field(
        default="free",
        description="`free`: the free atoms beside the frozen part; `cell`: all atoms of the cell, whose lengths the "
        "networks learn too, laid on the template when they are read",
    )
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        default=(16, 16, 16), description="voxels along x, y and z"
    )
    sigma: PositiveFloat = Field(default=0.5, description="width of an atom's Gaussian")
    allow_coarse: bool = Field(
        default=False, description="accept a grid that cannot tell neighbouring atoms apart; every output says so"
    )
    min_r2: Annotated[
        float, Field(ge=-1, le=1, description="decoded grids of which the atoms explain less (R²) are dropped")
    ] = 0.5


class NetworkSection(Settings):
    """Generator and critic."""

    settings: dict[str, Any] = Field(default_factory=dict, description="keys of the network settings to change")
    warm_start: str | None = Field(default=None, description="folder with weights and the data they were trained on")
    transfer: str | None = Field(
        default=None, description="weights trained on another cell, which the first training begins with"
    )

    @model_validator(mode="after")
    def _one_beginning(self) -> "NetworkSection":
        if self.warm_start and self.transfer:
            raise ValueError("give either `warm_start` or `transfer`: a training begins with one set of weights")
        return self


class TrainingSection(Settings):
    """One iteration's training; keys of the training settings to change."""

    settings: dict[str, Any] = Field(
        default_factory=dict, description="keys of the training settings to change, see below"
    )
    snapshots_per_structure: Annotated[
        int, Field(ge=0, description="unrelaxed structures of each relaxation that are learned from as well")
    ] = 4
    learned: Literal["accepted", "novel"] = Field(
        default="accepted",
        description="what is learned from besides the seeds: accepted structures, or all that were valid and new",
    )
    largest_weight: PositiveFloat = Field(
        default=4.0, description="largest factor by which a rare class and composition is drawn more often"
    )
    submit: tuple[str, ...] | None = Field(
        default=None,
        description="command that submits a training as a job and waits for it; campaign, iteration and arm are added",
    )


class ConditioningSection(Settings):
    """What the generator is told."""

    enabled: bool = Field(
        default=True, description="false: networks without conditions, asked for nothing in particular"
    )
    conditions: tuple[Literal["energy_class", "n_oxygen", "n_metal", "delta_mu_o"], ...] = Field(
        default=("energy_class", "n_oxygen"), description="what the generator is told, alone or together"
    )
    delta_mu_o_ladder: tuple[Annotated[float, Field(ge=-4, le=1)], ...] = Field(
        default=(-1.5, -1.0, -0.5, 0.0),
        description="chemical potentials at which classes are told and asked for, where `delta_mu_o` is a condition",
    )
    delta_mu_o: Annotated[
        float, Field(ge=-4, le=1, description="oxygen chemical potential at which classes and tables are made")
    ] = -0.5
    edges_mev_per_A2: tuple[float, ...] = Field(
        default=(5, 10, 20, 30, 45, 60, 80, 110, 150),
        description="edges of the energy classes above the lowest relaxed seed",
    )
    classes_asked: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0, 1, 2, 3),
        description="classes that the generator is asked for; none: as the training set has them",
    )
    asked: Literal["equally", "missing"] = Field(
        default="equally",
        description="how often each combination of values is asked for: equally, or the more often the fewer are known",
    )
