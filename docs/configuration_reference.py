"""The page that lists every key of a configuration, made from the models that check it."""

import ast
import dataclasses
import inspect
import re
import textwrap
import types
from collections.abc import Collection
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from generators.networks.settings import NetworkSettings
from generators.training.settings import TrainingSettings
from relax.checks import CheckLimits
from relax.relaxation_settings import RelaxationSettings
from searcher.campaign.hopping.settings import BasinHoppingSettings
from searcher.config import ArmSection, CampaignConfig
from searcher.config.arm_kinds import SECTIONS
from searcher.scoring.validity import ValidityThresholds

FREE_SECTIONS = {
    "network.settings": NetworkSettings,
    "training.settings": TrainingSettings,
    "relaxation": RelaxationSettings,
    "relaxation.limits": CheckLimits,
    "basin_hopping": BasinHoppingSettings,
    "validity": ValidityThresholds,
    **{f"arms[].{key}": made for arm in SECTIONS.values() for key, made in arm.MAPPINGS.items()},
}
"""keys whose value is a mapping, and what its keys are fields of"""
SET_BY_THE_PROGRAM = (
    "network.settings.conditions",
    "arms[].network.conditions",
    "relaxation.limits",
    "relaxation.window",
    "basin_hopping.steps",
    "basin_hopping.relaxation",
)
UNITS = {
    "_mev_per_A2": "meV/Å²",
    "_mev": "meV",
    "_hours": "h",
    "_s": "s",
    "_gib": "GiB",
    "_mib": "MiB",
    "calm_force": "eV/Å",
    "hopeless_looks": "force calls and meV/Å²",
    "delta_mu_o": "eV per O atom",
    "delta_mu_o_ladder": "eV per O atom",
    "delta_mu_o_range": "eV per O atom",
    "formation_enthalpy": "eV per formula unit",
}
LENGTHS = (
    "material.a",
    "material.c",
    "surface.frozen_thickness",
    "surface.slack_below",
    "surface.slack_above",
    "surface.vacuum",
    "grid.sigma",
    "arms[].moves.step_length",
)
DIMENSIONLESS = (
    "budget.earned",
    "prerelaxation.growth",
    "material.u",
    "grid.min_r2",
    "training.largest_weight",
    "arms[].share",
    "arms[].noise_temperature",
    "arms[].latent.step",
    "arms[].screening.reach",
    "arms[].moves.mode_fraction",
    "arms[].moves.oxygen_probability",
    "arms[].moves.relocation_probability",
    "arms[].moves.crossover_probability",
    "arms[].screening.deviations",
    "arms[].screening.explored",
    "arms[].stopping.known_minimum_share",
    "acceptance.kappa_min",
    "budget.expected_calls_per_relaxation",
    "improve.wrong_share",
)
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
INTRODUCTION = """\
# Every key of a configuration

This page is made from the models that check a configuration, so that it cannot differ from the program. Lengths are
in Å and energies in eV unless a key's name says otherwise. Any key can be changed on the command line:
`--set budget.iterations=5`, those of an arm by its name: `--set arms.gan.share=0.5`.
"""


def reference_page() -> str:
    """Markdown: a table per section."""
    parts = [INTRODUCTION]
    _section(CampaignConfig, "", parts)
    for key, settings in FREE_SECTIONS.items():
        parts.append(f"\n## Keys of `{key}`\n\n{(inspect.getdoc(settings) or '').partition(chr(10))[0]}\n")
        parts.append("| key | type | default | meaning |\n|---|---|---|---|")
        for name, kind, default, meaning in free_keys(key):
            cells = (f"`{key}.{name}`", kind, default, meaning)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(parts) + "\n"


def free_keys(section: str) -> list[tuple[str, str, str, str]]:
    """Name, type, default and meaning of the keys of a section that is a mapping."""
    settings = FREE_SECTIONS[section]
    meanings = _meanings(settings)
    found = []
    for field in dataclasses.fields(settings):
        if f"{section}.{field.name}" in SET_BY_THE_PROGRAM:
            continue
        made = field.default_factory is not dataclasses.MISSING
        default = field.default_factory() if made else field.default
        shown = "none" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        kind = re.sub(r"<class '(\w+)'>", r"\1", str(field.type))
        found.append((field.name, kind, shown, meanings.get(field.name, "")))
    return found


def _meanings(settings: type) -> dict[str, str]:
    """What the docstring's list of attributes, or the text below each field, says."""
    found = {}
    listed = (inspect.getdoc(settings) or "").partition("Attributes\n----------\n")[2]
    for block in re.split(r"\n(?=\S)", listed):
        head, _, text = block.partition("\n")
        names, _, kind = head.partition(":")
        kind = kind.strip()
        told = " ".join(textwrap.dedent(text).split())
        for name in names.split(","):
            found[name.strip()] = f"{kind}: {told}" if kind.startswith("{") else told
    body = ast.parse(textwrap.dedent(inspect.getsource(settings))).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[ast.unparse(statement.target)] = str(after.value.value)
    return found


def configuration_keys(model: type[BaseModel] = CampaignConfig, prefix: str = "") -> list[str]:
    """Every key with its dots; ``[]`` stands for the entries of a list."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        below = f"{prefix}{name}{'[]' if _is_list(field.annotation) else ''}"
        inner = _models_of(field.annotation)
        keys += [key for one in inner for key in configuration_keys(one, f"{below}.")] or [below.removesuffix("[]")]
    return list(dict.fromkeys(keys))


def _section(model: type[BaseModel], prefix: str, parts: list[str], said: Collection[str] = ()) -> None:
    """A table of a section's own keys, then those of the sections in it; `said` are keys that stand elsewhere."""
    name = f"`{prefix.removesuffix('.')}`" if prefix else "Top level"
    kind = f" of kind `{model.model_fields['kind'].default}`" if said else ""
    parts.append(f"\n## {name}{kind}\n\n{_first_line(model)}\n")
    parts.append("| key | allowed | default | unit | meaning |\n|---|---|---|---|---|")
    below: list[tuple[type[BaseModel], str, Collection[str]]] = []
    for key, field in model.model_fields.items():
        if key in said:
            continue
        inner = _models_of(field.annotation)
        further = f"{prefix}{key}{'[]' if _is_list(field.annotation) else ''}."
        if len(inner) > 1:
            below.append((ArmSection, further, ()))
        below += [(one, further, tuple(ArmSection.model_fields) if len(inner) > 1 else ()) for one in inner]
        if inner:
            continue
        cells = (f"`{prefix}{key}`", _allowed(field), _default(field), unit(prefix + key), field.description or "")
        parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    for inner_model, further, elsewhere in below:
        _section(inner_model, further, parts, elsewhere)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_of(part)]


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def _allowed(field: FieldInfo) -> str:
    limits = _limits(field.metadata)
    return f"{_type(field.annotation)}{', ' + limits if limits else ''}"


def _limits(metadata: Any) -> str:
    found = []
    for item in metadata:
        for part in getattr(item, "metadata", [item]):
            found += [f"{sign} {getattr(part, name)}" for name, sign in BOUNDS.items() if hasattr(part, name)]
            pattern = getattr(part, "pattern", None)
            found += [f"`{pattern}`"] if pattern else []
    return ", ".join(found)


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(one) for one in arguments)
    if origin is tuple:
        inner = [_type(one) for one in arguments if one is not Ellipsis]
        return f"list of {inner[0]}" if Ellipsis in arguments else f"[{', '.join(inner)}]"
    if hasattr(annotation, "__metadata__"):
        return f"{_type(annotation.__origin__)} {_limits(annotation.__metadata__)}"
    names = {
        "dict": "mapping",
        "int": "whole number",
        "float": "number",
        "str": "text",
        "bool": "true or false",
        "NoneType": "nothing",
    }
    name = getattr(origin or annotation, "__name__", str(annotation))
    return {**names, "Path": "path"}.get(name, name)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True) if not field.is_required() else PydanticUndefined
    if value is PydanticUndefined:
        return "**required**"
    if value is None or value in ("", {}, ()):
        return "none"
    if isinstance(value, tuple):
        return f"`[{', '.join(str(one) for one in value)}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def unit(key: str) -> str:
    """Unit of a key's numbers, "1" for a pure number, empty where none is needed."""
    if key in LENGTHS:
        return "Å"
    if key in DIMENSIONLESS:
        return "1"
    return next((unit for ending, unit in UNITS.items() if key.endswith(ending)), "")
