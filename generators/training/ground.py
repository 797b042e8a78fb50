"""What terms of the generator's loss with something of their own are made from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from generators.grids.spec import GridSpec
from generators.networks.settings import NetworkSettings
from generators.proposal import TrainingRecord
from generators.template import Template
from generators.training.processes import Processes
from generators.training.settings import TrainingSettings
from generators.training.view import View


@dataclass(frozen=True)
class Ground:
    """What terms are made from."""

    records: Sequence[TrainingRecord]
    template: Template | None
    spec: GridSpec
    view: View
    networks: NetworkSettings
    settings: TrainingSettings
    random: torch.Generator
    """first weights come from it"""
    processes: Processes
    """that share the training"""

    @property
    def frozen(self) -> Tensor:
        """Density beside the generated one."""
        return self.view.frozen(self.template, self.spec)

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes of the grids wrap."""
        return self.view.periodic(self.spec)
