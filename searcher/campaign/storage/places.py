"""Where a campaign keeps copies of its potentials."""

from pathlib import Path

POTENTIALS = "potentials"
XML = "gap.xml"


def version_folder(folder: Path, number: int) -> Path:
    """``potentials/000`` for version 0 and so on."""
    return folder / POTENTIALS / f"{number:03d}"
