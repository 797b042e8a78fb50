"""How numba compiles what is here."""

from typing import Any

COMPILED: dict[str, Any] = {"cache": True, "error_model": "numpy"}
"""Without `fastmath`: it would save no time here, and code that was just compiled would differ in its last digits from
the same code out of numba's cache."""
