"""An autonomous searcher for surface terminations of rutile oxides."""

from typing import Any

__all__ = ["Run", "open_run"]


def __getattr__(name: str) -> Any:
    """Load the notebook's part only when it is asked for, so that the command line starts at once."""
    if name in __all__:
        from searcher import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module `searcher` has no attribute {name!r}")
