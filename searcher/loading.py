"""Configuration files: YAML 1.2 in, checked settings out, every complaint with file and line."""

import difflib
from collections.abc import Sequence
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from generators.networks.settings import NetworkSettings
from generators.training.settings import TrainingSettings
from relax.relaxation import RelaxationSettings
from relax.worker import relaxation_settings
from searcher.campaign.hopping.settings import BasinHoppingSettings, basin_hopping_settings
from searcher.config import CampaignConfig
from searcher.errors import InputError
from searcher.generation.settings import GeneratorConfig
from searcher.scoring.validity import ValidityThresholds

Model = TypeVar("Model", bound=BaseModel)
LARGEST_FILE = 1_000_000  # bytes
DEEPEST = 20


def load_config(path: Path, overrides: Sequence[str] = ()) -> CampaignConfig:
    """Read a campaign's settings.

    Parameters
    ----------
    path : pathlib.Path
        A YAML 1.2 file.
    overrides : sequence of str
        ``section.key=value``, the value in YAML.

    Raises
    ------
    InputError
        For a missing file, bad YAML, an unknown key or a value out of range; the message names file and line.
    """
    config, document = _checked(path, overrides, CampaignConfig)
    for section, check, kind in (
        ("relaxation", relaxation_settings, RelaxationSettings),
        ("basin_hopping", basin_hopping_settings, BasinHoppingSettings),
        ("validity", lambda values: ValidityThresholds(**values), ValidityThresholds),
    ):
        values = getattr(config, section)
        for key in values:
            if key not in kind.__dataclass_fields__:
                unknown = {"type": "extra_forbidden", "loc": (section, key)}
                raise InputError(_complaint(path, document, unknown, sorted(kind.__dataclass_fields__)))
        try:
            check(values)
        except (TypeError, ValueError) as error:
            raise InputError(f"{_where(path, document, [section])}: `{section}`: {error}") from None
    _read_as(NetworkSettings, config.network.settings, path, document, ("network", "settings"))
    _read_as(TrainingSettings, config.training.settings, path, document, ("training", "settings"))
    return config


def load_generator_config(path: Path, overrides: Sequence[str] = ()) -> GeneratorConfig:
    """Read the settings of a generator that is trained on files; as `load_config`."""
    config, document = _checked(path, overrides, GeneratorConfig)
    _read_as(NetworkSettings, config.network, path, document, ("network",))
    _read_as(TrainingSettings, config.training, path, document, ("training",))
    return config


def place(path: Path, overrides: Sequence[str], *location: str | int) -> str:
    """File and line of a setting, to complain about what it names."""
    document = _read(path)
    for override in overrides:
        _apply(document, override)
    return _where(path, document, location)


def _checked(path: Path, overrides: Sequence[str], model: type[Model]) -> tuple[Model, CommentedMap]:
    document = _read(path)
    for override in overrides:
        _apply(document, override)
    try:
        return model.model_validate(_plain(document)), document
    except ValidationError as error:
        issues = [_complaint(path, document, issue, model=model) for issue in error.errors()]
        raise InputError("\n".join(issues)) from None


def _read_as(kind: Any, values: dict[str, Any], path: Path, document: CommentedMap, location: tuple[str, ...]) -> None:
    """Read values as the fields of a dataclass say, without making one, which would load torch."""
    types = {field.name: field.type for field in fields(kind) if not isinstance(field.type, str)}
    for key, value in values.items():
        if key not in types:
            unknown = {"type": "extra_forbidden", "loc": (*location, key)}
            raise InputError(_complaint(path, document, unknown, sorted(types)))
        adapter: TypeAdapter[Any] = TypeAdapter(types[key])
        try:
            values[key] = adapter.dump_python(adapter.validate_python(value), mode="json")
        except ValidationError as error:
            issue = error.errors()[0]
            raise InputError(_complaint(path, document, {**issue, "loc": (*location, key, *issue["loc"])})) from None


def dump_config(config: BaseModel) -> str:
    """The resolved settings as YAML."""
    stream = StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.dump(config.model_dump(mode="json"), stream)
    return stream.getvalue()


def _read(path: Path) -> CommentedMap:
    if not path.is_file():
        raise InputError(f"`{path}` does not exist or is not a file; `configs/` holds examples")
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"`{path}` has {path.stat().st_size} bytes; a configuration has at most {LARGEST_FILE}")
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_bombs(path, text)
        document = YAML(typ="rt").load(text)
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"{path}{line}: not valid YAML: {problem}") from None
    if not isinstance(document, CommentedMap):
        raise InputError(f"{path}: a configuration is a mapping of settings, for example `name: my-campaign`")
    return document


def _refuse_bombs(path: Path, text: str) -> None:
    """A few lines of aliases stand for gigabytes, and deep nesting exhausts the stack of whoever reads it."""
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        line = event.start_mark.line + 1
        if getattr(event, "anchor", None) is not None:
            raise InputError(f"{path}:{line}: anchors and aliases are not used in configurations")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise InputError(f"{path}:{line}: nested more than {DEEPEST} deep")


def _apply(document: CommentedMap, override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"`--set {override}` must have the form section.key=value")
    *sections, last = key.split(".")
    node: Any = document
    for section in sections:
        node = node.setdefault(section, CommentedMap())
        if not isinstance(node, dict):
            raise InputError(f"`--set {override}`: `{section}` is a value, not a section")
    try:
        node[last] = YAML(typ="safe").load(text)
    except YAMLError:
        raise InputError(f"`--set {override}`: the value is not valid YAML") from None


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return node


def _complaint(
    path: Path,
    document: CommentedMap,
    issue: Any,
    known: Sequence[str] = (),
    model: type[BaseModel] = CampaignConfig,
) -> str:
    location = [part for part in issue["loc"] if part != "function-before"]
    name = ".".join(str(part) for part in location)
    where = _where(path, document, location)
    if issue["type"] == "extra_forbidden":
        known = known or sorted(_keys_at(model, location[:-1]))
        close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        advice = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}"
        return f"{where}: `{name}` is not a setting; {advice}"
    message = issue["msg"].removeprefix("Value error, ")
    value = (
        ""
        if issue["type"] in ("missing", "value_error") and isinstance(issue["input"], dict)
        else (f" is {issue['input']!r}:")
    )
    return f"{where}: `{name or 'configuration'}`{value} {message}"


def _where(path: Path, document: CommentedMap, location: Sequence[Any]) -> str:
    """File and line of a setting, as far down as the file goes; settings from `--set` have no line."""
    line, node = 1, document
    for part in location:
        lines = getattr(getattr(node, "lc", None), "data", None)
        if not isinstance(node, dict | list) or not (part in node if isinstance(node, dict) else part < len(node)):
            break
        if lines is None or part not in lines:
            return "--set"
        line = lines[part][0] + 1
        node = node[part]
    return f"{path}:{line}"


def _keys_at(model: type[BaseModel], location: Sequence[Any]) -> set[str]:
    for part in location:
        if isinstance(part, int):
            continue
        annotation: Any = model.model_fields[part].annotation
        options = [annotation, *get_args(annotation)]
        model = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return set(model.model_fields)
