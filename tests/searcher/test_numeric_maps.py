"""A numeric map gives the same answers in the same order wherever it runs."""

import math

import pytest

from searcher.errors import EnvironmentProblem
from searcher.numeric_maps import mapped

NUMBERS = [4.0, 9.0, 2.0]
ROOTS = [2.0, 3.0, math.sqrt(2.0)]


def test_answers_come_in_the_order_of_the_items():
    assert mapped(math.sqrt, NUMBERS) == ROOTS
    assert mapped(math.sqrt, []) == []


def test_an_error_of_the_function_is_the_callers():
    with pytest.raises(ValueError, match="math domain"):
        mapped(math.sqrt, [1.0, -1.0])


@pytest.mark.slow
def test_processes_give_the_same():
    assert mapped(math.sqrt, NUMBERS, workers=2) == ROOTS


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same():
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert mapped(math.sqrt, NUMBERS, scheduler=cluster.scheduler_address) == ROOTS


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    cluster = pytest.importorskip("searcher.campaign.workers.cluster", reason="the extra `cluster` is not installed")
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with pytest.raises(EnvironmentProblem, match=r"127\.0\.0\.1:9"):
        mapped(math.sqrt, NUMBERS, scheduler="tcp://127.0.0.1:9")
