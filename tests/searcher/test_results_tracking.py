import logging
import os
import socket
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from results_campaign import build_campaign

from searcher.results.projection import project
from searcher.results.redaction import redact
from searcher.results.tracking import Tracker, default_uri

EXPERIMENT = "surface-searcher"


@pytest.fixture(scope="module")
def projected(tmp_path_factory):
    """A campaign of two iterations, projected while it ran and again, twice, when it had ended."""
    folder = tmp_path_factory.mktemp("runs") / "invented"
    ledger = build_campaign(folder)
    (folder / "campaign.yaml").write_text("tracking:\n  uri: postgresql://me:hunter2@host/db\n")
    uri = default_uri(folder.parent)
    ids = [project(folder, ledger, uri, EXPERIMENT, status) for status in ("RUNNING", "FINISHED", "FINISHED")]
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    return folder, ledger, client, ids, runs


def children(runs):
    found = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    return sorted(found, key=lambda run: int(run.data.tags["searcher.iteration"]))


def test_projecting_again_adds_no_run(projected):
    *_, ids, runs = projected
    assert len(set(ids)) == 1
    assert len(runs) == 3
    assert [run.data.tags["mlflow.parentRunId"] for run in children(runs)] == ids[:2]


def test_metrics_equal_the_ledger_and_are_not_doubled(projected):
    _, ledger, client, _, runs = projected
    for iteration, run in enumerate(children(runs)):
        for name, points in ledger.metrics(iteration).items():
            history = client.get_metric_history(run.info.run_id, name)
            assert [(metric.step, metric.value) for metric in history] == points
        for gate, count in ledger.funnel("gan", iteration).items():
            assert run.data.metrics[f"gan.{gate}"] == count


def test_the_campaign_adds_up_its_iterations(projected):
    _, ledger, client, ids, _ = projected
    totals = [metric.value for metric in client.get_metric_history(ids[0], "random.accepted")]
    assert totals == [ledger.funnel("random", 0)["accepted"], ledger.funnel("random")["accepted"]]


def test_statuses_are_the_ones_given(projected):
    _, _, client, ids, runs = projected
    assert client.get_run(ids[0]).info.status == "FINISHED"
    assert {run.info.status for run in children(runs)} == {"FINISHED"}


def test_artifacts_lie_beside_the_runs_without_passwords(projected):
    folder, _, client, ids, runs = projected
    assert {"campaign.yaml", "funnels.png", "accepted.extxyz"} <= {f.path for f in client.list_artifacts(ids[0])}
    expected = {"losses.png", "slices-gan.png", "accepted.extxyz", "stages.json"}
    assert expected <= {f.path for f in client.list_artifacts(children(runs)[0].info.run_id)}
    stored = folder.parent / "mlartifacts" / ids[0] / "artifacts" / "campaign.yaml"
    assert "hunter2" not in stored.read_text()
    assert "me:***@host" in stored.read_text()


def test_artifacts_above_the_configured_size_stay_at_home(tmp_path):
    folder = tmp_path / "runs" / "invented"
    ledger = build_campaign(folder, iterations=1, per_arm=2)
    config = ledger.fact("config")
    config["keep"]["artifact_mib"] = 1e-3
    ledger.set_fact("config", config)
    uri = default_uri(folder.parent)
    client, parent = MlflowClient(uri), project(folder, ledger, uri, EXPERIMENT)
    assert {f.path for f in client.list_artifacts(parent)} & {"campaign.yaml", "funnels.png"} == {"campaign.yaml"}


def test_settings_and_provenance_are_recorded(projected):
    _, ledger, client, ids, _ = projected
    run = client.get_run(ids[0])
    assert run.data.params["surface.facet"] == "110"
    assert "budget.iterations" not in run.data.params, "it may change on resuming, a parameter cannot"
    assert run.data.tags["searcher.potential"] == ledger.fact("potential")
    assert run.data.tags["version.torch"] == "0.0.1"


@pytest.mark.slow
def test_a_lost_store_is_rebuilt_by_the_next_projection(projected, tmp_path):
    folder, ledger, *_ = projected
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    parent = project(folder, ledger, uri, EXPERIMENT, "KILLED")
    client = MlflowClient(uri)
    assert client.get_run(parent).info.status == "KILLED"
    assert len(client.search_runs([client.get_run(parent).info.experiment_id])) == 3


@pytest.fixture
def silent_server():
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_silent_server_delays_within_bounds_and_raises_nothing(tmp_path, silent_server, caplog):
    folder = tmp_path / "campaign"
    build_campaign(folder, iterations=1, per_arm=2).close()
    uri = f"http://me:hunter2@127.0.0.1:{silent_server}"
    tracker = Tracker(folder, uri, EXPERIMENT, limit_s=20.0, wait_s=2.0)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        tracker.update("RUNNING")
        tracker.update("FINISHED")
    # two seconds by promise; the rest is room for starting and killing processes on a loaded machine
    assert time.monotonic() - began < 20
    assert "took longer than 2 s" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_failing_projection_is_a_warning(tmp_path, caplog):
    folder = tmp_path / "campaign"
    folder.mkdir()
    tracker = Tracker(folder, "sqlite:////dev/null/x.db", EXPERIMENT, wait_s=60.0)
    with caplog.at_level(logging.WARNING):
        tracker.update("FAILED")
    assert "holds no campaign" in caplog.text


def test_a_disabled_tracker_does_nothing(tmp_path):
    Tracker(tmp_path / "nowhere", "", EXPERIMENT, enabled=False).update("FINISHED")
    assert not list(tmp_path.iterdir())


def test_an_unknown_status_is_refused(tmp_path):
    with pytest.raises(ValueError, match="RUNNING"):
        Tracker(tmp_path, "", EXPERIMENT).update("DONE")


@pytest.mark.fault(24, "passwords in addresses", "redacted")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:hunter2@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("cannot reach http://a:p@ss:w@rd@host/x now", "cannot reach http://a:***@host/x now"),
        ("https://host/x?user=a&password=hunter2&b=1", "https://host/x?user=a&password=***&b=1"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("http://host:5000/api", "http://host:5000/api"),
    ],
)
def test_passwords_are_redacted(text, expected):
    assert redact(text) == expected


def test_default_store_lies_beside_the_campaigns(tmp_path):
    assert default_uri(tmp_path) == f"sqlite:///{tmp_path}{os.sep}mlflow.db"
    assert Path(default_uri(tmp_path).removeprefix("sqlite:///")).is_absolute()
