"""`searcher doctor`: a healthy machine and campaign are told so, a damaged one is named."""

import pytest
from results_campaign import build_campaign

from searcher import doctor
from searcher.errors import EnvironmentProblem


@pytest.fixture
def no_worker(monkeypatch):
    monkeypatch.setattr(doctor, "_potential_works", lambda: "not tried")


def test_a_whole_campaign_is_fine_and_a_lost_file_is_named(tmp_path, monkeypatch, no_worker):
    monkeypatch.chdir(tmp_path)
    build_campaign(tmp_path / "campaign", iterations=1, per_arm=2).close()
    found = {finding.what: finding for finding in doctor.examine(tmp_path / "campaign")}
    assert found["campaign"].fine and found["torch"].fine and found["locks and files"].fine
    # the invented campaign names other versions than any machine has
    assert not found["versions"].fine
    (tmp_path / "campaign" / "campaign.db").write_bytes(b"")
    found = {finding.what: finding for finding in doctor.examine(tmp_path / "campaign")}
    assert not found["campaign"].fine and "campaign.db" in found["campaign"].detail


def test_a_potential_that_gives_no_answer_is_a_finding(monkeypatch, tmp_path):
    def broken():
        raise EnvironmentProblem("worker_died: the worker ended with code 1")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_potential_works", broken)
    (finding,) = [f for f in doctor.examine() if f.what == "shipped potential in a worker"]
    assert not finding.fine and "worker_died" in finding.detail


@pytest.mark.slow
def test_the_shipped_potential_answers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert all(finding.fine for finding in doctor.examine())
