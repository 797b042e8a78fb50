"""How long a campaign goes on, where its work runs, what is tracked and what stays on disk."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from searcher.config.base import PositiveFloat, PositiveInt, Settings


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
    earned: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="part of the force calls that arms share by what they accepted per call lately, not as configured",
    )
    wave: PositiveInt = Field(
        default=8,
        description="relaxations of all arms after which what they found decides what is relaxed next; not fewer "
        "than `execution.workers`, of which some would idle",
    )
    expected_calls_per_relaxation: PositiveFloat = Field(
        default=40, description="from which follows how many candidates are sent to relax"
    )
    wall_time_hours: PositiveFloat | None = Field(
        default=None, description="stop in time to be resumed; for jobs with a limit"
    )


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
        default=500, description="tasks after which a worker is replaced, since a potential may leak memory"
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
