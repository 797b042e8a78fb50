"""The library that stands between a process and its files."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def interposer(tmp_path_factory) -> Path:
    """The shared library that stops a process at its writes, kills it at a chosen one, or has it find the disk full."""
    compiler = shutil.which("cc")
    if compiler is None or platform.system() != "Linux":
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("interposer") / "interposer.so"
    source = Path(__file__).with_name("interposer.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return library
