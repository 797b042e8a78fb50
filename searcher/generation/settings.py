"""The settings of a generator that is trained on files. Lengths are in Å, energies in eV."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from generators.kinds import KINDS, OLDEST
from searcher.config import PositiveFloat, PositiveInt, Settings

ConditionName = Literal["energy_class", "n_oxygen", "n_metal", "delta_mu_o", "template"]


class DataSection(Settings):
    """How structures become grids, and what the networks are told of them."""

    view: Literal["window", "cell", "slice"] = Field(
        default="cell", description="the free atoms of slabs on one template, whole cells, or planes through them"
    )
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        default=(32, 32, 32), description="voxels along x, y and z"
    )
    sigma: PositiveFloat = Field(default=0.5, description="width of an atom's Gaussian in Å")
    allow_coarse: bool = Field(default=False, description="accept a grid that cannot tell neighbouring atoms apart")
    slice_axis: Literal[0, 1] = Field(default=1, description="normal of the slices: 0 for yz, 1 for xz")
    planes: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        default=(0.125, 0.375, 0.625, 0.875), description="where the slices are, in units of the cell's length"
    )
    augmentation: Literal["fresh", "stored", "none"] = Field(
        default="fresh", description="symmetry operations: new for every batch, once for each structure, or none"
    )
    square: bool = Field(default=False, description="repeat cells along their shorter lateral side towards a square")
    vacuum: PositiveFloat | None = Field(default=None, description="Å of vacuum that each slab is given first")
    conditions: tuple[ConditionName, ...] = Field(
        default=("energy_class",), description="what the networks are told, alone or together"
    )
    class_of: Literal["gamma", "energy_per_atom", "total_energy", "recorded"] = Field(
        default="gamma", description="what energy classes are made of; `recorded`: the file's own `energy_class`"
    )
    n_classes: Annotated[int, Field(ge=2)] = Field(default=10, description="number of classes, but for `gamma`")
    class_bins: Literal["equal_width", "quantile"] = Field(
        default="equal_width", description="classes of energies: equally wide, or holding equally many structures"
    )
    delta_mu_o: tuple[Annotated[float, Field(ge=-4, le=1)], ...] = Field(
        default=(-0.5,), description="eV per O atom; where classes are told, several if Δμ_O is a condition"
    )
    holdout_every: Annotated[int, Field(ge=0)] = Field(
        default=8, description="one relaxation in so many is never learned from; 0 for none"
    )

    @model_validator(mode="after")
    def _several_only_if_told(self) -> "DataSection":
        if len(self.delta_mu_o) != 1 and "delta_mu_o" not in self.conditions:
            raise ValueError("`delta_mu_o` names several values but is no condition, so that classes would contradict")
        return self


class GeneratorConfig(Settings):
    """A generator: its data, its networks, its training."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="for people")]
    seed: Annotated[int, Field(ge=0)] = Field(default=1, description="of everything that is drawn")
    generator: str = Field(default=OLDEST, description=f"what is trained: {', '.join(KINDS)}")
    data: DataSection = DataSection()
    network: dict[str, Any] = Field(default_factory=dict, description="keys of the network settings to change")
    training: dict[str, Any] = Field(default_factory=dict, description="keys of the training settings to change")

    @field_validator("generator")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in KINDS:
            raise ValueError(f"must be one of {', '.join(KINDS)}")
        return name
