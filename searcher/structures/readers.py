"""ASE's readers of structure files and databases, their faults told as one."""

import lzma
import sqlite3
from io import StringIO
from pathlib import Path

import ase.db
import ase.io
from ase import Atoms
from ase.io.formats import UnknownFileTypeError

DATABASES = ("db", "json")
FAULTS = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    RuntimeError,
    ImportError,
    EOFError,
    StopIteration,
    lzma.LZMAError,
    sqlite3.Error,
    ase.io.ParseError,
    UnknownFileTypeError,
)
"""What readers raise on damaged files."""


class UnreadableFile(Exception):
    """A damaged file, or one of another format than its name says."""


def read_as(path: Path, file_format: str, largest: int) -> list[Atoms]:
    """All structures of a file that was looked at before.

    Parameters
    ----------
    file_format : str
        ASE's name of it.
    largest : int
        Bytes that a compressed file may unpack to.

    Raises
    ------
    UnreadableFile
        If ASE cannot read it.
    """
    try:
        source = StringIO(_decompressed(path, largest)) if path.suffix == ".xz" else str(path)
        is_database = file_format in DATABASES
        read = _of_database(path, file_format) if is_database else ase.io.read(source, index=":", format=file_format)
        return [read] if isinstance(read, Atoms) else list(read)
    except FAULTS as error:
        raise UnreadableFile(str(error)) from None


def _decompressed(path: Path, largest: int) -> str:
    """A few kilobytes of ``.xz`` can stand for gigabytes."""
    reader = lzma.LZMADecompressor()
    content = reader.decompress(path.read_bytes(), max_length=largest)
    if not reader.eof:
        raise ValueError(f"it is cut short, or unpacks to more than {largest} bytes")
    return content.decode()


def _of_database(path: Path, kind: str) -> list[Atoms]:
    """Rows of an ASE database with their key–value pairs in `info`, which ASE's reader leaves out."""
    found = []
    with ase.db.connect(path, type=kind, use_lock_file=False) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info |= row.key_value_pairs
            found.append(atoms)
    return found
