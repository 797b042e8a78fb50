"""An iteration's training as a job of its own, on another machine than the driver's.

The driver submits the job with the command of `training.submit`, waits for that command, and submits it again as long
as each job gets further than the one before. The job reads the campaign, trains in the iteration's folder, and leaves
weights, checkpoints and `RESULT` there; only the driver writes to the ledger.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from searcher.campaign.campaign import Campaign
from searcher.campaign.stopping import stopped
from searcher.campaign.storage.verification import file_hash
from searcher.errors import SearchFailed
from searcher.files import write_text

RESULT = "training.json"
LOCK = ".training_lock"
CHECKPOINTS = "checkpoint-*.json"
POLL_S = 1.0
ASK_TO_END_S = 10.0

Metric = tuple[str, int, float]


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves for the ledger: metrics as (name, step, value), and what its checks found."""

    metrics: list[Metric]
    findings: list[dict[str, Any]]


def training_folder(folder: Path, iteration: int, arm: str) -> Path:
    """Where an arm's training of an iteration keeps its files."""
    return folder / "iterations" / f"{iteration:03d}" / f"training-{arm}"


def submitted(campaign: Campaign, iteration: int, arm: str, weights: Path) -> TrainingResult:
    """Have a job train, and wait for it.

    Parameters
    ----------
    weights : pathlib.Path
        What it will leave.

    Raises
    ------
    SearchFailed
        If a job ends without weights and no further than the one before.
    StoppedOnRequest
        If asked for while waiting; the job goes on by itself, and the next driver finds what it did.
    """
    folder = weights.parent
    folder.mkdir(parents=True, exist_ok=True)
    command = [*(campaign.config.training.submit or ()), str(campaign.folder.resolve()), str(iteration), arm]
    while (result := finished(folder, weights)) is None:
        before = _checkpoints(folder)
        code = _ended(command, campaign)
        if finished(folder, weights) is None and _checkpoints(folder) == before:
            raise SearchFailed(
                f"`training.submit`: the job of arm `{arm}` in iteration {iteration} ended with code {code}, left no "
                f"weights in `{folder}` and got no further than the one before; its own output says why"
            )
    return result


def finished(folder: Path, weights: Path) -> TrainingResult | None:
    """What a job left, or None if it has not ended or its weights are not those it wrote."""
    path = folder / RESULT
    if not path.is_file() or not weights.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["sha256"] != file_hash(weights):
        return None
    return TrainingResult([(str(n), int(s), float(v)) for n, s, v in record["metrics"]], record["findings"])


def leave(folder: Path, metrics: Sequence[Metric], weights: Path, findings: Sequence[dict[str, Any]]) -> None:
    """Write what the driver reads."""
    latest = {(name, step): value for name, step, value in metrics}
    record = {
        "sha256": file_hash(weights),
        "metrics": [[name, step, value] for (name, step), value in latest.items()],
        "findings": list(findings),
    }
    write_text(folder / RESULT, json.dumps(record) + "\n")


def alone_in(folder: Path) -> FileLock:
    """A lock for the time of a job: one that a stopped driver left behind may still train here."""
    return FileLock(folder / LOCK)


def _checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(CHECKPOINTS))


def _ended(command: Sequence[str], campaign: Campaign) -> int:
    """Exit code of a command, which is asked to end if the campaign is."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise SearchFailed(f"`training.submit`: {command[0]!r} cannot be run ({error.strerror})") from None
    try:
        while process.poll() is None:
            if campaign.stop.wait(POLL_S):
                raise stopped(campaign.stop)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(ASK_TO_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return process.returncode
