"""Exceptions that end a command, each with its documented exit code."""

import errno
import sqlite3

STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


class SearcherError(Exception):
    """Something that a user can mend; shown as one line."""

    exit_code = 1


class InputError(SearcherError, ValueError):
    """A configuration, a file or an argument that cannot be used."""

    exit_code = 2


class LockedError(SearcherError):
    """Another driver works on the campaign."""

    exit_code = 3


class EnvironmentProblem(SearcherError):
    """A potential or a part of the installation that cannot be used."""

    exit_code = 4


class StorageError(SearcherError):
    """A file or a ledger that is damaged or cannot be written."""

    exit_code = 5


class SearchFailed(SearcherError):
    """The search or a training could not go on."""

    exit_code = 6


class StoppedOnRequest(SearcherError):
    """A signal or the wall time asked the campaign to stop; it can be resumed."""

    exit_code = 75


def storage_failed(error: BaseException) -> bool:
    """Whether a disk that is full, read-only or broken is behind an exception, or the ledger itself."""
    return isinstance(error, sqlite3.Error) or (isinstance(error, OSError) and error.errno in STORAGE_ERRORS)
