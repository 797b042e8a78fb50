"""Fault 25: a group shares one tracking server, with SQLite or PostgreSQL behind it, and its users do not meet."""

import os
import signal
import time

import pytest
from campaign_processes import call, digest, finish, start, wait_for
from mlflow import MlflowClient
from tracking_servers import free_port, mlflow_server, no_postgresql, postgresql

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
EXPERIMENT = "surface-searcher"


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    runs = tmp_path_factory.mktemp("whole")
    finish(runs)
    return digest(runs)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def store(request):
    """(name, address) of a database for a server; an empty address for a file of its own."""
    if request.param == "SQLite":
        yield request.param, ""
        return
    if no_postgresql():
        pytest.skip(no_postgresql())
    with postgresql() as address:
        yield request.param, address


def kill(driver):
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()


def test_two_users_of_one_server_do_not_meet(store, oracle, tmp_path, tell):
    name, address = store
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    users = [(tmp_path / user, "tracking.enabled=true", f"tracking.uri={uri}") for user in ("one", "two")]
    with mlflow_server(port, tmp_path / "server", address):
        for reached in ("relaxing 3 seeds", "iteration 0"):
            drivers = [start(*user) for user in users]
            for driver in drivers:
                wait_for(driver, reached)
            time.sleep(1.0)
            for driver in drivers:
                kill(driver)
        for user in users:
            finish(*user)
        for user in ("one", "two"):
            assert digest(tmp_path / user) == oracle
            assert call("sync-mlflow", tmp_path / user / "tiny")[0] == 0
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        runs = client.search_runs([experiment.experiment_id])
        parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        files = {run.info.run_id: {entry.path for entry in client.list_artifacts(run.info.run_id)} for run in parents}
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    assert [run.info.status for run in parents] == ["FINISHED"] * 2
    for parent in parents:
        mine = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        assert sorted(run.data.tags["searcher.iteration"] for run in mine) == ["0", "1"]
        assert {run.data.tags["searcher.campaign"] for run in mine} == {parent.data.tags["searcher.campaign"]}
        assert {"report.html", "campaign.yaml", "accepted.extxyz"} <= files[parent.info.run_id]
    assert not list(tmp_path.glob("*/mlartifacts")), "the server holds all artifacts"
    tell(25, f"two users on one server with {name} behind it, both killed twice", 4, "no cross-talk, equal digests")
