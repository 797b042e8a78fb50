"""Faults 20 and 21: a tracking server that is down or broken costs a bounded delay and nothing else."""

import http.server
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from campaign_processes import ROOT, call, digest, environment, finish, start
from mlflow import MlflowClient
from tracking_servers import free_port, mlflow_server

from searcher.campaign.storage.ledger import Ledger
from searcher.results.tracking import FINAL_WAIT_S

sys.path.insert(0, str(Path(__file__).parents[1] / "searcher"))
from results_campaign import build_campaign

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
EXPERIMENT = "surface-searcher"


class Broken(http.server.BaseHTTPRequestHandler):
    """Answers everything with 500."""

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PATCH = do_PUT = do_GET

    def log_message(self, *args):
        """Nothing."""


@contextmanager
def of_no_use(kind):
    """Port of a server that does not answer, hangs, or answers 500; free again afterwards."""
    if kind == "down":
        yield free_port()
    elif kind == "hanging":
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server.getsockname()[1]
    else:
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server.server_address[1]
            server.shutdown()


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """Digest of a campaign that nobody tracks, and how long it took in seconds."""
    runs = tmp_path_factory.mktemp("whole")
    began = time.monotonic()
    finish(runs)
    return digest(runs), time.monotonic() - began


def complete(client, ledger):
    """Whether the store holds the campaign and each of its finished iterations once, metrics included."""
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    iterations = sorted(int(run.data.tags["searcher.iteration"]) for run in children)
    for run in children:
        for name, points in ledger.metrics(int(run.data.tags["searcher.iteration"])).items():
            history = client.get_metric_history(run.info.run_id, name)
            assert [(m.step, m.value) for m in history] == points
    return parent.info.status, iterations


@pytest.mark.parametrize("kind", ["down", "hanging", "500s"])
def test_the_search_goes_on_and_the_backlog_is_complete_once_the_server_is_back(kind, oracle, tmp_path, tell):
    expected, alone_s = oracle
    with of_no_use(kind) as port:
        uri = f"http://127.0.0.1:{port}"
        began = time.monotonic()
        output = finish(tmp_path, "tracking.enabled=true", f"tracking.uri={uri}")
        delay = time.monotonic() - began - alone_s
        assert "finished, 2 of 2" in output and digest(tmp_path) == expected
        # nothing but the last projection is waited for, and that only so long; the rest is room for a loaded machine
        assert delay < FINAL_WAIT_S + alone_s
        code, _, complaint = call("sync-mlflow", tmp_path / "tiny")
        assert code == 4 and "nothing is lost" in complaint
    with mlflow_server(port, tmp_path / "server"):
        for _ in range(2):  # a repetition doubles nothing
            code, _, complaint = call("sync-mlflow", tmp_path / "tiny")
            assert code == 0, complaint
        ledger = Ledger(tmp_path / "tiny" / "campaign.db", read_only=True)
        assert complete(MlflowClient(uri), ledger) == ("FINISHED", [0, 1])
    tell(20, f"MLflow {kind}", 1, f"campaign done {max(delay, 0):.0f} s later, equal digest, backlog complete")


def test_three_first_launches_on_one_new_store_all_succeed(tmp_path, tell):
    drivers = [start(tmp_path, "tracking.enabled=true", f"name=tiny{i}") for i in range(3)]
    outputs = [driver.communicate(timeout=600)[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0, 0], outputs
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert len(runs) == 9 and {run.info.status for run in runs} == {"FINISHED"}, outputs
    tell(21, "three first launches on one new store", 3, "all finished and complete in the store")


DIES = """
import os, signal, sys
from alembic.operations import Operations
real = Operations.add_column

def dies(self, *args, **kwargs):
    real(self, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

Operations.add_column = dies
from searcher.results.projection import main
main([sys.argv[1]])
"""


def invented(folder):
    """A finished campaign of one iteration that nobody has tracked yet."""
    build_campaign(folder, iterations=1, per_arm=2).close()
    (folder / "campaign.yaml").write_text("name: invented\npotential: {gap: ruo2}\n")
    return folder


def test_a_projection_killed_while_it_lays_out_a_store_leaves_no_broken_one(tmp_path, tell):
    folder = invented(tmp_path / "invented")
    line = [sys.executable, "-c", DIES, str(folder)]
    killed = subprocess.run(line, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    code, _, complaint = call("sync-mlflow", folder)
    assert code == 0, complaint
    ledger = Ledger(folder / "campaign.db", read_only=True)
    assert complete(MlflowClient(f"sqlite:///{tmp_path}/mlflow.db"), ledger)[1] == [0]
    tell(21, "killed while it lays out a new store", 1, "laid out again, then complete")


def test_a_locked_store_is_waited_for(tmp_path, amount, tell):
    folder = invented(tmp_path / "invented")
    assert call("sync-mlflow", folder)[0] == 0
    store = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None, check_same_thread=False)
    store.execute("BEGIN EXCLUSIVE")
    seconds = amount(15, 60)
    threading.Timer(seconds, lambda: store.execute("ROLLBACK")).start()
    began = time.monotonic()
    code, _, complaint = call("sync-mlflow", folder)
    assert code == 0, complaint
    assert time.monotonic() - began > seconds - 2
    tell(21, f"store locked for {seconds} s", 1, "waited for, then complete")


def test_a_driver_searches_on_while_the_store_is_locked(oracle, tmp_path, amount, tell):
    MlflowClient(
        f"sqlite:///{tmp_path}/mlflow.db"
    ).search_experiments()  # a store as there is from the second campaign on
    store = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    store.execute("BEGIN EXCLUSIVE")
    began, seconds = time.monotonic(), amount(5, 60)
    driver = start(tmp_path, "tracking.enabled=true")
    while not ended(tmp_path / "tiny"):  # the search reaches its end although nothing can be written there
        assert driver.poll() is None and time.monotonic() - began < 600, driver.communicate()
        time.sleep(0.2)
    searched = time.monotonic() - began
    time.sleep(max(1.0, seconds - searched))
    assert driver.poll() is None, "it waits for the store"
    store.execute("ROLLBACK")
    store.close()
    output, _ = driver.communicate(timeout=600)
    assert driver.returncode == 0 and "finished, 2 of 2" in output, output
    assert digest(tmp_path) == oracle[0]
    if "took longer" in output:  # a machine so loaded that the last projection did not get through within its time
        assert call("sync-mlflow", tmp_path / "tiny")[0] == 0
    ledger = Ledger(tmp_path / "tiny" / "campaign.db", read_only=True)
    assert complete(MlflowClient(f"sqlite:///{tmp_path}/mlflow.db"), ledger) == ("FINISHED", [0, 1]), output
    result = f"search of {searched:.0f} s done meanwhile, equal digest, then complete"
    tell(21, f"store locked for {max(seconds, searched):.0f} s while a driver runs", 1, result)


def ended(folder):
    """Whether the ledger of a running campaign says that its search came to its end."""
    if not (folder / "campaign.db").is_file():
        return False
    ledger = Ledger(folder / "campaign.db", read_only=True)
    try:
        return ledger.fact("ended") == "FINISHED"
    finally:
        ledger.close()
