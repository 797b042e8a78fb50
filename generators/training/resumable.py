"""What every training here has in common: it yields metrics, can stop anywhere, and goes on to the bit."""

import contextlib
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from generators.training.checkpoint import WeightsError, first_difference, load_last_checkpoint, save_checkpoint
from generators.training.history import History
from generators.training.processes import Processes

logger = logging.getLogger(__name__)

ROLLBACK_FACTOR = 0.5
"""What a rollback multiplies all learning rates by."""

Snapshot = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors and description of a state, as they are on disk."""


class TrainingFailed(RuntimeError):
    """A training whose numbers stopped being finite and that lower rates did not mend."""


class Pace(Protocol):
    """What settings say of a training's course, whatever is trained."""

    @property
    def steps(self) -> int: ...
    @property
    def max_rollbacks(self) -> int: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def checkpoints_kept(self) -> int: ...
    @property
    def threads(self) -> int | None: ...


class ChangingState(Protocol):
    """Everything that changes while networks are trained."""

    step: int
    rollbacks: int

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all tensors, by name."""

    def counters(self) -> dict[str, Any]:
        """Everything else, as what JSON can hold."""

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Take up what `tensors` and `counters` gave."""


class ResumableTraining(ABC):
    """A training that is taken up from its last whole checkpoint.

    Parameters
    ----------
    settings : Pace
    processes : Processes
        Those that share the training; only the first writes.
    """

    settings: Pace
    state: ChangingState

    def __init__(self, settings: Pace, processes: Processes) -> None:
        self.settings, self.processes = settings, processes
        self._history = History()

    def run(self, folder: Path | None = None) -> Iterator[dict[str, float]]:
        """Train until `steps`, from the last whole checkpoint in `folder` if there is one.

        Parameters
        ----------
        folder : pathlib.Path, optional
            Where checkpoints are written; without it nothing is.

        Yields
        ------
        dict of str to float
            After every step, those before the checkpoint as they were told then: `step`, `rollbacks`, `seconds`, and
            what the kind of training tells.

        Raises
        ------
        TrainingFailed
            If numbers stay infinite or NaN after `max_rollbacks`.
        WeightsError
            If the checkpoint belongs to another training.
        """
        found = load_last_checkpoint(folder) if folder is not None else None
        if folder is not None and found is not None:
            self._history.read(folder, found[1]["told"])
            self._restore(*found)
        yield from list(self._history.rows)
        state, settings = self.state, self.settings
        with torch_threads(settings.threads):
            safe = self._snapshot()
            while state.step < settings.steps:
                started = time.perf_counter()
                metrics = self._train()
                if not all(math.isfinite(value) for value in metrics.values()):
                    safe = self._roll_back(safe, metrics, folder)
                    continue
                state.step += 1
                metrics |= self._checked(metrics)
                seconds = time.perf_counter() - started
                metrics |= {"step": state.step, "rollbacks": state.rollbacks, "seconds": seconds}
                self._history.rows.append(metrics)
                if state.step % settings.checkpoint_every == 0 or state.step == settings.steps:
                    safe = self._snapshot()
                    self._write(safe, folder)
                yield metrics

    @abstractmethod
    def _train(self) -> dict[str, float]:
        """One step; what it tells, NaN included."""

    @abstractmethod
    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must have been made for."""

    @abstractmethod
    def _rates(self) -> str:
        """The learning rates with their names, for people."""

    def _checked(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Further metrics of a step that was taken."""
        return {}

    def _tensors(self) -> dict[str, Tensor]:
        return self.state.tensors()

    def _counters(self) -> dict[str, Any]:
        return self.state.counters()

    def _take_up(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        self.state.restore(tensors, description)

    def _roll_back(self, safe: Snapshot, metrics: dict[str, float], folder: Path | None) -> Snapshot:
        broken = ", ".join(f"`{name}`" for name, value in metrics.items() if not math.isfinite(value))
        rollbacks = self.state.rollbacks + 1
        if rollbacks > self.settings.max_rollbacks:
            raise TrainingFailed(
                f"{broken} at step {self.state.step + 1} is not finite, after {self.state.rollbacks} returns to the "
                f"last checkpoint at halved rates; {self._rates()} may be too high"
            )
        self._restore(*safe)
        self.state.rollbacks = rollbacks
        rate = ROLLBACK_FACTOR**rollbacks
        logger.warning("%s not finite: back to step %d, rates times %g", broken, self.state.step, rate)
        state = self._snapshot()
        self._write(state, folder)
        return state

    def _snapshot(self) -> Snapshot:
        return self._tensors(), self._identity() | self._counters() | {"told": len(self._history.rows)}

    def _write(self, snapshot: Snapshot, folder: Path | None) -> None:
        if folder is not None and self.processes.first:
            folder.mkdir(parents=True, exist_ok=True)
            self._history.write(folder)
            save_checkpoint(folder, snapshot[1]["step"], *snapshot, kept=self.settings.checkpoints_kept)

    def _restore(self, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        identity = self._identity()
        difference = first_difference({name: description.get(name) for name in identity}, identity)
        if difference:
            raise WeightsError(f"the checkpoint belongs to another training: {difference}")
        self._take_up(tensors, description)
        self._history.cut(description["told"])


@contextlib.contextmanager
def torch_threads(n: int | None) -> Iterator[None]:
    """Have torch compute with so many threads; with None as many as it has anyway."""
    before = torch.get_num_threads()
    if n is not None:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
