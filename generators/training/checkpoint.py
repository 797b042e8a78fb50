"""Weights and checkpoints on disk: tensors as safetensors, everything else as JSON beside them."""

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from generators.training.record import WeightsError, read_record, sealed

logger = logging.getLogger(__name__)

CHECKPOINT_PATTERN = "checkpoint-*.json"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that after a crash it holds either its old content or all of the new one.

    Parameters
    ----------
    path : pathlib.Path
        Its folder exists.
    data : bytes
    """
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save_weights(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any], half: bool = False) -> None:
    """Write tensors to `path` and their description to the same name with suffix ``.json``.

    The JSON file carries the SHA-256 of the tensors and of itself and is written last: without it the tensors do not
    count.

    Parameters
    ----------
    path : pathlib.Path
        Ends in ``.safetensors``.
    tensors : mapping of str to torch.Tensor
    description : mapping
        What JSON can hold.
    half : bool
        Store floats in half precision, for weights that are shipped.
    """
    stored = {
        name: (tensor.half() if half and tensor.dtype == torch.float32 else tensor).detach().cpu().contiguous()
        for name, tensor in tensors.items()
    }
    data = safetensors.torch.save(stored)
    write_atomically(path, data)
    record = {**description, "sha256": hashlib.sha256(data).hexdigest()}
    write_atomically(path.with_suffix(".json"), sealed(record))


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_weights` wrote; half precision comes back as single.

    Raises
    ------
    WeightsError
        If a file is missing or damaged.
    """
    record_path = path.with_suffix(".json")
    if not path.is_file():
        raise WeightsError(f"`{path}` does not exist, but weights are a .safetensors file with a .json beside it")
    record = read_record(record_path)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise WeightsError(f"`{path}` does not have the SHA-256 that `{record_path.name}` says: cut short or altered")
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError as error:
        raise WeightsError(f"`{path}` is damaged: {error}") from error
    return {name: t.float() if t.dtype == torch.float16 else t for name, t in tensors.items()}, record


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Tensor], description: Mapping[str, Any], kept: int
) -> None:
    """Write the checkpoint of a step and remove all but the last `kept`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(folder / f"checkpoint-{step:08d}.safetensors", tensors, description)
    for old in sorted(folder.glob(CHECKPOINT_PATTERN))[:-kept]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def load_last_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest checkpoint that is whole; damaged ones are passed over with a warning. None if there is none."""
    for record_path in sorted(folder.glob(CHECKPOINT_PATTERN), reverse=True):
        try:
            return load_weights(record_path.with_suffix(".safetensors"))
        except WeightsError as error:
            logger.warning("checkpoint passed over, the one before is used: %s", error)
    return None


def first_difference(found: Any, wanted: Any, name: str = "") -> str | None:
    """Say where two JSON values differ, as "`name` is found but must be wanted"; None if they are equal."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            difference = first_difference(found.get(key), wanted.get(key), f"{name}.{key}" if name else key)
            if difference:
                return difference
        return None
    return None if found == wanted else f"`{name}` is {found!r} but must be {wanted!r}"
