"""Keeps MLflow up to date while a campaign runs, in a process of its own.

Neither a slow server nor a fault in a store can delay or end the search.
"""

import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from searcher.results.redaction import redact

log = logging.getLogger(__name__)

STATUSES = ("RUNNING", "FINISHED", "KILLED", "FAILED")
URI_VARIABLE = "MLFLOW_TRACKING_URI"
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "OMP_NUM_THREADS": "1",
}
PROJECTION_LIMIT_S = 120.0
FINAL_WAIT_S = 90.0
"""longer than a store is locked by a neighbour's migration or backup"""
SYNCHRONISING_S = 3600.0


def default_uri(runs: Path) -> str:
    """The store that is used where none is configured: ``mlflow.db`` in the folder of all runs."""
    return f"sqlite:///{runs.resolve() / 'mlflow.db'}"


class Tracker:
    """Keeps MLflow up to date while a campaign runs; nothing that happens here reaches the campaign.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's.
    uri : str
        Empty for `default_uri` of the folder's parent.
    experiment : str
    enabled : bool
    limit_s : float
        Longest time one projection may take beside the running search.
    wait_s : float
        Longest wait in `update` with a final status, unless the caller says another.
    """

    def __init__(
        self,
        folder: Path,
        uri: str,
        experiment: str,
        enabled: bool = True,
        limit_s: float = PROJECTION_LIMIT_S,
        wait_s: float = FINAL_WAIT_S,
    ) -> None:
        self._folder = folder
        self._uri = uri or default_uri(folder.parent)
        self._experiment = experiment
        self._enabled = enabled
        self._limit_s = limit_s
        self._wait_s = wait_s
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: IO[bytes] | None = None
        self._code = 0

    def update(self, status: str, wait_s: float | None = None) -> None:
        """Project the ledger as it stands.

        With ``RUNNING`` it returns at once; if the former projection still runs, this one is left out and the next one
        brings its share. With a final status it waits, at most `wait_s` seconds.
        """
        check_status(status)
        if not self._enabled:
            return
        if status == "RUNNING":
            if self._ended(0.0):
                self._start(status)
            return
        wait_s = max(0.0, self._wait_s if wait_s is None else min(wait_s, self._wait_s))
        deadline = time.monotonic() + wait_s
        if not self._ended(wait_s / 3):
            self.close()
        self._start(status)
        if not self._ended(max(0.0, deadline - time.monotonic())):
            log.warning(
                "tracking: `%s` took longer than %g s; `searcher sync-mlflow` brings it up to date",
                self._where,
                wait_s,
            )
            self.close()

    def project(self, status: str) -> bool:
        """Project the ledger as it stands and wait for the end of it; whether it went well."""
        check_status(status)
        self._limit_s = SYNCHRONISING_S
        self._start(status)
        return self._process is not None and self._ended(SYNCHRONISING_S) and self._code == 0

    def close(self) -> None:
        """Stop a projection that still runs; the next one of this campaign makes up for it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._told()

    @property
    def _where(self) -> str:
        return redact(self._uri)

    def _start(self, status: str) -> None:
        command = [sys.executable, "-m", "searcher.results.projection", str(self._folder), "--status", status]
        command += ["--experiment", self._experiment, "--limit-s", str(self._limit_s)]
        try:
            self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed when its process has ended
            # the address goes through the environment, since a command line with a password is there for all to see
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **ENVIRONMENT, URI_VARIABLE: self._uri},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._messages,
                start_new_session=True,
            )
        except OSError as error:
            self._told()
            log.warning("tracking: no process could be started (%s); the search goes on", error)

    def _ended(self, wait_s: float) -> bool:
        """Whether no projection runs any more; a failed one is told once."""
        if self._process is None:
            return True
        try:
            code = self._code = self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return False
        message = self._told()
        if code != 0:
            log.warning("tracking in `%s` failed (%s): %s; the search goes on", self._where, code, message)
        return True

    def _told(self) -> str:
        """The last line that the ended process wrote, without passwords."""
        self._process = None
        if self._messages is None:
            return ""
        self._messages.seek(0)
        lines = redact(self._messages.read().decode(errors="replace")).strip().splitlines()
        self._messages.close()
        self._messages = None
        return lines[-1] if lines else "no message"


def check_status(status: str) -> None:
    """Refuse what is no status of a run."""
    if status not in STATUSES:
        raise ValueError(f"`status` is {status!r}; allowed are {', '.join(STATUSES)}")
