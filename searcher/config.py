"""The settings of a campaign. Lengths are in Å, energies in eV, unless a key's name says otherwise."""

from pathlib import Path
from typing import Annotated, Any, Literal

from ase.data import atomic_numbers
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

PositiveFloat = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
CountRange = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class Settings(BaseModel):
    """Base of all sections: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MaterialSection(Settings):
    """The rutile oxide. Lattice values are where the potential's own relaxation of the bulk starts from."""

    metal: str = "Ru"
    a: PositiveFloat = 4.4968
    c: PositiveFloat = 3.1049
    u: PositiveFloat = 0.3053
    metal_structure: Literal["hcp", "fcc", "bcc"] = "hcp"
    formation_enthalpy: Annotated[
        float, Field(lt=0, description="eV per formula unit, for the fitted O2 reference")
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

    facet: Annotated[str, Field(pattern=r"^[0-9]{3}$")] = "110"
    repeat: tuple[PositiveInt, PositiveInt] = (1, 2)
    frozen_thickness: PositiveFloat = 5.0
    free_repeats: PositiveInt = 1
    slack_below: PositiveFloat = 0.5
    slack_above: PositiveFloat = 1.1
    vacuum: Annotated[float, Field(ge=10)] = 12.0
    metal_count: CountRange | None = Field(default=None, description="free metal atoms, smallest and largest")
    oxygen_count: CountRange | None = Field(default=None, description="free oxygen atoms, smallest and largest")

    @field_validator("metal_count", "oxygen_count")
    @classmethod
    def _ordered(cls, value: CountRange | None) -> CountRange | None:
        if value is not None and value[0] > value[1]:
            raise ValueError(f"the smallest count {value[0]} is above the largest {value[1]}")
        return value


class GridSection(Settings):
    """Density grids over the free part of the slab."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (16, 16, 16)
    sigma: PositiveFloat = 0.5
    allow_coarse: bool = False
    min_r2: Annotated[float, Field(ge=-1, le=1)] = 0.5


class NetworkSection(Settings):
    """Generator and critic."""

    settings: dict[str, Any] = Field(default_factory=dict, description="keys of the network settings to change")
    warm_start: str | None = Field(default=None, description="folder with weights and the data they were trained on")


class TrainingSection(Settings):
    """One iteration's training; keys of the training settings to change."""

    settings: dict[str, Any] = Field(default_factory=dict)
    snapshots_per_structure: Annotated[int, Field(ge=0)] = 4
    largest_weight: PositiveFloat = 4.0


class ConditioningSection(Settings):
    """What the generator is told."""

    delta_mu_o: Annotated[float, Field(ge=-4, le=1)] = -0.5
    edges_mev_per_A2: tuple[float, ...] = (5, 10, 20, 30, 45, 60, 80, 110, 150)
    classes_asked: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2, 3)


class ScreeningSection(Settings):
    """What is dropped before a force call is spent on it."""

    oversampling: PositiveInt = 20
    known_basins: bool = True
    composition_quota: bool = True


class ArmSection(Settings):
    """One source of proposals with its share of the force calls."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    kind: Literal["gan", "random"]
    share: Annotated[float, Field(gt=0, le=1)]
    feeds_training: bool = True
    composition: Literal["training", "uniform"] = Field(
        default="training", description="counts of random placement: as in the training set, or uniform in the ranges"
    )
    metal: Literal["random", "training"] = Field(
        default="random", description="of random placement: at random, or where a training structure has it"
    )
    screening: ScreeningSection = ScreeningSection()


class BudgetSection(Settings):
    """When a campaign ends."""

    iterations: PositiveInt = 10
    force_calls_per_iteration: PositiveInt = 4000
    expected_calls_per_relaxation: PositiveFloat = 60
    wall_time_hours: PositiveFloat | None = None


class AcceptanceSection(Settings):
    """What is kept."""

    kappa_min: PositiveFloat = 0.075
    margin_mev_per_A2: Annotated[float, Field(ge=0)] = 25.0
    delta_mu_o_range: tuple[float, float] = (-1.68, 0.0)

    @field_validator("delta_mu_o_range")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"the lower end {value[0]} eV is not below the upper end {value[1]} eV")
        return value


class ExecutionSection(Settings):
    """Where the work runs."""

    executor: Literal["local", "inline", "dask"] = "local"
    scheduler: str = Field(default="", description="of `dask`: its address, or the path of its scheduler file")
    workers: PositiveInt = 2
    training_threads: PositiveInt = 2
    deadline_s: PositiveFloat = 900.0
    memory_gib: PositiveFloat = 4.0
    tasks_per_worker: PositiveInt = 50

    @model_validator(mode="after")
    def _scheduler_named(self) -> "ExecutionSection":
        if (self.executor == "dask") != bool(self.scheduler):
            raise ValueError("`scheduler` belongs to `executor: dask`, and `dask` needs one")
        return self


class TrackingSection(Settings):
    """MLflow."""

    enabled: bool = True
    uri: str = Field(default="", description="empty: `sqlite:///` of mlflow.db in the runs folder")
    experiment: str = "surface-searcher"


class KeepSection(Settings):
    """What stays on disk; nothing that a search or a resume needs is ever removed."""

    grids: Literal["all", "last", "none"] = Field(default="all", description="sampled grids kept for pictures")
    weights: Literal["all", "last"] = Field(default="all", description="weights of each iteration's training")
    checkpoints: Literal["all", "last", "none"] = Field(
        default="last", description="checkpoints of trainings that have ended"
    )
    artifact_mib: PositiveFloat = Field(default=50.0, description="largest file that is copied to MLflow, in MiB")
    free_gib: Annotated[float, Field(ge=0)] = Field(
        default=0.5, description="an iteration does not start with less free space, in GiB"
    )


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


class CampaignConfig(Settings):
    """A whole campaign."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0)] = 1
    runs: Path = Path("runs")
    material: MaterialSection = MaterialSection()
    potential: PotentialSection
    surface: SurfaceSection = SurfaceSection()
    grid: GridSection = GridSection()
    network: NetworkSection = NetworkSection()
    training: TrainingSection = TrainingSection()
    conditioning: ConditioningSection = ConditioningSection()
    arms: tuple[ArmSection, ...] = (
        ArmSection(name="gan", kind="gan", share=0.8),
        ArmSection(name="random", kind="random", share=0.2, feeds_training=False),
    )
    budget: BudgetSection = BudgetSection()
    relaxation: dict[str, Any] = Field(default_factory=dict, description="keys of the relaxation settings to change")
    validity: dict[str, Any] = Field(default_factory=dict, description="validity thresholds to change")
    acceptance: AcceptanceSection = AcceptanceSection()
    o2_reference: Literal["raw", "fitted"] = "raw"
    known: tuple[Path, ...] = Field(default=(), description="structure files whose terminations count as known")
    seeds: tuple[Path, ...] = Field(default=(), description="structure files added to the seeds")
    withheld: Path | None = Field(default=None, description="structures whose finding again is counted in the report")
    execution: ExecutionSection = ExecutionSection()
    improve: ImproveSection = ImproveSection()
    tracking: TrackingSection = TrackingSection()
    keep: KeepSection = KeepSection()

    @model_validator(mode="after")
    def _arms_fit(self) -> "CampaignConfig":
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"`arms` has a name twice: {', '.join(names)}")
        total = sum(arm.share for arm in self.arms)
        if not 0.999 <= total <= 1.001:
            raise ValueError(f"the shares of `arms` add up to {total:g} but must add up to 1")
        return self


COSMETIC = (
    "runs",
    "tracking",
    "keep",
    "budget.iterations",
    "budget.wall_time_hours",
    "execution.workers",
    "execution.scheduler",
)
"""keys that may differ when a campaign is resumed, since no result depends on them"""


def result_changing(config: CampaignConfig) -> dict[str, Any]:
    """Flat settings, by dotted key, on which results depend."""
    flat = flatten(config.model_dump(mode="json"))
    return {k: v for k, v in flat.items() if not any(k == c or k.startswith(c + ".") for c in COSMETIC)}


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
