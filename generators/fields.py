"""Fields of settings: from JSON or YAML, and what their values may be; errors name the field."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any


def with_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as settings hold them: tuples for lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def require_named(settings: object, allowed: Mapping[str, Collection[Any]]) -> None:
    """Raise ValueError for a field whose value is none of those that are allowed for it."""
    for name, values in allowed.items():
        if getattr(settings, name) not in list(values):
            raise ValueError(f"`{name}` is {getattr(settings, name)!r} but must be one of {sorted(map(str, values))}")


def require_least(settings: object, least: int, names: Iterable[str]) -> None:
    """Raise ValueError for a field that is below `least`."""
    for name in names:
        if not getattr(settings, name) >= least:
            raise ValueError(f"`{name}` is {getattr(settings, name)} but must be at least {least}")


def require_positive(settings: object, names: Iterable[str]) -> None:
    """Raise ValueError for a field that is not positive."""
    for name in names:
        if not getattr(settings, name) > 0.0:
            raise ValueError(f"`{name}` is {getattr(settings, name)} but must be positive")


def require_share(settings: object, names: Iterable[str]) -> None:
    """Raise ValueError for a field that is outside [0, 1)."""
    for name in names:
        if not 0.0 <= getattr(settings, name) < 1.0:
            raise ValueError(f"`{name}` is {getattr(settings, name)} but must lie in [0, 1)")


def require_widths(settings: object, names: Iterable[str]) -> None:
    """Raise ValueError for a field that does not hold one positive number or more."""
    for name in names:
        if not getattr(settings, name) or min(getattr(settings, name)) < 1:
            raise ValueError(f"`{name}` is {getattr(settings, name)} but must hold one positive number or more")


def require_threads(threads: int | None) -> None:
    """Raise ValueError for a number of threads that is neither positive nor None."""
    if threads is not None and threads < 1:
        raise ValueError(f"`threads` is {threads} but must be at least 1, or None")
