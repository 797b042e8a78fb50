"""One driver per campaign: a lock of the operating system, and a note that says who holds it."""

import json
import logging
import os
import platform
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from searcher.errors import LockedError
from searcher.files import write_text

log = logging.getLogger(__name__)

LOCK, HOLDER = ".lock", ".driver"
A_LOOK_S = 1.0
"""longer than `status` holds the lock to see whether a driver does"""


class DriverLock:
    """Held while a driver works on a campaign's folder.

    The operating system frees the lock when its holder dies, so that one left on this host needs no human. Not every
    file system shares locks between hosts: a note left by another host is believed until `unlock` removes it.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's.

    Raises
    ------
    LockedError
        If another driver holds it, or may hold it on another host.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = _acquired(folder)
        left = holder(folder)
        if left is not None and left["host"] != platform.node():
            self._lock.release()
            raise LockedError(
                f"`{folder}` was left locked by {_named(left)}, which cannot be asked from here; if no driver works "
                f"there any more, `searcher unlock {folder}` frees it"
            )
        if left is not None:
            log.info("%s ended without a word; its lock on `%s` is taken over", _named(left), folder)
        note = {"pid": os.getpid(), "host": platform.node()}
        write_text(folder / HOLDER, json.dumps(note) + "\n")

    def release(self) -> None:
        (self._folder / HOLDER).unlink(missing_ok=True)
        self._lock.release()


def holder(folder: Path) -> dict[str, Any] | None:
    """``pid`` and ``host`` of the driver that works on a campaign or left it without a word; None if there is none."""
    try:
        note = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return {"pid": int(note["pid"]), "host": str(note["host"])}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return {"pid": 0, "host": "an unknown host"}


def unlock(folder: Path) -> str:
    """Free a campaign that a driver on another host left locked.

    Returns
    -------
    str
        What was done.

    Raises
    ------
    LockedError
        If a driver on this host works on it.
    """
    lock = _acquired(folder)
    try:
        left = holder(folder)
        (folder / HOLDER).unlink(missing_ok=True)
    finally:
        lock.release()
    return f"`{folder}` was not locked" if left is None else f"`{folder}`: the lock of {_named(left)} is removed"


def _acquired(folder: Path) -> FileLock:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=A_LOOK_S)
    except Timeout:
        found = holder(folder)
        who = _named(found) if found else "a driver that has only just started"
        raise LockedError(f"`{folder}` is being worked on by {who}; only one driver may") from None
    return lock


def _named(note: dict[str, Any]) -> str:
    return f"process {note['pid']} on {note['host']}"
