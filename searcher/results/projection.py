"""MLflow as a projection of the ledger, from which it is brought up to date when it fell behind, was down or was lost.

The only module that uses MLflow.
"""

import argparse
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from relax.lifetime import end_with_parent
from searcher.campaign.storage.candidate import Verdict
from searcher.campaign.storage.iterations import finished_iterations
from searcher.campaign.storage.ledger import Ledger
from searcher.config import COSMETIC, flatten
from searcher.files import replacing, write_text
from searcher.results import plots
from searcher.results.export import write_extxyz
from searcher.results.redaction import redact
from searcher.results.status import arm_names, yield_per_thousand
from searcher.results.terminations import chosen_delta_mu_o, described
from searcher.results.tracking import (
    ENVIRONMENT,
    PROJECTION_LIMIT_S,
    STATUSES,
    URI_VARIABLE,
    check_status,
    default_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_TIMEOUT_S = 100.0
"""longer than a store is locked by a neighbour's migration"""
LOCKED, LOCKED_AGAIN_S = "database is locked", 2.0
LARGEST_BATCH = 1000
LARGEST_ARTIFACT_MIB = 50.0
LONGEST_PARAMETER = 500
PARAMETERS_PER_BATCH = 100
ID_FILE = ".tracking_id"
KIND, CAMPAIGN, ITERATION, COMPLETE = "searcher.kind", "searcher.campaign", "searcher.iteration", "searcher.complete"


def project(folder: Path, ledger: Ledger, uri: str, experiment: str, status: str = "RUNNING") -> str:
    """Bring MLflow up to date with the ledger; repeating it changes nothing.

    The campaign is a parent run, each finished iteration a child run. Runs are found again by the campaign's id, which
    the folder keeps, and metrics carry their run's start as time stamp, so that a repeated row is the same row.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's.
    ledger : Ledger
        Read only will do.
    uri : str
        Of the tracking store or server.
    experiment : str
        Made if it is missing, with artifacts in ``mlartifacts`` beside the campaigns where no server holds them.
    status : {"RUNNING", "FINISHED", "KILLED", "FAILED"}
        Of the campaign.

    Returns
    -------
    str
        Id of the parent run.
    """
    check_status(status)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with FileLock(folder / ".tracking_lock", timeout=LOCK_TIMEOUT_S):
        client, experiment_id = _open(folder, uri, experiment)
        campaign = _campaign_id(folder)
        parent = _campaign_run(client, experiment_id, campaign, ledger)
        finished = finished_iterations(ledger)
        for iteration in finished:
            _project_iteration(client, experiment_id, parent, campaign, folder, ledger, iteration)
        _project_campaign(client, parent, folder, ledger, finished)
        if status == "RUNNING":
            client.update_run(parent, status="RUNNING")
        else:
            client.set_terminated(parent, status=status)
    return parent


def _open(folder: Path, uri: str, experiment: str) -> tuple["MlflowClient", str]:
    """A client and the experiment's id; a new sqlite store is laid out by one process at a time."""
    from mlflow import MlflowClient

    database, artifacts = None, folder.parent / "mlartifacts"
    lock = folder.parent / "mlflow.lock"
    if uri.startswith("sqlite:///"):
        database = Path(uri.removeprefix("sqlite:///"))
        database.parent.mkdir(parents=True, exist_ok=True)
        lock, artifacts = database.with_name(database.name + ".lock"), database.parent / "mlartifacts"
    with FileLock(lock, timeout=LOCK_TIMEOUT_S):
        if database is not None and not database.exists():
            # MLflow cannot go on with a store whose layout was cut short, so it is there whole or not at all
            with replacing(database) as draft:
                draft.unlink(missing_ok=True)
                MlflowClient(tracking_uri=f"sqlite:///{draft}").search_experiments(max_results=1)
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return client, found.experiment_id
        location = None if uri.startswith("http") else artifacts.resolve().as_uri()
        return client, client.create_experiment(experiment, artifact_location=location)


def _campaign_id(folder: Path) -> str:
    """The campaign's id in every store, made with its first projection."""
    path = folder / ID_FILE
    if not path.exists():
        write_text(path, uuid.uuid4().hex + "\n")
    return path.read_text(encoding="utf-8").strip()


def _find_or_create(
    client: "MlflowClient", experiment_id: str, tags: Mapping[str, str], name: str, parent: str | None = None
) -> Any:
    condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    found = client.search_runs([experiment_id], filter_string=condition, max_results=1)
    if found:
        return found[0]
    nested = {} if parent is None else {"mlflow.parentRunId": parent}
    return client.create_run(experiment_id, tags={**tags, **nested}, run_name=name)


def _campaign_run(client: "MlflowClient", experiment_id: str, campaign: str, ledger: Ledger) -> str:
    run = _find_or_create(client, experiment_id, {KIND: "campaign", CAMPAIGN: campaign}, ledger.fact("name"))
    if run.data.tags.get(COMPLETE) is None:
        _log_parameters(client, run.info.run_id, ledger)
        client.set_tag(run.info.run_id, COMPLETE, "parameters")
    return str(run.info.run_id)


def _log_parameters(client: "MlflowClient", run_id: str, ledger: Ledger) -> None:
    """Settings on which results depend; the others may change when a campaign is resumed, and parameters cannot."""
    from mlflow.entities import Param, RunTag

    settings = {
        key: redact(str(value))[:LONGEST_PARAMETER]
        for key, value in flatten(ledger.fact("config", {})).items()
        if not any(key == cosmetic or key.startswith(cosmetic + ".") for cosmetic in COSMETIC)
    }
    items = [Param(key, value) for key, value in settings.items()]
    for start in range(0, len(items), PARAMETERS_PER_BATCH):
        client.log_batch(run_id, params=items[start : start + PARAMETERS_PER_BATCH])
    template = ledger.template
    tags = {
        "searcher.name": ledger.fact("name"),
        "searcher.potential": ledger.fact("potential"),
        "searcher.evaluated_by": ledger.fact("evaluated_by"),
        "searcher.facet": template.get("facet"),
        "searcher.template": template.get("id"),
        "searcher.host": ledger.fact("host"),
        "searcher.seed": ledger.fact("seed"),
        "searcher.threads": ledger.fact("threads"),
        "searcher.data": _known_hash(ledger),
        **{f"searcher.{name}": ledger.fact("provenance", {}).get(name) for name in ("git", "job", "system")},
        **{f"version.{name}": value for name, value in ledger.fact("versions", {}).items()},
    }
    client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items() if value is not None])


def _known_hash(ledger: Ledger) -> str:
    """Changes with the seeds and known structures that the search began with."""
    rows = [f"{c.id} {c.relaxed}" for c in ledger.candidates(verdict=Verdict.REFERENCE)]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _project_iteration(
    client: "MlflowClient",
    experiment_id: str,
    parent: str,
    campaign: str,
    folder: Path,
    ledger: Ledger,
    iteration: int,
) -> None:
    name = f"{ledger.fact('name')}, iteration {iteration:03d}"
    tags = {KIND: "iteration", CAMPAIGN: campaign, ITERATION: str(iteration)}
    run = _find_or_create(client, experiment_id, tags, name, parent)
    if run.data.tags.get(COMPLETE) is not None:
        return
    run_id, started = run.info.run_id, run.info.start_time
    metrics = ledger.metrics(iteration)
    rows = [(name, step, value) for name, points in metrics.items() for step, value in points]
    rows += [(name, 0, value) for name, value in _funnel_metrics(ledger, {iteration}).items()]
    _log_metrics(client, run_id, rows, started)
    client.log_dict(run_id, {name: detail for i, name, detail in ledger.stages() if i == iteration}, "stages.json")
    with _pictures(folder, ledger, iteration, metrics) as drawn:
        _drop_large(drawn, ledger)
        client.log_artifacts(run_id, str(drawn))
    client.set_tag(run_id, COMPLETE, "all")
    client.set_terminated(run_id, status="FINISHED")


@contextmanager
def _pictures(
    folder: Path, ledger: Ledger, iteration: int, metrics: Mapping[str, list[tuple[int, float]]]
) -> Iterator[Path]:
    """A folder with an iteration's pictures and accepted structures."""
    with tempfile.TemporaryDirectory() as name:
        drawn = Path(name)
        if metrics:
            (drawn / "losses.png").write_bytes(plots.losses(metrics))
        for samples in sorted((folder / "iterations" / f"{iteration:03d}").glob("samples-*.npz")):
            (drawn / f"slices{samples.stem.removeprefix('samples')}.png").write_bytes(plots.slices(samples))
        accepted = described(ledger, ledger.candidates(iteration=iteration, verdict=Verdict.ACCEPTED))
        if accepted:
            write_extxyz(drawn / "accepted.extxyz", accepted, chosen_delta_mu_o(ledger))
        yield drawn


def _project_campaign(client: "MlflowClient", run_id: str, folder: Path, ledger: Ledger, finished: list[int]) -> None:
    """Funnels so far, one step per finished iteration, and the campaign's files as they stand."""
    started = client.get_run(run_id).info.start_time
    logged = {m.step for m in client.get_metric_history(run_id, "accepted")}
    for iteration in finished:
        if iteration in logged:
            continue
        totals = _funnel_metrics(ledger, set(range(iteration + 1)))
        # `accepted` last: its step says that the others of the iteration are there
        totals["accepted"] = totals.pop("accepted")
        _log_metrics(client, run_id, [(name, iteration, value) for name, value in totals.items()], started)
    with tempfile.TemporaryDirectory() as name:
        drawn = Path(name)
        settings, report = folder / "campaign.yaml", folder / "report.html"
        if settings.is_file():
            (drawn / settings.name).write_text(redact(settings.read_text(encoding="utf-8")), encoding="utf-8")
        if report.is_file():
            shutil.copyfile(report, drawn / report.name)
        if finished:
            (drawn / "funnels.png").write_bytes(plots.funnels(ledger))
            (drawn / "energy_classes.png").write_bytes(plots.energy_classes(ledger))
            accepted = described(ledger, ledger.candidates(verdict=Verdict.ACCEPTED))
            write_extxyz(drawn / "accepted.extxyz", accepted, chosen_delta_mu_o(ledger))
        _drop_large(drawn, ledger)
        client.log_artifacts(run_id, str(drawn))


def _funnel_metrics(ledger: Ledger, iterations: set[int]) -> dict[str, float]:
    """Counts per arm and gate, force calls and yields of some iterations."""
    found: dict[str, float] = {}
    for arm in arm_names(ledger):
        funnels = [ledger.funnel(arm, iteration) for iteration in sorted(iterations)]
        total = {gate: sum(funnel[gate] for funnel in funnels) for gate in funnels[0]}
        found |= {f"{arm}.{gate}": float(count) for gate, count in total.items()}
        rate = yield_per_thousand(total["accepted"], total["force_calls"])
        if rate is not None:
            found[f"{arm}.accepted_per_1000_calls"] = rate[0]
    found["accepted"] = sum(value for name, value in found.items() if name.endswith(".accepted"))
    found["force_calls"] = sum(value for name, value in found.items() if name.endswith(".force_calls"))
    return found


def _log_metrics(client: "MlflowClient", run_id: str, rows: list[tuple[str, int, float]], timestamp: int) -> None:
    from mlflow.entities import Metric

    metrics = [Metric(name, value, timestamp, step) for name, step, value in rows]
    for start in range(0, len(metrics), LARGEST_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + LARGEST_BATCH])


def _drop_large(drawn: Path, ledger: Ledger) -> None:
    """Leave out files above `keep.artifact_mib`; they stay in the campaign's folder."""
    limit = ledger.fact("config", {}).get("keep", {}).get("artifact_mib", LARGEST_ARTIFACT_MIB) * 2**20
    for path in drawn.iterdir():
        if path.stat().st_size > limit:
            path.unlink()


def _projected(folder: Path, ledger: Ledger, uri: str, experiment: str, status: str) -> bool:
    """Whether a projection went through; False if somebody had locked the store."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    try:
        project(folder, ledger, uri, experiment, status)
    except (MlflowException, OperationalError) as error:
        if LOCKED not in str(error):
            raise
        return False
    return True


def _tell_without_passwords(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(redact(f"{kind.__name__}: {' '.join(str(error).split())}"), file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """``python -m searcher.results.projection FOLDER``: one projection, ended by an alarm if it takes too long."""
    parser = argparse.ArgumentParser(prog="searcher.results.projection", description="bring MLflow up to date")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--uri", default=os.environ.get(URI_VARIABLE, ""))
    parser.add_argument("--experiment", default="surface-searcher")
    parser.add_argument("--status", choices=STATUSES, default="RUNNING")
    parser.add_argument("--limit-s", type=float, default=PROJECTION_LIMIT_S)
    given = parser.parse_args(arguments)
    sys.excepthook = _tell_without_passwords
    end_with_parent()  # a driver that is killed leaves nothing behind
    signal.setitimer(signal.ITIMER_REAL, given.limit_s)
    ledger = Ledger.of_run(given.folder)
    uri = given.uri or default_uri(given.folder.parent)
    while not _projected(given.folder, ledger, uri, given.experiment, given.status):
        time.sleep(LOCKED_AGAIN_S)
    ledger.close()


if __name__ == "__main__":
    main()
