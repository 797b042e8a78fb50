"""Small files that are complete or not there."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a small file so that after a crash it holds its old content or all of the new one."""
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    replace(draft, path)


def replace(draft: Path, path: Path) -> None:
    """Put a complete, synchronised draft in its place, for good."""
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
