"""Networks for a template's window: made anew, or checked against weights on disk."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generators.grids.spec import GridSpec
from generators.kinds import OLDEST, name_of
from generators.networks.dcwgan import Critic, Generator
from generators.networks.settings import NetworkSettings
from generators.template import Template
from generators.training.checkpoint import WeightsError, first_difference, load_weights
from generators.training.view import WINDOW, View

LENGTH_TOLERANCE = 0.03
"""Largest relative difference of window lengths and σ between weights and where they are used."""


def build_networks(
    template: Template | None,
    spec: GridSpec,
    settings: NetworkSettings,
    mean_density: Sequence[float],
    generator: torch.Generator,
    device: str,
    view: View = WINDOW,
) -> tuple[Generator, Critic]:
    """Make untrained networks for what they will see, every weight drawn from `generator`."""
    frozen, periodic = view.frozen(template, spec), view.periodic(spec)
    spread = view.spread(spec, settings.occupancy_width)
    network = Generator(settings, frozen, periodic, mean_density, spread).to(device)
    critic = Critic(settings, frozen, periodic).to(device)
    network.initialise(generator)
    critic.initialise(generator)
    return network, critic


def fields_of(settings: object) -> dict[str, Any]:
    """Settings as they are on disk: tuples become lists."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))  # type: ignore[call-overload]
    return plain


def load_fitting(
    path: Path, networks: object, spec: GridSpec, view: View, any_lengths: bool = False, kind: str = OLDEST
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights, with their description, for these networks and this grid; lengths may differ by 3 %.

    Settings that weights do not name, because they are older, had what is the default today.

    Parameters
    ----------
    any_lengths : bool
        The weights are only where a training begins, so that the window's lengths may differ by more.
    kind : str
        Of the generator, a name in `generators.kinds.KINDS`.

    Raises
    ------
    WeightsError
        If they are missing, damaged or made for something else.
    """
    tensors, description = load_weights(path)
    if name_of(description) != kind:
        raise WeightsError(f"weights `{path}` do not fit: `generator` is {name_of(description)!r} but must be {kind!r}")
    wanted = {"network": fields_of(networks), "grid": spec.as_dict(), "view": view.as_dict()}
    network, grid = description.get("network"), description.get("grid")
    if not isinstance(network, dict) or not isinstance(grid, dict):
        raise WeightsError(f"weights `{path}` do not say what networks they are for")
    network = {**fields_of(type(networks)()), **network}
    seen = description.get("view", WINDOW.as_dict())
    grid = {**grid, "origin": wanted["grid"]["origin"]}  # a frame, which the networks do not see
    for name in ("sigma", "lengths"):
        if (any_lengths and name == "lengths") or _close(grid.get(name), wanted["grid"][name]):
            grid[name] = wanted["grid"][name]
    difference = first_difference({"network": network, "grid": grid, "view": seen}, wanted)
    if difference:
        raise WeightsError(f"weights `{path}` do not fit: {difference}")
    return tensors, description


def _close(found: Any, wanted: Any) -> bool:
    """Whether two lengths, or two lists of them, agree within the tolerance."""
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_close, found, wanted))
    return isinstance(found, int | float) and abs(found - wanted) <= LENGTH_TOLERANCE * abs(wanted)


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put ``prefix.`` before every name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors whose name begins with ``prefix.``, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}
