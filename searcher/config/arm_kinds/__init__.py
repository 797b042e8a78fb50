"""The kinds of arms, one file each.

A file here says what may be set; the file of its name in `campaign/arms/kinds` says what is proposed.
"""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from pydantic import Field

from searcher.config.arms import ArmSection


def _sections(package: str) -> dict[str, type[ArmSection]]:
    """By kind, the model of its settings."""
    found: dict[str, type[ArmSection]] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        section: Any = import_module(f"{package}.{name}").SECTION
        (kind,) = get_args(section.model_fields["kind"].annotation)
        if kind != name:
            raise TypeError(f"`{package}.{name}` is about arms of kind `{kind}`: file and kind have one name")
        found[kind] = section
    return found


SECTIONS = _sections(__name__)
"""by kind, the settings of an arm"""

if TYPE_CHECKING:
    AnyArm = ArmSection
else:
    AnyArm = Annotated[Union[tuple(SECTIONS.values())], Field(discriminator="kind")]  # noqa: UP007
