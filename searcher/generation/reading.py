"""Drawn grids and records as structures, without a campaign that would say what is valid."""

from dataclasses import replace

import numpy as np
from ase import Atoms

from generators.grids.backmapping import BackmappingSettings, backmap
from generators.grids.spec import GridSpec
from generators.proposal import TrainingRecord
from generators.sampling import Drawn, GridSampler
from generators.template import Template

SETTINGS = BackmappingSettings(r2_min=0.5, integral_decides=True)


def read_structures(drawn: Drawn, sampler: GridSampler, template: Template | None) -> list[tuple[Atoms, str | None]]:
    """One structure per grid with what was found in it, and why it could not be read, else None.

    Parameters
    ----------
    drawn : Drawn
        Of whole structures, not of slices.
    sampler : GridSampler
        That drew them.
    template : Template or None
        Of windows.
    """
    if sampler.view.kind == "window":
        assert template is not None
        read = backmap(drawn.grids, sampler.spec, SETTINGS)
        return [(template.assemble(one.numbers, one.positions), one.reason) for one in read]
    lengths = np.tile(sampler.spec.lengths, (len(drawn.grids), 1)) if drawn.lengths is None else drawn.lengths.numpy()
    found: list[tuple[Atoms, str | None]] = []
    for grid, own in zip(drawn.grids, lengths, strict=True):
        one = backmap(grid[None], spec_of_cell(sampler.spec, own), SETTINGS)[0]
        found.append((Atoms(one.numbers, one.positions, cell=np.diag(own), pbc=True), one.reason))
    return found


def whole_structure(record: TrainingRecord, spec: GridSpec, template: Template | None) -> Atoms:
    """A record's atoms on the template, or in the cell of their own."""
    if template is not None:
        return template.assemble(record.numbers, record.positions)
    lengths = spec.lengths if record.lengths is None else record.lengths
    return Atoms(record.numbers, record.positions, cell=np.diag(lengths), pbc=True)


def spec_of_cell(spec: GridSpec, lengths: np.ndarray) -> GridSpec:
    """The grid of a cell with lengths (3,) of its own, in Å."""
    x, y, z = (float(length) for length in lengths)
    return replace(spec, origin=(0.0, 0.0, 0.0), lengths=(x, y, z))
