"""Structure files from users: known formats only, of bounded size, every fault named."""

import lzma
from collections.abc import Sequence
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms

from relax.plain_xml import trap_in
from searcher.errors import InputError
from searcher.files import replacing

FORMATS = {
    "*.extxyz": "extxyz",
    "*.xyz": "extxyz",
    "*.cif": "cif",
    "*.vasp": "vasp",
    "*.poscar": "vasp",
    "poscar*": "vasp",
    "contcar*": "vasp",
    "*vasprun*.xml": "vasp-xml",
    "outcar*": "vasp-out",
    "*.pwi": "espresso-in",
    "*.pwo": "espresso-out",
    "*.xsf": "xsf",
    "geometry.in": "aims",
    "*.traj": "traj",
    "*.db": "db",
    "*.json": "json",
}
"""ASE's name of a format by the pattern of a file's name in small letters. ASE's own guess is not asked: it would also
take a Python script for a structure, and run it."""
LARGEST_FILE = 200_000_000  # bytes


def format_of(path: Path) -> str:
    """ASE's name of a file's format, by the file's name.

    Raises
    ------
    InputError
        If the name fits none of those that are read.
    """
    name = (path.stem if path.suffix == ".xz" else path.name).lower()
    for pattern, file_format in FORMATS.items():
        if fnmatchcase(name, pattern):
            return file_format
    raise InputError(f"structure file `{path}` has an unknown ending; known are {', '.join(FORMATS)}")


def read_structures(path: Path) -> list[Atoms]:
    """All structures of a file.

    Parameters
    ----------
    path : pathlib.Path
        Of a name that `FORMATS` has; also compressed, ``.extxyz.xz``.

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
    file_format = format_of(path)
    trap = trap_in(path.read_bytes()) if file_format == "vasp-xml" and path.suffix != ".xz" else None
    if trap is not None:
        raise InputError(f"structure file `{path}` {trap}")
    from searcher.structures.readers import UnreadableFile, read_as  # ASE's readers take a second to load

    try:
        structures = read_as(path, file_format, LARGEST_FILE)
    except UnreadableFile as error:
        raise InputError(f"structure file `{path}` cannot be read as {file_format}: {error}") from None
    if not structures:
        raise InputError(f"structure file `{path}` holds no structure")
    for number, atoms in enumerate(structures):
        if not len(atoms) or not np.isfinite(atoms.positions).all():
            raise InputError(f"structure file `{path}`, structure {number}: no atoms, or positions that are no numbers")
    return structures


def read_named(paths: Sequence[Path]) -> list[tuple[str, Atoms]]:
    """All structures of files, with a name for each.

    Raises
    ------
    InputError
        As `read_structures`.
    """
    return [(f"{path.name} #{number}", atoms) for path in paths for number, atoms in enumerate(read_structures(path))]


def write_compressed(path: Path, structures: Sequence[Atoms]) -> None:
    """Write structures as ``.extxyz.xz``, the same bytes for the same structures."""
    import ase.io  # its writers take a second to load

    text = StringIO()
    ase.io.write(text, list(structures), format="extxyz")
    with replacing(path) as draft:
        draft.write_bytes(lzma.compress(text.getvalue().encode(), preset=9))
