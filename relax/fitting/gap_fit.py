"""Fit a Gaussian approximation potential with the `gap_fit` program of the quippy-ase wheel.

Bartók, Payne, Kondor, Csányi, Phys. Rev. Lett. 104, 136403 (2010); SOAP: Bartók, Kondor, Csányi,
Phys. Rev. B 87, 184115 (2013).
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from ase import Atoms
from ase.io import write

from relax.fitting.arguments import gap_fit_arguments
from relax.fitting.pair_core import glue_xml
from relax.fitting.program import run_gap_fit
from relax.fitting.settings import FitSettings
from relax.fitting.training_data import check_data, training_frame
from relax.fitting.written_files import rename_by_content
from relax.labelling.frames import data_hash


def fit(data: Sequence[Atoms], settings: FitSettings, out: Path) -> Path:
    """Fit a potential; equal data and settings give equal files.

    Parameters
    ----------
    data : sequence of ase.Atoms
        Labelled frames, see `relax.labelling.frames`.
    settings : FitSettings
    out : pathlib.Path
        Folder that receives `gap.xml`, its sparseX files and `settings.json`; files of an older fit are replaced.

    Returns
    -------
    pathlib.Path
        The XML file.

    Raises
    ------
    FitError
        If an element has no isolated atom or no number of sparse points, or `gap_fit` fails.
    """
    check_data(data, settings)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder / "train.xyz", [training_frame(a, settings) for a in data], format="extxyz", write_results=False)
        (folder / "core.xml").write_text(glue_xml(settings.core_cutoffs))
        run_gap_fit(gap_fit_arguments(data, settings), folder)
        files = rename_by_content(folder / "gap.xml")
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("gap.xml*"):
            old.unlink()
        for name, content in files.items():
            (out / name).write_bytes(content)
    record = {
        "settings": asdict(settings),
        "training_frames": len(data),
        "training_data_sha256": data_hash(data),
        "quippy_ase": version("quippy-ase"),
    }
    (out / "settings.json").write_text(json.dumps(record, indent=2) + "\n")
    return out / "gap.xml"
