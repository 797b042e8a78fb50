"""How the chains of basin hopping move."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from searcher.errors import InputError

NOT_OF_THE_CHAINS = ("steps", "force_calls", "kappa_min")
"""settings that decide how far the chains go and what is made of them, not where they go"""


@dataclass(frozen=True)
class BasinHoppingSettings:
    """How the chains move.

    Attributes
    ----------
    steps : int
        Hops per chain.
    force_calls : int or None
        No further step is begun once all chains together have spent so many.
    ladder : tuple of float
        Δμ_O in eV, one chain each.
    temperature : float
        Of the Metropolis decision in K.
    moves : "delocalized" or "cartesian"
        Displacements along combined stretches of bonds, or of every atom by itself.
    step_length : float
        Largest Cartesian component of a displacement in Å.
    mode_fraction : float
        Share of the delocalized coordinates in one move.
    oxygen_probability : float
        How often an oxygen atom is inserted or removed instead.
    relocation_probability : float
        How often an oxygen atom is taken away and put down elsewhere instead: between the sites of an oxide it has
        farther to go than a displacement that keeps all distances lets it.
    paving : float
        eV that a chain adds to Ω of a minimum for every step it has stood there (energy landscape paving); 0 for plain
        Metropolis decisions, with which a chain never leaves a deep minimum.
    fall_back : float
        A relaxation ends as ``fell_back`` once no free atom is farther than this (Å) from the minimum that the hop
        started from; 0 for never.
    buffer_thickness : float
        Free atoms lower than this above the template's `free_floor` (Å) relax but are neither displaced nor removed.
    draws : int
        Proposals drawn for one hop before it counts as rejected; drawing costs no force call.
    repairable : tuple of str
        Reasons of `check_validity` that do not yet reject a proposal, because moving atoms apart mends them: a step of
        1.2 Å hardly ever leaves all distances long. After the relaxation every rule holds.
    exchange_every : int
        After so many steps neighbouring chains may exchange their structures (parallel tempering over the ladder);
        0 for never.
    relaxation : dict
        Keys of `relax.relaxation.RelaxationSettings` to change.
    kappa_min : float
        Two minima whose κ is not above this in either direction are one.
    """

    steps: int = 100
    force_calls: int | None = None
    ladder: tuple[float, ...] = (-1.0, -0.5, -0.25, 0.0)
    temperature: float = 1000.0
    moves: Literal["delocalized", "cartesian"] = "delocalized"
    step_length: float = 1.2
    mode_fraction: float = 0.25
    oxygen_probability: float = 0.25
    relocation_probability: float = 0.25
    paving: float = 0.1
    fall_back: float = 0.25
    buffer_thickness: float = 0.0
    draws: int = 100
    repairable: tuple[str, ...] = ("clustered_o", "metal_o_close", "metal_metal_close", "metal_overcoordinated")
    exchange_every: int = 0
    relaxation: dict[str, Any] = field(default_factory=dict)
    kappa_min: float = 0.075

    def __post_init__(self) -> None:
        if self.moves not in ("delocalized", "cartesian"):
            raise InputError(f"`basin_hopping.moves` is {self.moves!r} but must be 'delocalized' or 'cartesian'")
        if not self.ladder or not all(map(math.isfinite, self.ladder)):
            raise InputError(f"`basin_hopping.ladder` is {self.ladder} but needs at least one Δμ_O in eV")
        for name in ("steps", "temperature", "step_length", "draws", "kappa_min"):
            if not getattr(self, name) > 0:
                raise InputError(f"`basin_hopping.{name}` is {getattr(self, name)} but must be positive")
        for name in ("buffer_thickness", "exchange_every", "paving", "fall_back", "relocation_probability"):
            if not getattr(self, name) >= 0:
                raise InputError(f"`basin_hopping.{name}` is {getattr(self, name)} but must not be negative")
        if not 0.0 < self.mode_fraction <= 1.0:
            raise InputError(f"`basin_hopping.mode_fraction` is {self.mode_fraction} (above 0, at most 1)")
        if not 0.0 <= self.oxygen_probability <= 1.0 - self.relocation_probability:
            raise InputError(
                f"`basin_hopping.oxygen_probability` is {self.oxygen_probability} and `relocation_probability` "
                f"{self.relocation_probability}: from 0 to 1, together at most 1"
            )

    def deciding(self) -> dict[str, Any]:
        """Settings on which the chains' way depends."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NOT_OF_THE_CHAINS}


def basin_hopping_settings(values: Mapping[str, Any]) -> BasinHoppingSettings:
    """Settings from a configuration's mapping.

    Raises
    ------
    InputError
        For a value out of range.
    TypeError
        For an unknown name.
    """
    changed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return BasinHoppingSettings(**changed)
