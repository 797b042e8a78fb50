"""Structure files from users: known formats only, of bounded size, every fault named."""

import lzma
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError

from searcher.errors import InputError
from searcher.files import replacing

FORMATS = {
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".cif": "cif",
    ".vasp": "vasp",
    ".poscar": "vasp",
    ".traj": "traj",
    ".db": "db",
}
LARGEST_FILE = 200_000_000  # bytes


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
    ase.io.ParseError,
    UnknownFileTypeError,
)
"""What readers raise on damaged files."""


def read_structures(path: Path, any_format: bool = False) -> list[Atoms]:
    """All structures of a file.

    Parameters
    ----------
    path : pathlib.Path
        extxyz (also compressed, ``.extxyz.xz``), CIF, POSCAR, an ASE trajectory or database.
    any_format : bool
        Let ASE find out what a file with another ending is.

    Raises
    ------
    InputError
        If the file is missing, too large, of another format, damaged or empty.
    """
    if not path.is_file():
        raise InputError(f"structure file `{path}` does not exist")
    size = path.stat().st_size
    if not 0 < size <= LARGEST_FILE:
        raise InputError(f"structure file `{path}` has {size} bytes; allowed are 1 to {LARGEST_FILE}")
    compressed = path.suffix == ".xz"
    suffix = Path(path.stem).suffix if compressed else path.suffix
    file_format = "vasp" if path.name in ("POSCAR", "CONTCAR") else FORMATS.get(suffix.lower())
    if file_format is None and not any_format:
        raise InputError(f"structure file `{path}` has an unknown ending; known are {', '.join(sorted(FORMATS))}")
    try:
        source = StringIO(_decompressed(path)) if compressed else str(path)
        read = _of_database(path) if file_format == "db" else ase.io.read(source, index=":", format=file_format)
    except FAULTS as error:
        kind = file_format or "any format that ASE knows"
        raise InputError(f"structure file `{path}` cannot be read as {kind}: {error}") from None
    structures = [read] if isinstance(read, Atoms) else list(read)
    if not structures:
        raise InputError(f"structure file `{path}` holds no structure")
    for number, atoms in enumerate(structures):
        if not len(atoms) or not np.isfinite(atoms.positions).all():
            raise InputError(f"structure file `{path}`, structure {number}: no atoms, or positions that are no numbers")
    return structures


def _decompressed(path: Path) -> str:
    """A few kilobytes of ``.xz`` can stand for gigabytes."""
    reader = lzma.LZMADecompressor()
    content = reader.decompress(path.read_bytes(), max_length=LARGEST_FILE)
    if not reader.eof:
        raise ValueError(f"it is cut short, or unpacks to more than {LARGEST_FILE} bytes")
    return content.decode()


def _of_database(path: Path) -> list[Atoms]:
    """Rows of an ASE database with their key–value pairs in `info`, which ASE's reader leaves out."""
    found = []
    with ase.db.connect(path, type="db", use_lock_file=False) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info |= row.key_value_pairs
            found.append(atoms)
    return found


def read_named(paths: Sequence[Path]) -> list[tuple[str, Atoms]]:
    """All structures of files of any format that ASE reads, with a name for each.

    Raises
    ------
    InputError
        As `read_structures`.
    """
    return [
        (f"{path.name} #{number}", atoms)
        for path in paths
        for number, atoms in enumerate(read_structures(path, any_format=True))
    ]


def write_compressed(path: Path, structures: Sequence[Atoms]) -> None:
    """Write structures as ``.extxyz.xz``, the same bytes for the same structures."""
    text = StringIO()
    ase.io.write(text, list(structures), format="extxyz")
    with replacing(path) as draft:
        draft.write_bytes(lzma.compress(text.getvalue().encode(), preset=9))
