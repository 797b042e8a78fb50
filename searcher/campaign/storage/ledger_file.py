"""The ledger's file before it is trusted: whole or cut, and brought up from the schema of an older version."""

import json
import logging
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from searcher.campaign.storage.ledger_tables import MIGRATIONS, SCHEMA, SCHEMA_VERSION
from searcher.errors import StorageError
from searcher.files import replacing, write_text

log = logging.getLogger(__name__)

MAGIC = b"SQLite format 3\x00"
BUSY_TIMEOUT_S = 30.0
COMMITS = "commits"
DEVICE_ERRORS = ("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_BUSY")


class OlderSchema(StorageError):
    """A ledger that an older version of this program wrote, opened for reading only."""


def lay_out(path: Path, mark: Path, facts: Mapping[str, Any]) -> None:
    """A new ledger's file with its first facts, and beside it how many transactions are safe: none."""
    if not mark.exists():  # beside a ledger that was lost it stays, and is missed
        write_text(mark, promise(0))
    facts = {**facts, "schema_version": SCHEMA_VERSION, COMMITS: 0}
    with replacing(path) as draft:
        draft.unlink(missing_ok=True)
        connection = sqlite3.connect(draft, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript("BEGIN;" + SCHEMA + "COMMIT;")
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        connection.executemany("INSERT INTO fact VALUES (?, ?)", rows)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()


def opened(path: Path, mark: Path, read_only: bool, accept_loss: bool) -> tuple[sqlite3.Connection, int]:
    """A connection to a ledger that is whole and of this program's schema, and how many transactions it holds.

    Parameters
    ----------
    mark : pathlib.Path
        The file that says how many transactions are safe.
    read_only, accept_loss : bool
        As for `Ledger`.

    Raises
    ------
    StorageError
        As for `Ledger`.
    """
    if not path.is_file():
        raise StorageError(f"`{path}` does not exist: this folder holds no campaign")
    refuse_cut_file(path)
    promised = promised_transactions(mark)  # before the ledger, which a driver may be adding to
    mode = "?mode=ro" if read_only else ""
    connection = sqlite3.connect(f"file:{path}{mode}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        if not read_only:
            connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        version, counted = _fact(connection, "schema_version"), _fact(connection, COMMITS)
        damage = [] if read_only else connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorname.startswith(DEVICE_ERRORS):
            raise StorageError(f"`{path}` cannot be opened ({error}): is the disk full, read-only or gone?") from None
        raise StorageError(f"`{path}` is not a readable ledger ({error}); restore it from a copy") from None
    refuse_other_schema(path, version, read_only)
    if damage not in ([], [("ok",)]):
        raise StorageError(f"`{path}` is damaged ({damage[0][0]}); restore it from a copy")
    if not accept_loss:
        refuse_short(path, mark, promised, counted)
    if version != SCHEMA_VERSION:
        migrate(connection, path, version)
    return connection, int(counted or 0)


def promised_transactions(mark: Path) -> int | None:
    """How many transactions a ledger must hold; None if the file is missing or does not say, whole, a number."""
    text = mark.read_text(encoding="ascii", errors="replace") if mark.is_file() else ""
    return int(text) if text.endswith("\n") and text[:-1].isdecimal() else None


def refuse_short(path: Path, mark: Path, promised: int | None, counted: int | None) -> None:
    """Make sure that a ledger holds all that it must.

    Parameters
    ----------
    promised : int or None
        As `promised_transactions` read it.
    counted : int or None
        Transactions in the ledger; None in one of an older version before its first.

    Raises
    ------
    StorageError
        If transactions are missing, or nobody can tell.
    """
    on = f"let `searcher repair {path.parent}` go on from what is left"
    if promised is None and (counted is not None or mark.is_file()):
        raise StorageError(
            f"`{mark}` is missing or damaged: it says how many transactions `{path.name}` must hold, of which "
            f"{counted or 0} are there. Restore it, or {on}"
        )
    if promised is not None and (counted or 0) < promised:
        raise StorageError(
            f"`{path}` holds {counted or 0} of {promised} transactions: its write-ahead log `{path.name}-wal` was "
            f"cut or lost. Restore it, or {on}"
        )


def promise(transactions: int) -> str:
    """What the file says when so many transactions are safe; of one length, so that one call replaces it."""
    return f"{transactions:020d}\n"


def write_promise(mark: Path, transactions: int) -> None:
    """Say how many transactions are safe, in place and in one call.

    It is not waited for: after a loss of power the file may say less than is safe, which promises too little, never too
    much.
    """
    file = os.open(mark, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(file, promise(transactions).encode(), 0)
    finally:
        os.close(file)


def refuse_cut_file(path: Path) -> None:
    """SQLite takes an empty file for a new database and throws away the write-ahead log beside it.

    Raises
    ------
    StorageError
        If the file is no database or shorter than its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = stream.read(100)
    if header[: len(MAGIC)] != MAGIC or len(header) < 100:
        raise StorageError(f"`{path}` is not a readable ledger ({size} bytes); restore it from a copy")
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    promised = page * int.from_bytes(header[28:32], "big")
    log_file = path.with_name(path.name + "-wal")
    if size < promised and not (log_file.is_file() and log_file.stat().st_size):
        raise StorageError(f"`{path}` has {size} of {promised} bytes: it was cut short; restore it from a copy")


def refuse_other_schema(path: Path, version: Any, read_only: bool) -> None:
    """Make sure that the schema is this program's or one that `migrate` can bring up to it.

    Raises
    ------
    OlderSchema
        If it is older and may not be written.
    StorageError
        If it is newer, or no version at all.
    """
    if version == SCHEMA_VERSION:
        return
    if not isinstance(version, int) or version < min(MIGRATIONS):
        raise StorageError(f"`{path}` has schema version {version!r}, which this program does not know")
    if version > SCHEMA_VERSION:
        raise StorageError(
            f"`{path}` has schema version {version} but this program reads up to {SCHEMA_VERSION}: a newer version of "
            "it wrote the campaign; install that one"
        )
    if read_only:
        raise OlderSchema(f"`{path}` has schema version {version}, this program reads {SCHEMA_VERSION}")


def migrate(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Bring a ledger up to this program's schema in one transaction, with a copy of the old one beside it.

    Parameters
    ----------
    connection : sqlite3.Connection
        To the ledger, in autocommit mode.
    version : int
        The schema that it has.
    """
    backup = path.with_name(f"{path.name}.schema-{version}")
    with replacing(backup) as draft:
        draft.unlink(missing_ok=True)
        copy = sqlite3.connect(draft)
        connection.backup(copy)
        copy.close()
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in range(version, SCHEMA_VERSION):
            for statement in MIGRATIONS[step]:
                connection.execute(statement)
        connection.execute("UPDATE fact SET value = ? WHERE key = 'schema_version'", (json.dumps(SCHEMA_VERSION),))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    log.info("`%s` now has schema version %d; the ledger as it was: `%s`", path, SCHEMA_VERSION, backup)


def _fact(connection: sqlite3.Connection, key: str) -> Any:
    row = connection.execute("SELECT value FROM fact WHERE key = ?", (key,)).fetchone()
    return None if row is None else json.loads(row[0])
