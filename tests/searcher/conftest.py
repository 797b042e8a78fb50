"""What the tests of commands share."""

import sys

import pytest

from searcher.cli import main


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run ``searcher WORDS…`` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["searcher", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run
