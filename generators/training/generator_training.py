"""What the trainings of all generators have in common: structures, networks for them, and the weights that are left."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from generators.grids.spec import GridSpec
from generators.kinds import OLDEST
from generators.networks.conditioning import ConditionSpec
from generators.proposal import TrainingRecord
from generators.template import Template
from generators.training.checkpoint import save_weights
from generators.training.dataset import StructureDataset
from generators.training.fitting import check_precision
from generators.training.health import Finding
from generators.training.networks import fields_of, load_fitting
from generators.training.processes import ALONE, Processes
from generators.training.resumable import Pace, ResumableTraining
from generators.training.view import WINDOW, View

logger = logging.getLogger(__name__)


class Layout(Protocol):
    """What settings say of networks, whatever these are."""

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]: ...


class Course(Pace, Protocol):
    """What settings say of a training on structures."""

    @property
    def balance(self) -> tuple[str, ...]: ...
    @property
    def channels_last(self) -> bool: ...
    @property
    def precision(self) -> str: ...
    @property
    def device(self) -> str: ...


Networks = TypeVar("Networks", bound=Layout)
Settings = TypeVar("Settings", bound=Course)


class GeneratorTraining(ResumableTraining, Generic[Networks, Settings]):
    """A training of a generator on structures.

    Parameters
    ----------
    template : Template or None
        Needed for windows.
    spec : GridSpec
    network_settings : NetworkSettings or another kind's
    training_settings : TrainingSettings or another kind's
    records : sequence of TrainingRecord
    generator : torch.Generator
        On the training's device; first weights and everything drawn later come from it.
    warm_start : pathlib.Path, optional
        Weights to begin with.
    transfer : bool
        These were trained on another cell: the same voxels, species and networks, but other lengths.
    view : View
    processes : Processes
        Those that share the training; only the first writes.

    Raises
    ------
    ValueError
        If records, grid, networks or warm start do not fit together.
    """

    KIND: ClassVar[str]
    """of the generator, a name in `generators.kinds.KINDS`"""
    settings: Settings

    def __init__(
        self,
        template: Template | None,
        spec: GridSpec,
        network_settings: Networks,
        training_settings: Settings,
        records: Sequence[TrainingRecord],
        generator: torch.Generator,
        warm_start: Path | None = None,
        transfer: bool = False,
        *,
        view: View = WINDOW,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__(training_settings, processes)
        self.template, self.spec, self.view, self.networks = template, spec, view, network_settings
        device = training_settings.device
        check_precision(training_settings.precision, device)
        self.dataset = StructureDataset(
            records, spec, network_settings.conditions, template, device, view, training_settings.balance
        )
        self._prepare(records, generator, None if warm_start is None else self._first_weights(warm_start, transfer))

    @property
    def findings(self) -> list[Finding]:
        """What checks of the training's health found."""
        return []

    def save(self, path: Path, half: bool = False) -> None:
        """Write what samples are drawn from as a weights file that a warm start can name.

        Parameters
        ----------
        path : pathlib.Path
            Ends in ``.safetensors``; a ``.json`` is written beside it.
        half : bool
            Store half precision, for weights that are shipped.
        """
        if not self.processes.first:
            return
        rows, shares = self.dataset.condition_table()
        description = self._identity() | {
            "condition_rows": rows,
            "condition_shares": shares,
            "step": self.state.step,
            "findings": [finding.as_dict() for finding in self.findings],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, self._weights(), description, half=half)

    @abstractmethod
    def _prepare(
        self, records: Sequence[TrainingRecord], generator: torch.Generator, first: dict[str, Tensor] | None
    ) -> None:
        """Make networks, with the first weights if these are given, and all else that changes."""

    @abstractmethod
    def _weights(self) -> dict[str, Tensor]:
        """What is kept of the networks after the training, as `first` of another will be."""

    def _first_weights(self, path: Path, transfer: bool) -> dict[str, Tensor]:
        tensors, description = load_fitting(path, self.networks, self.spec, self.view, transfer, self.KIND)
        if self.template is not None and description.get("template") != self.template.id:
            logger.info("weights `%s` come from another template, %s", path, description.get("template"))
        return tensors

    def _identity(self) -> dict[str, Any]:
        named = {} if self.KIND == OLDEST else {"generator": self.KIND}
        return named | {
            "network": fields_of(self.networks),
            "grid": self.spec.as_dict(),
            "view": self.view.as_dict(),
            "template": None if self.template is None else self.template.id,
            "lattice_scale": self.dataset.lattice_scale.as_dict(),
            "training": fields_of(self.settings),
            "processes": self.processes.count,
            "data": self.dataset.digest(),
        }
