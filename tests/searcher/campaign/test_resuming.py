"""What may change before a campaign goes on, who may work on it, and how a new one starts from its archive."""

import fcntl
import json
import platform
import subprocess
import sys
from pathlib import Path
from threading import Event, Timer

import pytest
from rich.console import Console

from searcher.campaign import resuming
from searcher.campaign.campaign import open_campaign
from searcher.campaign.loop import run_campaign
from searcher.campaign.storage import verification
from searcher.campaign.storage.candidate import Gate
from searcher.campaign.storage.locking import HOLDER, LOCK, holder, unlock
from searcher.campaign.storage.retention import disk_use
from searcher.cli import main
from searcher.errors import EnvironmentProblem, InputError, LockedError, StorageError
from searcher.loading import load_config

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"
ELSEWHERE = json.dumps({"pid": 1234, "host": "some-other-host"})


def tiny(runs, *overrides):
    return load_config(TINY, [f"runs={runs}", *overrides])


def run(config, **how):
    campaign = open_campaign(config, Event(), **how)
    try:
        run_campaign(campaign, Console(quiet=True), lambda *_: None)
        assert verification.damage(campaign.folder, campaign.ledger) == []
        return verification.digest(campaign.ledger)
    finally:
        campaign.close()


def reading(config):
    return open_campaign(config, Event()).ledger


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A finished campaign of one iteration."""
    config = tiny(tmp_path_factory.mktemp("runs"), "budget.iterations=1")
    run(config)
    return config


@pytest.mark.fault(23, "a setting or the thread count changed", "refused with the difference")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("seed=3", "`seed` was 2, is 3"),
        ("relaxation.fmax=0.5", "`relaxation.fmax` was 1.0, is 0.5"),
        ("execution.training_threads=2", "`execution.training_threads` was 1, is 2"),
        ("grid.sigma=0.45", "`grid.sigma` was 0.5, is 0.45"),
    ],
)
def test_a_setting_that_changes_results_is_refused_with_the_difference(short, change, says):
    with pytest.raises(InputError, match=says) as refusal:
        open_campaign(tiny(short.runs, "budget.iterations=1", change), Event())
    assert "--fork" in str(refusal.value)


@pytest.mark.fault(23, "another version of a package", "refused with the difference")
def test_another_version_is_refused_with_the_difference(short, monkeypatch):
    monkeypatch.setattr(resuming, "versions", lambda: {"python": platform.python_version(), "ase": "1.2.3"})
    with pytest.raises(InputError, match=r"ase was .*, is 1\.2\.3"):
        open_campaign(short, Event())


def test_everything_that_computes_is_compared_and_nothing_that_only_shows():
    # the program itself, what inverts grids on a CPU, what ranks proposals
    assert {"surface-searcher", "numba", "scikit-learn"} <= resuming.versions().keys()
    assert not {"mlflow", "matplotlib", "rich"} & resuming.versions().keys()


@pytest.mark.fault(23, "cosmetic settings changed", "accepted and recorded")
def test_a_cosmetic_change_is_accepted_and_recorded(short):
    changed = tiny(short.runs, "budget.iterations=1", "execution.workers=7", "keep.grids=last")
    campaign = open_campaign(changed, Event())
    changes = campaign.ledger.fact("resumes")[-1]["changes"]
    campaign.close()
    assert changes["execution.workers"] == [2, 7] and changes["keep.grids"] == ["all", "last"]


def test_an_extended_campaign_equals_one_that_was_longer_from_the_start(tmp_path):
    longer = run(tiny(tmp_path / "longer"))
    config = tiny(tmp_path / "extended", "budget.iterations=1")
    before = run(config)
    assert run(config) == before
    assert run(config, extend=True) == longer != before
    # an extended campaign that is taken up without the flag has nothing left to do
    assert run(config) == longer


@pytest.mark.fault(23, "a fork with other settings", "starts from the archive")
def test_a_fork_knows_what_its_origin_found_and_searches_with_other_settings(short, tmp_path):
    origin = reading(short)
    found = [c for c in origin.candidates(reached=Gate.VALID_RELAXED) if c.arm != "seed"]
    config = tiny(short.runs, "budget.iterations=1", "seed=9", "name=forked")
    run(config, forked_from=short.runs / short.name)
    campaign = open_campaign(config, Event())
    inherited = [c for c in campaign.ledger.candidates() if c.arm in ("inherited", "archive")]
    assert {c.relaxed for c in inherited} == {c.relaxed for c in found}
    by_structure = {c.relaxed: c for c in found}
    for candidate in inherited:
        same = by_structure[candidate.relaxed]
        # γ is computed anew from the inherited energy: equal to the last bits of the arithmetic
        assert candidate.gamma_zero == pytest.approx(same.gamma_zero, abs=1e-12)
        assert [row[0] for row in campaign.ledger.snapshots(candidate.id)] == [
            row[0] for row in origin.snapshots(same.id)
        ]
    campaign.close()
    origin.close()


def test_a_fork_with_another_surface_is_refused_before_anything_is_written(short):
    config = tiny(short.runs, "name=other", "surface.facet='100'")
    with pytest.raises(InputError, match=r"`surface.facet` was '110', is '100'"):
        open_campaign(config, Event(), forked_from=short.runs / short.name)
    assert not (short.runs / "other").exists()


POTENTIAL = 'from relax.analytic import AnalyticRuO\n\n\nclass Mine(AnalyticRuO):\n    """{0}"""\n'


@pytest.mark.fault(17, "a potential changed between two runs", "exit 4")
@pytest.mark.slow
def test_a_potential_changed_behind_its_back_is_refused(tmp_path):
    """In processes of their own: an imported module does not change."""
    module = tmp_path / "my_potential.py"
    module.write_text(POTENTIAL.format("first"))
    words = ["run", str(TINY), "--set", f"runs={tmp_path}", "--set", 'potential={import_path: "my_potential:Mine"}']
    script = (
        "import sys, searcher.campaign.driver as d\n"
        "d.drive = lambda config, stop, *rest: d.open_campaign(config, stop).close()\n"
        f"sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['searcher', *{words!r}]\n"
        "from searcher.cli import main; main()"
    )
    root = TINY.parents[2]
    codes = []
    for text in ("first", "first", "second"):
        module.write_text(POTENTIAL.format(text))
        done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
        codes.append(done.returncode)
    assert codes == [0, 0, 4] and "changed behind its back" in done.stderr, done.stderr


@pytest.mark.fault(17, "a potential changed during a run", "refused")
def test_a_potential_changed_while_the_campaign_runs_ends_it(tmp_path, monkeypatch):
    from relax import worker

    monkeypatch.setattr(worker, "potential_hash", lambda spec: "0123456789abcdef")
    monkeypatch.setattr(worker, "_built", {})  # as in a process of its own
    with pytest.raises(EnvironmentProblem, match="changed while it ran"):
        run(tiny(tmp_path))


def call(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["searcher", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out + captured.err


@pytest.mark.fault(18, "a second launch", "exit 3, names process and host")
def test_a_second_launch_ends_with_3_and_names_the_holder(short, monkeypatch, capsys):
    first = open_campaign(short, Event())
    folder = short.runs / short.name
    code, text = call(monkeypatch, capsys, "run", TINY, "--set", f"runs={short.runs}", "--set", "budget.iterations=1")
    assert code == 3 and f"process {holder(folder)['pid']} on {platform.node()}" in text
    code, text = call(monkeypatch, capsys, "unlock", folder)
    assert code == 3, "a driver at work keeps its lock"
    first.close()
    assert holder(folder) is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fork", "tiny"], "the campaign itself"),
        (["--fork", "other", "--extend"], "exclude each other"),
        (["--fork", "other", "--set", "name=nowhere"], "which does not exist"),
    ],
)
def test_a_fork_that_makes_no_sense_is_refused(short, monkeypatch, capsys, words, says):
    code, text = call(monkeypatch, capsys, "run", TINY, "--set", f"runs={short.runs}", *words)
    assert code == 2 and says in text and not (short.runs / "other").exists()


@pytest.mark.fault(19, "a lock left on this host", "taken over")
def test_a_stale_lock_of_this_host_is_taken_over(short):
    folder = short.runs / short.name
    (folder / HOLDER).write_text(json.dumps({"pid": 1234, "host": platform.node()}))
    open_campaign(short, Event()).close()
    assert holder(folder) is None


@pytest.mark.fault(19, "a lock left on another host", "refused until `searcher unlock`")
def test_a_stale_lock_of_another_host_is_refused_until_it_is_unlocked(short, monkeypatch, capsys):
    folder = short.runs / short.name
    (folder / HOLDER).write_text(ELSEWHERE)
    with pytest.raises(LockedError, match="searcher unlock"):
        open_campaign(short, Event())
    code, text = call(monkeypatch, capsys, "unlock", folder)
    assert code == 0 and "process 1234 on some-other-host" in text
    open_campaign(short, Event()).close()
    assert "was not locked" in unlock(folder)


def test_a_look_at_the_lock_keeps_no_driver_out(short):
    """`status` holds the lock for an instant to see whether it is free."""
    with (short.runs / short.name / LOCK).open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        Timer(0.2, fcntl.flock, (stream.fileno(), fcntl.LOCK_UN)).start()
        open_campaign(short, Event()).close()


def test_a_holder_that_cannot_be_read_counts_as_another_host(short):
    folder = short.runs / short.name
    (folder / HOLDER).write_text("{")
    with pytest.raises(LockedError, match="unknown host"):
        open_campaign(short, Event())
    unlock(folder)


def test_retention_keeps_what_resuming_needs_and_removes_the_rest(tmp_path):
    everything = run(tiny(tmp_path / "all", "keep={weights: all, checkpoints: all, free_gib: 0}"))
    sparing = tiny(tmp_path / "last", "keep={grids: none, weights: last, checkpoints: none, free_gib: 0}")
    assert run(sparing) == everything
    use = {name: disk_use(tmp_path / name / "tiny") for name in ("all", "last")}
    assert use["last"]["grids"] == use["last"]["checkpoints"] == 0 < use["last"]["weights"] < use["all"]["weights"]
    assert use["all"]["grids"] > 0 and use["all"]["checkpoints"] > 0 and use["all"]["potentials"] > 0
    folder = tmp_path / "all" / "tiny"
    ledger = sum(path.stat().st_size for path in folder.glob("campaign.*") if path.name != "campaign.yaml")
    assert use["all"]["ledger"] == ledger
    assert use["all"]["total"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert run(tiny(tmp_path / "last", "budget.iterations=3")) != everything


def test_an_iteration_does_not_start_without_free_space(tmp_path):
    with pytest.raises(StorageError, match=r"`keep.free_gib` asks for 1e\+09"):
        run(tiny(tmp_path, "keep.free_gib=1e9"))


def test_a_campaign_remembers_code_host_and_job_of_every_start(tmp_path, monkeypatch):
    config = tiny(tmp_path, "budget.iterations=1")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    open_campaign(config, Event()).close()
    monkeypatch.setenv("SLURM_JOB_ID", "4712")
    campaign = open_campaign(config, Event())
    first, again = campaign.ledger.fact("provenance"), campaign.ledger.fact("resumes")[-1]
    campaign.close()
    assert (first["job"], again["job"]) == ("4711", "4712") and first["host"] == again["host"] == platform.node()
