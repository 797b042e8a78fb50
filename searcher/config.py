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
        description="classes that the generator is asked for, in equal shares; none: as the training set has them",
    )


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
    ] = 0.25
    relocation_probability: Annotated[
        float, Field(ge=0, le=1, description="how often an oxygen atom is taken away and put elsewhere instead")
    ] = 0.25
    reach_mev_per_A2: Annotated[
        float,
        Field(gt=0, description="moves begin e times less often at a termination so much further above the envelope"),
    ] = 15.0

    @model_validator(mode="after")
    def _shares(self) -> "MovesSection":
        if self.oxygen_probability + self.relocation_probability > 1:
            raise ValueError("`oxygen_probability` and `relocation_probability` exceed 1 together")
        return self


class StoppingSection(Settings):
    """Which relaxations end before they have converged."""

    forming_o2: bool = Field(default=True, description="where an O2 molecule has formed and none is accepted")
    known_minimum: bool = Field(
        default=False, description="where a path leads into a known minimum, told by SOAP; saves little, see the docs"
    )
    known_minimum_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.2, description="of `acceptance.kappa_min`: largest κ to the known minimum"
    )
    known_minimum_every: PositiveInt = Field(default=3, description="force calls between two looks")
    calm_force: PositiveFloat = Field(default=0.5, description="eV/Å; no look at larger forces")
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


class BudgetSection(Settings):
    """When a campaign ends."""

    iterations: PositiveInt = Field(default=10, description="rounds of training, proposing, relaxing and judging")
    force_calls_per_iteration: PositiveInt = Field(
        default=4000, description="evaluations of the potential in each, all arms together"
    )
    spend_all: bool = Field(
        default=True,
        description="calls that early stops leave over go to further proposals of the same arm and iteration",
    )
    expected_calls_per_relaxation: PositiveFloat = Field(
        default=40, description="from which follows how many candidates are sent to relax"
    )
    wall_time_hours: PositiveFloat | None = Field(
        default=None, description="stop in time to be resumed; for jobs with a limit"
    )


class AcceptanceSection(Settings):
    """What is kept."""

    kappa_min: PositiveFloat = Field(default=0.075, description="novel above this SOAP distance from everything known")
    margin_mev_per_A2: Annotated[
        float,
        Field(ge=0, description="accepted within this of the envelope of the known, somewhere in the range below"),
    ] = 25.0
    delta_mu_o_range: tuple[float, float] = Field(
        default=(-1.68, 0.0), description="allowed oxygen chemical potentials"
    )

    @field_validator("delta_mu_o_range")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"the lower end {value[0]} eV is not below the upper end {value[1]} eV")
        return value


class SlurmSection(Settings):
    """Worker jobs that the driver submits to SLURM; `execution.workers` says how many workers there are in all."""

    workers_per_job: PositiveInt = Field(default=16, description="one core and one thread each")
    walltime: Annotated[str, Field(pattern=r"^([0-9]+-)?[0-9]{1,2}:[0-9]{2}:[0-9]{2}$")] = Field(
        default="12:00:00", description="of a job, `HH:MM:SS` or `D-HH:MM:SS`; one that has ended is submitted again"
    )
    partition: str = Field(default="", description="queue of the jobs; empty: the cluster's own choice")
    account: str = Field(default="", description="whom the jobs' time is charged to; empty: your own account")
    interface: str = Field(default="", description="network that workers reach the driver by, for example `ib0`")
    directives: tuple[str, ...] = Field(default=(), description="further `#SBATCH` options")
    prologue: tuple[str, ...] = Field(default=(), description="lines before the workers start, such as `module load`")
    python: str = Field(default="", description="what starts Python in a job; empty: the driver's own")
    logs: Path = Field(default=Path("slurm-logs"), description="folder of the jobs' output")


class ExecutionSection(Settings):
    """Where the work runs."""

    executor: Literal["local", "inline", "dask"] = Field(
        default="local", description="isolated processes of this machine, this process (for tests), or a Dask cluster"
    )
    scheduler: str = Field(default="", description="of `dask`: its address, or the path of its scheduler file")
    workers: PositiveInt = Field(default=2, description="relaxation processes")
    training_threads: PositiveInt = Field(
        default=2, description="threads of the training; weights depend on it in their last bits"
    )
    deadline_s: PositiveFloat = Field(
        default=900.0, description="a relaxation that takes longer is ended from outside and tried once more"
    )
    memory_gib: PositiveFloat = Field(default=4.0, description="limit of each worker")
    tasks_per_worker: PositiveInt = Field(
        default=50, description="tasks after which a worker is replaced, since the potential leaks memory"
    )

    slurm: SlurmSection | None = Field(default=None, description="of `dask`: workers as jobs, instead of `scheduler`")

    @model_validator(mode="after")
    def _scheduler_named(self) -> "ExecutionSection":
        given = bool(self.scheduler) + (self.slurm is not None)
        if given != (self.executor == "dask"):
            raise ValueError("`scheduler` and `slurm` belong to `executor: dask`, which needs one of them")
        return self


class TrackingSection(Settings):
    """MLflow."""

    enabled: bool = Field(default=True, description="whether MLflow is told at all")
    uri: str = Field(default="", description="empty: `sqlite:///` of mlflow.db in the runs folder")
    experiment: str = Field(default="surface-searcher", description="MLflow's experiment")


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

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the campaign's folder in `runs`")]
    seed: Annotated[int, Field(ge=0, description="of everything random")] = 1
    runs: Path = Field(default=Path("runs"), description="folder of all campaigns")
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
    basin_hopping: dict[str, Any] = Field(
        default_factory=dict, description="keys of the basin hopping settings to change, of `searcher seeds`"
    )
    validity: dict[str, Any] = Field(default_factory=dict, description="validity thresholds to change")
    acceptance: AcceptanceSection = AcceptanceSection()
    o2_reference: Literal["raw", "fitted"] = Field(
        default="raw",
        description="½E(O₂) of the potential as it is, or so that the formation enthalpy is the measured one",
    )
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
        if min(arm.first_iteration for arm in self.arms) > 0:
            raise ValueError("`arms`: none has `first_iteration` 0, so that the first iteration would be empty")
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
    "execution.slurm",
    "basin_hopping",
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
