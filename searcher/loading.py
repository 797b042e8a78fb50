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

from generators.kinds import KINDS
from generators.networks.settings import NetworkSettings
from generators.training.settings import TrainingSettings
from relax.relaxation_settings import RelaxationSettings, relaxation_settings
from searcher.campaign.hopping.settings import BasinHoppingSettings, basin_hopping_settings
from searcher.config import CampaignConfig
from searcher.config.arm_kinds import SECTIONS
from searcher.config.recorded import drop_other_kinds
from searcher.errors import InputError
from searcher.generation.settings import GeneratorConfig
from searcher.scoring.validity import ValidityThresholds

Model = TypeVar("Model", bound=BaseModel)
LARGEST_FILE = 1_000_000  # bytes
DEEPEST = 20
RECORDED = "campaign.yaml"


def load_config(path: Path, overrides: Sequence[str] = ()) -> CampaignConfig:
    """Read a campaign's settings.

    Parameters
    ----------
    path : pathlib.Path
        A YAML 1.2 file.
    overrides : sequence of str
        ``section.key=value``, the value in YAML; of an arm ``arms.NAME.key=value``.

    Raises
    ------
    InputError
        For a missing file, bad YAML, an unknown key or a value out of range; the message names file and line.
    """
    return _campaign(path, _overridden(path, overrides))


def load_recorded(folder: Path) -> CampaignConfig:
    """The settings that a campaign keeps in its folder, also as older versions wrote them; as `load_config`."""
    path = folder / RECORDED
    document = _read(path)
    drop_other_kinds(document)
    return _campaign(path, document)


def _campaign(path: Path, document: CommentedMap) -> CampaignConfig:
    config = _checked(path, document, CampaignConfig)
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
    for number, arm in enumerate(config.arms):
        for section, settings in arm.MAPPINGS.items():
            _read_as(settings, getattr(arm, section), path, document, ("arms", number, arm.kind, section))
    return config


def load_generator_config(path: Path, overrides: Sequence[str] = ()) -> GeneratorConfig:
    """Read the settings of a generator that is trained on files; as `load_config`."""
    document = _overridden(path, overrides)
    config = _checked(path, document, GeneratorConfig)
    kind = KINDS[config.generator]
    _read_as(kind.network, config.network, path, document, ("network",))
    _read_as(kind.training, config.training, path, document, ("training",))
    return config


def place(path: Path, overrides: Sequence[str], *location: str | int) -> str:
    """File and line of a setting, to complain about what it names."""
    return _where(path, _overridden(path, overrides), location)


def _overridden(path: Path, overrides: Sequence[str]) -> CommentedMap:
    document = _read(path)
    for override in overrides:
        _apply(document, override)
    return document


def _checked(path: Path, document: CommentedMap, model: type[Model]) -> Model:
    try:
        return model.model_validate(_plain(document))
    except ValidationError as error:
        issues = [_complaint(path, document, issue, model=model) for issue in error.errors()]
        raise InputError("\n".join(issues)) from None


def _read_as(
    kind: Any, values: dict[str, Any], path: Path, document: CommentedMap, location: tuple[str | int, ...]
) -> None:
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
        node = _named(node, section, override) if isinstance(node, list) else node.setdefault(section, CommentedMap())
        if not isinstance(node, dict | list):
            raise InputError(f"`--set {override}`: `{section}` is a value, not a section")
    if isinstance(node, list):
        raise InputError(f"`--set {override}`: `{last}` is an entry of a list; name one of its settings too")
    try:
        node[last] = YAML(typ="safe").load(text)
    except YAMLError:
        raise InputError(f"`--set {override}`: the value is not valid YAML") from None


def _named(entries: list[Any], name: str, override: str) -> Any:
    """The entry of a list that has this name, as an arm has."""
    named = {str(entry["name"]): entry for entry in entries if isinstance(entry, dict) and "name" in entry}
    if name not in named:
        raise InputError(f"`--set {override}`: none is named `{name}`; there are {', '.join(named) or 'no names'}")
    return named[name]


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
    location, models = _walk(model, [part for part in issue["loc"] if part != "function-before"])
    if issue["type"].startswith("union_tag"):
        return _unknown_kind(_where(path, document, location), location, issue)
    name = ".".join(str(part) for part in location)
    where = _where(path, document, location)
    if issue["type"] == "extra_forbidden":
        known = known or sorted(models[0].model_fields)
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


def _unknown_kind(where: str, location: Sequence[Any], issue: Any) -> str:
    """What to say where a section's `kind` is missing or none of those there are."""
    known = sorted(SECTIONS)
    name = ".".join(str(part) for part in (*location, "kind"))
    if issue["type"] == "union_tag_not_found":
        return f"{where}: `{name}` is missing; one of {', '.join(known)}"
    given = str(issue["ctx"]["tag"])
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    return f"{where}: `{name}` is {given!r}: " + (
        f"did you mean `{close[0]}`?" if close else f"one of {', '.join(known)}"
    )


def _walk(model: type[BaseModel], location: Sequence[Any]) -> tuple[list[Any], list[type[BaseModel]]]:
    """A setting's location as the file has it, without the kinds that pydantic names, and the model it should be of."""
    plain: list[Any] = []
    around = models = [model]
    for part in location:
        if isinstance(part, int):
            plain.append(part)
        elif len(models) > 1:
            models = [one for one in models if part in get_args(one.model_fields["kind"].annotation)]
        else:
            plain.append(part)
            around = models or around
            fields_here = models[0].model_fields if models else {}
            models = _models_in(fields_here[part].annotation) if part in fields_here else []
    return plain, around


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models among what an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
