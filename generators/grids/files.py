"""Files of density grids: what a generator sampled, and what backmapping reads."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generators.grids.spec import GridError, GridSpec
from generators.proposal import Condition


@dataclass(frozen=True)
class GridFile:
    r"""Content of an ``.npz`` of grids.

    Attributes
    ----------
    grids : numpy.ndarray, shape (n, n_species, \*shape)
    spec : GridSpec
    conditions : list of mapping, length n
        What each grid was asked for, by name.
    template : str
        `Template.id` of the template in whose frame a window lies; empty for a full cell.
    """

    grids: np.ndarray
    spec: GridSpec
    conditions: list[Condition]
    template: str = ""
    lengths: np.ndarray | None = None
    """(n, 3) in Å, of cells that a generator emits with their grids"""


def write_grids(
    path: Path,
    grids: np.ndarray,
    spec: GridSpec,
    conditions: Sequence[Condition] = (),
    template: str = "",
    lengths: np.ndarray | None = None,
) -> None:
    r"""Write an ``.npz`` with ``grids`` (half precision), ``spec`` and ``conditions`` as JSON, ``template``, and, for
    other programs, ``species`` and ``spacing`` in Å.

    Parameters
    ----------
    path : pathlib.Path
    grids : array, shape (n, n_species, \*shape)
    spec : GridSpec
    conditions : sequence of mapping, length n or 0
    template : str
    lengths : array, shape (n, 3), optional
        Å, of each grid's own cell.
    """
    own: dict[str, Any] = {} if lengths is None else {"lengths": np.asarray(lengths, dtype=np.float64)}
    with path.open("wb") as stream:
        np.savez_compressed(
            stream,
            grids=np.asarray(grids).astype(np.float16),
            spec=json.dumps(spec.as_dict()),
            conditions=json.dumps([dict(one) for one in conditions] or [{}] * len(grids)),
            template=template,
            species=np.array(spec.species),
            spacing=spec.spacing,
            **own,
        )


def read_grids(path: Path) -> GridFile:
    """Read what `write_grids` wrote.

    Raises
    ------
    GridError
        If the file is missing, damaged, or holds something else.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            grids = np.asarray(data["grids"], dtype=np.float32)
            spec = GridSpec.from_dict(json.loads(str(data["spec"])))
            conditions = json.loads(str(data["conditions"]))
            template = str(data["template"])
            lengths = np.asarray(data["lengths"], dtype=float) if "lengths" in data else None
    except KeyError as error:
        raise GridError(f"`{path}` has no {error}: it must hold `grids`, `spec`, `conditions` and `template`") from None
    except (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise GridError(f"`{path}` cannot be read as grids ({error})") from None
    if grids.ndim != 5 or grids.shape[1:] != (len(spec.species), *spec.shape) or len(conditions) != len(grids):
        raise GridError(
            f"`{path}` holds grids of shape {grids.shape} and {len(conditions)} conditions, but its `spec` asks for "
            f"(n, {len(spec.species)}, {', '.join(str(count) for count in spec.shape)}) and n"
        )
    if lengths is not None and (lengths.shape != (len(grids), 3) or not np.isfinite(lengths).all()):
        raise GridError(f"`{path}` holds `lengths` of shape {lengths.shape} but must have ({len(grids)}, 3), in Å")
    return GridFile(grids, spec, conditions, template, lengths)
