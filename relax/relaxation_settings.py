"""Everything that decides a relaxation; read without what relaxes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from relax.checks import CheckLimits

OptimiserName = Literal["by_size", "bfgs", "bfgs_line_search", "lbfgs", "preconditioned_lbfgs", "fire"]
OPTIMISERS: Final = get_args(OptimiserName)

LONGEST_STEP: Final = 1.0
"""Å; ASE's optimisers refuse more."""


class RelaxationSettingsError(ValueError):
    """Relaxation settings outside of what is allowed."""


@dataclass(frozen=True)
class RelaxationSettings:
    """How a structure is relaxed.

    Attributes
    ----------
    fmax : float
        Converged when no free atom's force is larger, in eV/Å.
    max_calls : int
        Budget of force calls.
    optimiser : str
        One of `OPTIMISERS`; ``by_size`` takes BFGS with a model Hessian for few free atoms and
        preconditioned LBFGS for many.
    fire_calls : int
        At most so many force calls by FIRE first, while the largest force is above `calm_force`.
    calm_force : float
        In eV/Å.
    maxstep : float
        Longest step of an atom in Å.
    snapshots : int
        Frames kept of the path besides the last one, densest at its start.
    window : (float, float) or None
        Lowest and highest z in Å of free atoms; beyond it the relaxation stops as `leaving_window`.
    max_rise : float or None
        Energy in eV above the start at which the relaxation stops as `exploding`.
    push_apart : mapping of str to float
        Distances in Å, per pair of symbols in alphabetical order, to which free atoms are moved apart before the first
        force call; empty for none.
    """

    fmax: float = 0.05
    max_calls: int = 200
    optimiser: OptimiserName = "by_size"
    fire_calls: int = 0
    calm_force: float = 10.0
    maxstep: float = 0.15
    snapshots: int = 8
    window: tuple[float, float] | None = None
    max_rise: float | None = 30.0
    push_apart: dict[str, float] = field(default_factory=lambda: {"O-O": 1.6, "O-Ru": 1.6, "Ru-Ru": 2.2})
    limits: CheckLimits = field(default_factory=CheckLimits)

    def __post_init__(self) -> None:
        for name in ("fmax", "maxstep", "calm_force", "max_rise"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise RelaxationSettingsError(f"`relaxation.{name}` is {value} but must be positive")
        if self.optimiser not in OPTIMISERS:
            raise RelaxationSettingsError(
                f"`relaxation.optimiser` is {self.optimiser!r} but must be one of {OPTIMISERS}"
            )
        if self.maxstep > LONGEST_STEP:
            raise RelaxationSettingsError(f"`relaxation.maxstep` is {self.maxstep} Å but at most {LONGEST_STEP} Å")
        if self.max_calls < 1 or self.fire_calls < 0 or self.snapshots < 0:
            raise RelaxationSettingsError(
                f"`relaxation.max_calls` is {self.max_calls} (at least 1), `fire_calls` {self.fire_calls} and "
                f"`snapshots` {self.snapshots} (at least 0)"
            )


def relaxation_settings(values: Mapping[str, Any]) -> RelaxationSettings:
    """Settings from a dictionary, as `dataclasses.asdict` or JSON give it.

    Raises
    ------
    ValueError
        For an unknown name or a value out of range.
    """
    values = dict(values)
    unknown = sorted(set(values) - set(RelaxationSettings.__dataclass_fields__))
    if unknown:
        known = sorted(RelaxationSettings.__dataclass_fields__)
        raise ValueError(f"`relaxation.{unknown[0]}` is not a setting; there are {known}")
    if isinstance(values.get("limits"), Mapping):
        values["limits"] = CheckLimits(**values["limits"])
    if values.get("window") is not None:
        values["window"] = tuple(values["window"])
    return RelaxationSettings(**values)
