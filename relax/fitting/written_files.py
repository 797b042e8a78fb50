"""The files that `gap_fit` writes, named by their content instead of the time."""

import hashlib
import re
from pathlib import Path

from relax.fitting.settings import FitError

SPARSE_DIGITS = 12
"""Of a representative environment; moves an energy by 1e-8 eV/atom, a force by 6e-8 eV/Å (10 digits: 2e-6, 8e-6)"""


def rename_by_content(xml: Path) -> dict[str, bytes]:
    """File names and contents of a potential without the time stamp that `gap_fit` puts into labels and names.

    Representative environments keep `SPARSE_DIGITS` digits.

    Parameters
    ----------
    xml : pathlib.Path
        As `gap_fit` wrote it, with its sparseX files beside it.

    Returns
    -------
    dict of str to bytes
        `gap.xml` first, then the sparseX files named by their content.
    """
    text = xml.read_text()
    text = re.sub(r"<command_line>.*?</command_line>", "", text, flags=re.DOTALL)
    label = re.search(r"GAP_\d+_[\d_]+", text)
    if label is None:
        raise FitError(f"{xml.name}: `gap_fit` wrote no label; its output format has changed")
    files = {}
    for name in sorted(set(re.findall(r'sparseX_filename="([^"]+)"', text))):
        written = (xml.parent / name).read_bytes()
        content = _shortened(written)
        text = text.replace(hashlib.md5(written).hexdigest(), hashlib.md5(content).hexdigest())  # quippy compares it
        new_name = f"gap.xml.sparseX.{hashlib.sha256(content).hexdigest()[:16]}"
        text = text.replace(f'"{name}"', f'"{new_name}"')
        files[new_name] = content
    text = text.replace(label.group(), "GAP")
    return {"gap.xml": text.encode(), **files}


def _shortened(sparse_points: bytes) -> bytes:
    """Representative environments with `SPARSE_DIGITS` of their 21 digits: a third less to keep and to read."""
    return "".join(f"{float(x):.{SPARSE_DIGITS - 1}e}\n" for x in sparse_points.split()).encode()
