"""The command line: errors become one line and a documented exit code."""

import sqlite3
import sys

import typer

from searcher.commands import campaigns, generation, potentials, results, stages, structures
from searcher.commands.options import note
from searcher.errors import EnvironmentProblem, SearcherError, StorageError, storage_failed

INTERRUPTED = 130

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for room in (campaigns, results, stages, generation, structures, potentials):
    room.register(app)


def main() -> None:
    """Run a command and end with its documented exit code."""
    try:
        app()
    except SearcherError as error:
        note(str(error))
        sys.exit(error.exit_code)
    except ValueError as error:
        if type(error).__module__.startswith("relax."):
            note(str(error))
            sys.exit(EnvironmentProblem.exit_code)
        raise
    except (OSError, sqlite3.Error) as error:
        if not storage_failed(error):
            raise
        note(f"storage failed ({error}); once that is mended, `searcher run` goes on from what is recorded")
        sys.exit(StorageError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        note("interrupted; the same command goes on from here")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
