"""Tracking servers that tests start on the loopback address: MLflow's own, and PostgreSQL behind it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from campaign_processes import environment

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
UNPRIVILEGED = ("postgres", "nobody")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def mlflow_server(port: int, folder: Path, store: str = "") -> Iterator[subprocess.Popen]:
    """An MLflow server that serves artifacts too; by default with SQLite behind it."""
    folder.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", store or f"sqlite:///{folder}/mlflow.db"]
    words += ["--artifacts-destination", str(folder / "files")]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment(), stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert process.poll() is None, (folder / "server.log").read_text()
                time.sleep(0.5)
        else:
            raise AssertionError("the server did not start")
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def no_postgresql() -> str:
    """Why PostgreSQL cannot be started here; empty if it can."""
    if _program("initdb") is None or _program("postgres") is None:
        return "PostgreSQL is not installed (Debian: `postgresql`)"
    try:
        import psycopg  # noqa: F401 - only to know whether it is there
    except ImportError:
        return "the extra `postgresql` is not installed (psycopg)"
    if os.geteuid() == 0 and (_account() is None or shutil.which("setpriv") is None):
        return "PostgreSQL refuses root, and there is no other account to start it as"
    return ""


@contextmanager
def postgresql() -> Iterator[str]:
    """Address of a database on a PostgreSQL server of its own, started as a user without privileges."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's own folders are closed to other users
    prefix = []
    if os.geteuid() == 0:
        account = _account()
        assert account is not None
        os.chown(folder, account.pw_uid, account.pw_gid)
        prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--"]
    data, port = folder / "data", free_port()
    made = [*prefix, _program("initdb"), "-D", data, "-U", "group", "--auth=trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([str(word) for word in made], cwd=folder, check=True, capture_output=True)
    words = [*prefix, _program("postgres"), "-D", data, "-p", port, "-h", "127.0.0.1", "-k", folder]
    server = subprocess.Popen([str(word) for word in words], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        _await(port, server)
        yield f"postgresql+psycopg://group@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # fast: connections are closed, then it ends
        server.wait(timeout=60)
        shutil.rmtree(folder)


def _await(port: int, server: subprocess.Popen) -> None:
    import psycopg

    for _ in range(120):
        assert server.poll() is None, "postgres ended at once"
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="group", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            time.sleep(0.5)
    raise AssertionError("postgres did not start")


def _program(name: str) -> str | None:
    places = os.pathsep.join([os.environ.get("PATH", ""), *map(str, reversed(DEBIAN))])
    return shutil.which(name, path=places)


def _account() -> pwd.struct_passwd | None:
    there = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next((there[name] for name in UNPRIVILEGED if name in there), None)
