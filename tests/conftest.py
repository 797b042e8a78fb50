"""Property tests draw the same examples every time; faults are told, kept and tabled by `fault_table`."""

from fault_table import (  # noqa: F401 - hooks and fixtures
    amount,
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_makereport,
    pytest_sessionfinish,
    tell,
)
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
