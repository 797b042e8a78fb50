"""The description beside tensors on disk: JSON that carries a checksum of itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 2
UNSEALED_FORMAT = 1
"""of older records, which carry no checksum of themselves"""
SEAL = "record_sha256"


class WeightsError(ValueError):
    """A weights file that is missing, damaged, or made for other networks."""


def sealed(record: Mapping[str, Any]) -> bytes:
    """A record as JSON with its format and its checksum."""
    plain = json.loads(json.dumps({**record, "format": FORMAT}))
    return json.dumps({**plain, SEAL: _checksum(plain)}, indent=1, sort_keys=True).encode()


def read_record(path: Path) -> dict[str, Any]:
    """Read what `sealed` gave.

    Raises
    ------
    WeightsError
        If the file is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(f"`{path}` does not exist, but weights are a .safetensors file with a .json beside it")
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        version = record.get("format")
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise WeightsError(f"`{path}` is damaged: {error}") from error
    if version not in (FORMAT, UNSEALED_FORMAT):
        raise WeightsError(f"`format` of `{path}` is {version!r} but must be {FORMAT}")
    seal = record.pop(SEAL, None)
    if version == FORMAT and seal != _checksum(record):
        raise WeightsError(f"`{path}` does not match its own checksum: it is damaged")
    if not isinstance(record.get("sha256"), str):
        raise WeightsError(f"`{path}` is damaged: it names no checksum of the weights")
    return record


def _checksum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
