"""What a training told, step by step, in a file that grows; a checkpoint says how many of its lines came before it."""

import json
import logging
import os
from pathlib import Path

from generators.training.checkpoint import write_atomically

logger = logging.getLogger(__name__)

FILE = "told.jsonl"


class History:
    """Metrics of the steps so far.

    Attributes
    ----------
    rows : list of dict
        One per step, in order.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._on_disk: int | None = None
        """rows that the file holds and no others; None where it must be written anew"""

    def read(self, folder: Path, count: int) -> None:
        """The first `count` rows that the folder holds; fewer, with a warning, if its file is damaged."""
        self.rows, self._on_disk = [], None
        try:
            lines = (folder / FILE).read_bytes().splitlines()[:count]
            for line in lines:
                self.rows.append(json.loads(line))
        except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            logger.warning("`%s` is damaged (%s): loss curves begin later", folder / FILE, error)

    def cut(self, count: int) -> None:
        """Forget all but the first `count` rows."""
        if count < len(self.rows):
            del self.rows[count:]
            self._on_disk = None

    def write(self, folder: Path) -> None:
        """Have the rows safe on disk."""
        path, begin = folder / FILE, self._on_disk or 0
        data = "".join(json.dumps(row) + "\n" for row in self.rows[begin:]).encode()
        if self._on_disk is None:
            write_atomically(path, data)
        else:
            with path.open("ab") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        self._on_disk = len(self.rows)
