"""All sections as one campaign, and which of them decide its results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from searcher.config.arm_kinds import AnyArm
from searcher.config.arm_kinds.gan import GanArm
from searcher.config.arm_kinds.random import RandomArm
from searcher.config.base import Settings
from searcher.config.execution import BudgetSection, ExecutionSection, KeepSection, TrackingSection
from searcher.config.generator import ConditioningSection, GridSection, NetworkSection, TrainingSection
from searcher.config.improvement import ImproveSection
from searcher.config.prerelaxation import PrerelaxationSection
from searcher.config.problem import AcceptanceSection, MaterialSection, PotentialSection, SurfaceSection


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
    arms: tuple[AnyArm, ...] = (
        GanArm(name="gan", share=0.8),
        RandomArm(name="random", share=0.2, feeds_training=False),
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
    prerelaxation: PrerelaxationSection = PrerelaxationSection()
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
        for arm in self.arms:
            arm.check_beside(self.arms)
        total = sum(arm.share for arm in self.arms)
        if not 0.999 <= total <= 1.001:
            raise ValueError(f"the shares of `arms` add up to {total:g} but must add up to 1")
        return self

    @model_validator(mode="after")
    def _fitted_to_its_own_oxide(self) -> "CampaignConfig":
        material = self.material
        of_ruo2 = "formation_enthalpy" not in material.model_fields_set and material.metal != "Ru"
        if self.o2_reference == "fitted" and of_ruo2:
            raise ValueError(
                f"`o2_reference: fitted` needs `material.formation_enthalpy` in eV per {material.metal}O2, measured; "
                "the default is that of RuO2"
            )
        return self

    @property
    def control_arms(self) -> tuple[str, ...]:
        """Arms that are there for comparison: what they find is not learned from."""
        return tuple(arm.name for arm in self.arms if not arm.feeds_training)


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


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys; entries of a list that have names go by these."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        below = value
        if isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value):
            below = {"order": [one["name"] for one in value]} | {one["name"]: one for one in value}
        if isinstance(below, Mapping) and below:
            flat |= flatten(below, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
