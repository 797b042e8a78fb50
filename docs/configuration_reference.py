"""The page that lists every key of a configuration, made from the models that check it."""

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from searcher.config import CampaignConfig

UNITS = {
    "_mev_per_A2": "meV/Å²",
    "_hours": "h",
    "_s": "s",
    "_gib": "GiB",
    "delta_mu_o": "eV per O atom",
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
)
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
INTRODUCTION = """\
# Every key of a configuration

This page is made from the models that check a configuration, so that it cannot differ from the program. Lengths are
in Å and energies in eV unless a key's name says otherwise. Any key can be changed on the command line:
`--set budget.iterations=5`.
"""


def reference_page() -> str:
    """Markdown: a table per section."""
    parts = [INTRODUCTION]
    _section(CampaignConfig, "", parts)
    return "\n".join(parts) + "\n"


def configuration_keys(model: type[BaseModel] = CampaignConfig, prefix: str = "") -> list[str]:
    """Every key with its dots; ``[]`` stands for the entries of a list."""
    keys = []
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        below = f"{prefix}{name}{'[]' if _is_list(field.annotation) else ''}"
        keys += configuration_keys(inner, f"{below}.") if inner else [below.removesuffix("[]")]
    return keys


def _section(model: type[BaseModel], prefix: str, parts: list[str]) -> None:
    name = prefix.removesuffix(".")
    parts.append(f"\n## {f'`{name}`' if name else 'Top level'}\n\n{_first_line(model)}\n")
    parts.append("| key | allowed | default | unit | meaning |\n|---|---|---|---|---|")
    below = []
    for key, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        if inner:
            below.append((inner, f"{prefix}{key}{'[]' if _is_list(field.annotation) else ''}."))
            continue
        cells = (f"`{prefix}{key}`", _allowed(field), _default(field), _unit(prefix + key), field.description or "")
        parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    for inner, further in below:
        _section(inner, further, parts)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _model_of(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


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


def _unit(key: str) -> str:
    if key in LENGTHS:
        return "Å"
    return next((unit for ending, unit in UNITS.items() if key.endswith(ending)), "")
