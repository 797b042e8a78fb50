"""A fault in the report, which is only a view, is told; the campaign goes on."""

import errno
import logging
import sqlite3
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from searcher.campaign import driver
from searcher.campaign.driver import drive, report_or_tell
from searcher.campaign.stopping import StopRequest
from searcher.campaign.storage import verification
from searcher.campaign.storage.iterations import finished_iterations
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import SearchFailed, StoppedOnRequest, StorageError
from searcher.loading import load_config

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


def raising(error):
    def write_report(*arguments):
        raise error

    return write_report


def driven(runs):
    """What a campaign of one iteration says, its folder and the digest that it ends with."""
    config, console = load_config(TINY, [f"runs={runs}", "budget.iterations=1"]), Console(file=StringIO(), width=80)
    drive(config, StopRequest(), console)
    ledger = Ledger(runs / "tiny" / "campaign.db", read_only=True)
    ended, digest = (finished_iterations(ledger), ledger.fact("ended")), verification.digest(ledger)
    ledger.close()
    assert ended == ([0], "FINISHED")
    return console.file.getvalue(), runs / "tiny", digest


@pytest.mark.fault(27, "an exception while the report is written", "told each time, equal digest")
def test_a_report_that_raises_ends_no_campaign(tmp_path, monkeypatch, caplog):
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(driver, "write_report", raising(ValueError("nothing\n[to] draw")))
        told, folder, digest = driven(tmp_path / "faulty")
    assert told.count("ValueError: nothing [to] draw") == 3, "after preparation, the iteration and at the end"
    assert f"`searcher report {folder}` tries again" in told and "report: " not in told
    assert [record.getMessage() in told for record in caplog.records] == [True] * 3
    assert not (folder / "report.html").exists()

    again, *_ = driven(tmp_path / "faulty")
    assert f"report: {folder / 'report.html'}" in again.replace("\n", "") and "warning" not in again
    assert (folder / "report.html").is_file()
    assert digest == driven(tmp_path / "sound")[2]


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (sqlite3.OperationalError("disk I/O error"), True),
        (StoppedOnRequest("stopped by SIGTERM"), True),
        (KeyboardInterrupt(), True),
        (IsADirectoryError(errno.EISDIR, "Is a directory"), False),
        (StorageError("structure `0123` does not match its checksum: it is damaged"), False),
        (SearchFailed("SOAP vectors could not be computed"), False),
        (MemoryError(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_only_storage_and_the_users_own_stop_end_it(tmp_path, monkeypatch, error, ends):
    monkeypatch.setattr(driver, "write_report", raising(error))
    campaign, console = SimpleNamespace(folder=tmp_path, ledger=None), Console(file=StringIO())
    if ends:
        with pytest.raises(type(error)):
            report_or_tell(campaign, console)
    else:
        assert not report_or_tell(campaign, console)
        assert type(error).__name__ in console.file.getvalue()
