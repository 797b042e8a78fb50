"""What is searched: material, potential, surface, and what counts as found."""

from typing import Annotated, Any, Literal

from ase.data import atomic_numbers
from pydantic import Field, field_validator, model_validator

from searcher.config.base import CountRange, PositiveFloat, PositiveInt, Settings


class MaterialSection(Settings):
    """The rutile oxide. Lattice values are where the potential's own relaxation of the bulk starts from."""

    metal: str = Field(default="Ru", description="symbol of the metal")
    a: PositiveFloat = Field(default=4.4968, description="lattice constant of the rutile cell")
    c: PositiveFloat = Field(default=3.1049, description="its height along the fourfold axis")
    u: PositiveFloat = Field(default=0.3053, description="internal coordinate of oxygen, in units of a")
    metal_structure: Literal["hcp", "fcc", "bcc"] = Field(
        default="hcp", description="crystal of the pure metal, for the formation energy"
    )
    formation_enthalpy: Annotated[
        float, Field(lt=0, description="measured, per formula unit; used where `o2_reference` is `fitted`")
    ] = -3.141

    @field_validator("metal")
    @classmethod
    def _known_element(cls, value: str) -> str:
        if value not in atomic_numbers or value in ("X", "O"):
            raise ValueError(f"{value!r} is not the symbol of a metal; an example is Ru")
        return value


class PotentialSection(Settings):
    """Where energies come from: a GAP by file, or any ASE calculator by import path."""

    gap: str | None = Field(default=None, description="`ruo2` for the shipped potential, or a path to a GAP's XML file")
    import_path: str | None = Field(default=None, description="`module:callable` of an ASE calculator")
    arguments: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the callable")

    @model_validator(mode="after")
    def _exactly_one(self) -> "PotentialSection":
        if (self.gap is None) == (self.import_path is None):
            raise ValueError("give either `gap` or `import_path`")
        return self


class SurfaceSection(Settings):
    """Which facet, how large a cell, how much of it is frozen."""

    facet: Annotated[str, Field(pattern=r"^[0-9]{3}$", description="Miller indices without separators")] = "110"
    repeat: tuple[PositiveInt, PositiveInt] | Literal["square"] = Field(
        default=(1, 2),
        description="how often the smallest orthogonal lateral cell is repeated along x, its longer side, and y; "
        "`square`: the shorter side as often as makes the cell most nearly square",
    )
    frozen_thickness: PositiveFloat = Field(
        default=5.0, description="least height of the frozen layers; at least the potential's reach"
    )
    free_repeats: PositiveInt = Field(default=1, description="how many repeats of the bulk along the normal are free")
    slack_below: PositiveFloat = Field(
        default=0.5, description="room for free atoms below the lowest position of a termination"
    )
    slack_above: PositiveFloat = Field(default=1.1, description="room for free atoms above the highest one")
    vacuum: Annotated[float, Field(ge=10, description="free height above the room of the free atoms")] = 12.0
    terminations: tuple[str, ...] | None = Field(
        default=None, description="names of the terminations by construction that are seeds; all if not given"
    )
    metal_count: CountRange | None = Field(default=None, description="free metal atoms, smallest and largest")
    oxygen_count: CountRange | None = Field(default=None, description="free oxygen atoms, smallest and largest")

    @field_validator("metal_count", "oxygen_count")
    @classmethod
    def _ordered(cls, value: CountRange | None) -> CountRange | None:
        if value is not None and value[0] > value[1]:
            raise ValueError(f"the smallest count {value[0]} is above the largest {value[1]}")
        return value


class AcceptanceSection(Settings):
    """What is kept."""

    kappa_min: PositiveFloat = Field(default=0.075, description="novel above this SOAP distance from everything known")
    margin_mev_per_A2: Annotated[
        float,
        Field(ge=0, description="accepted within this of the envelope of the known, somewhere in the range below"),
    ] = 25.0
    delta_mu_o_range: tuple[float, float] | None = Field(
        default=None,
        description="allowed oxygen chemical potentials; none: from half of the oxide's formation energy by the "
        "potential to 0",
    )

    @field_validator("delta_mu_o_range")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError(f"the lower end {value[0]} eV is not below the upper end {value[1]} eV")
        return value
