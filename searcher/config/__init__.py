"""The settings of a campaign. Lengths are in Å, energies in eV, unless a key's name says otherwise."""

from searcher.config.arms import ArmSection, ScreeningSection, StoppingSection
from searcher.config.base import CountRange, PositiveFloat, PositiveInt, Settings
from searcher.config.campaign import COSMETIC, CampaignConfig, flatten, result_changing
from searcher.config.execution import BudgetSection, ExecutionSection, KeepSection, SlurmSection, TrackingSection
from searcher.config.generator import ConditioningSection, GridSection, NetworkSection, TrainingSection
from searcher.config.improvement import ImproveSection
from searcher.config.problem import AcceptanceSection, MaterialSection, PotentialSection, SurfaceSection

__all__ = [
    "COSMETIC",
    "AcceptanceSection",
    "ArmSection",
    "BudgetSection",
    "CampaignConfig",
    "ConditioningSection",
    "CountRange",
    "ExecutionSection",
    "GridSection",
    "ImproveSection",
    "KeepSection",
    "MaterialSection",
    "NetworkSection",
    "PositiveFloat",
    "PositiveInt",
    "PotentialSection",
    "ScreeningSection",
    "Settings",
    "SlurmSection",
    "StoppingSection",
    "SurfaceSection",
    "TrackingSection",
    "TrainingSection",
    "flatten",
    "result_changing",
]
