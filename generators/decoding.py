"""Sampled grids as proposals: atoms read, overlaps pushed apart, slabs of full cells laid on the template."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from generators.grids.backmapping import BackmappingSettings, Decoded, backmap
from generators.grids.registration import read_cells
from generators.grids.spec import GridSpec
from generators.networks.conditioning import ConditionSpec, decode
from generators.overlaps import DistanceTable, push_apart
from generators.proposal import Proposal
from generators.sampling import Drawn
from generators.template import Template
from generators.training.view import WINDOW, View


class GridReader:
    """Reads grids of a template's window, or of its full cell.

    Parameters
    ----------
    template : Template
    spec : GridSpec
    settings : BackmappingSettings
    min_distances : mapping of str to float
        Å per pair of elements; decoded atoms a little nearer than this are pushed apart, see `generators.overlaps`.
    view : View
    """

    def __init__(
        self,
        template: Template,
        spec: GridSpec,
        settings: BackmappingSettings,
        min_distances: Mapping[str, float],
        view: View = WINDOW,
    ) -> None:
        self.template, self.spec, self.settings, self.view = template, spec, settings, view
        self.least = DistanceTable(min_distances)

    def read(self, drawn: Drawn, conditions: Sequence[ConditionSpec]) -> list[Proposal]:
        """One proposal per grid, undecodable ones with their reason."""
        if not len(drawn.grids):
            return []
        told = decode(drawn.rows, conditions)
        if self.view.kind == "cell":
            return self._registered(drawn, told)
        decoded = backmap(drawn.grids, self.spec, self.settings)
        return [self._proposal(atoms, values) for atoms, values in zip(decoded, told, strict=True)]

    def _proposal(self, decoded: Decoded, condition: dict[str, int | float]) -> Proposal:
        if decoded.reason is not None:
            return Proposal(np.empty(0, dtype=int), np.empty((0, 3)), condition, decoded.r2, decoded.reason)
        positions = push_apart(decoded.numbers, decoded.positions, self.template, self.least)
        return Proposal(decoded.numbers, positions, condition, decoded.r2)

    def _registered(self, drawn: Drawn, told: list[dict[str, int | float]]) -> list[Proposal]:
        """Slabs read from full cells, laid on the template."""
        cell = torch.as_tensor(self.template.cell, dtype=torch.float32).expand(len(drawn.grids), -1)
        lengths = cell if drawn.lengths is None else drawn.lengths
        read = read_cells(drawn.grids, self.spec, lengths.numpy(), self.template, self.settings)
        return [
            self._proposal(replace(decoded, numbers=slab.numbers, positions=slab.positions, reason=reason), condition)
            for (decoded, slab), condition in zip(read, told, strict=True)
            for reason in [decoded.reason or slab.reason]
        ]
