"""Train a generator on structure files, and leave a folder that can be sampled."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms

from generators.fields import with_tuples
from generators.kinds import KINDS
from generators.training.generator_training import GeneratorTraining
from generators.training.processes import ALONE, Processes
from generators.training.resumable import TrainingFailed
from generators.training.view import View
from searcher.errors import InputError, SearchFailed
from searcher.files import write_text
from searcher.generation.data_set import DataSet, data_set
from searcher.generation.settings import GeneratorConfig
from searcher.loading import dump_config

WEIGHTS = "weights.safetensors"
TEMPLATE, CONFIG, METRICS, CHECKPOINTS = "template.json", "generator.yaml", "metrics.jsonl", "checkpoints"
WRITTEN_EVERY = 10


def view_of(config: GeneratorConfig) -> View:
    """How the configured data are seen."""
    data = config.data
    return View(data.view, axis=data.slice_axis, planes=data.planes, augmentation=data.augmentation)


def settings_of(config: GeneratorConfig, data: DataSet) -> tuple[Any, Any]:
    """Settings of networks and training, as the kind of generator has them.

    Raises
    ------
    InputError
        For an unknown or unfit setting.
    """
    kind = KINDS[config.generator]
    known = {"network": kind.network.__dataclass_fields__, "training": kind.training.__dataclass_fields__}
    for section, fields in known.items():
        for key in getattr(config, section):
            if key not in fields or key == "conditions":
                raise InputError(f"`{section}.{key}` is not a setting; known here: {', '.join(sorted(fields))}")
    try:
        networks = kind.network(conditions=data.conditions, **with_tuples(config.network))
        return networks, kind.training(**with_tuples(config.training))
    except (TypeError, ValueError) as error:
        raise InputError(f"`network` or `training`: {error}") from None


def train_on_files(
    config: GeneratorConfig,
    named: Sequence[tuple[str, Atoms]],
    out: Path,
    follow: Callable[[Mapping[str, float]], None] = lambda metrics: None,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Train, or go on with a training whose checkpoints are in `out`.

    Parameters
    ----------
    config : GeneratorConfig
    named : sequence of (name, ase.Atoms)
    out : pathlib.Path
        Gets weights, the resolved configuration, the template of a window, metrics and checkpoints.
    follow : callable
        Gets the metrics of every step.
    processes : Processes

    Returns
    -------
    dict
        What `--json` prints: structures, steps, last metrics, findings.

    Raises
    ------
    InputError
        If data or settings do not fit.
    SearchFailed
        If numbers stop being finite.
    """
    data = data_set(named, config.data)
    networks, training = settings_of(config, data)
    try:
        trainer: GeneratorTraining[Any, Any] = KINDS[config.generator].trainer(
            data.template,
            data.spec,
            networks,
            training,
            data.records,
            torch.Generator(training.device).manual_seed(config.seed),
            view=view_of(config),
            processes=processes,
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    out.mkdir(parents=True, exist_ok=True)
    if processes.first:
        write_text(out / CONFIG, dump_config(config))
        if data.template is not None:
            write_text(out / TEMPLATE, json.dumps(data.template.as_dict()) + "\n")
    rows = _trained(trainer, out, follow)
    if processes.first:
        trainer.save(out / WEIGHTS)
        write_text(out / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
    return {
        "structures": len(data.records),
        "held_out": len(data.holdout),
        "conditions": [spec.name for spec in data.conditions],
        "templates": list(data.names),
        "step": trainer.state.step,
        "last": rows[-1] if rows else {},
        "findings": [finding.as_dict() for finding in trainer.findings],
        "weights": str(out / WEIGHTS),
    }


def _trained(
    trainer: GeneratorTraining[Any, Any], out: Path, follow: Callable[[Mapping[str, float]], None]
) -> list[dict[str, float]]:
    """Metrics of every tenth step, of checks, and of the last."""
    rows: list[dict[str, float]] = []
    try:
        for metrics in trainer.run(out / CHECKPOINTS):
            follow(metrics)
            last = metrics["step"] == trainer.settings.steps
            if metrics["step"] % WRITTEN_EVERY == 0 or "health_findings" in metrics or last:
                while rows and rows[-1]["step"] >= metrics["step"]:  # before numbers that were not finite
                    rows.pop()
                rows.append(dict(metrics))
            if metrics["step"] % trainer.settings.checkpoint_every == 0 and trainer.processes.first:
                write_text(out / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
    except TrainingFailed as error:
        raise SearchFailed(str(error)) from error
    return rows


def with_steps(config: GeneratorConfig, steps: int | None) -> GeneratorConfig:
    """The same with another number of training steps."""
    return config if steps is None else config.model_copy(update={"training": {**config.training, "steps": steps}})
