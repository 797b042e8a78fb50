"""How numba compiles what is here."""

from typing import Any

COMPILED: dict[str, Any] = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
