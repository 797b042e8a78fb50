"""The command line: every mistake is one clear line with its exit code, and nothing is written."""

import json

import pytest

GOOD = 'name: x\npotential: {import_path: "relax.analytic:AnalyticRuO"}\n'


@pytest.mark.parametrize(
    ("text", "rest", "code", "says"),
    [
        (GOOD + "surfacee: {}\n", [], 2, "did you mean `surface`"),
        (GOOD + "material: {metal: Qq}\n", [], 2, "'Qq' is not the symbol of a metal"),
        ("name: x\npotential: {gap: nowhere.xml}\n", [], 4, "nowhere.xml does not exist"),
        ('name: x\npotential: {import_path: "nowhere:Calculator"}\n', [], 4, "no module 'nowhere'"),
        (GOOD + "seeds: [empty.extxyz]\n", [], 2, "empty.extxyz` has 0 bytes"),
        (GOOD + "known: [nowhere.cif]\n", [], 2, "nowhere.cif` does not exist"),
        (GOOD + "network: {warm_start: nowhere}\n", [], 2, "searcher train"),
        (GOOD, ["--set", "budget.iterations=none"], 2, "budget.iterations"),
    ],
)
def test_a_mistake_ends_the_start_with_one_line_and_nothing_written(call, tmp_path, text, rest, code, says):
    (tmp_path / "campaign.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "empty.extxyz").touch()
    before = sorted(tmp_path.rglob("*"))
    found, _, complaint = call("run", "campaign.yaml", *rest)
    assert (found, len(complaint.strip().splitlines())) == (code, 1)
    assert says in complaint and "Traceback" not in complaint
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_writes_nothing(call, tmp_path):
    (tmp_path / "campaign.yaml").write_text(GOOD, encoding="utf-8")
    code, out, _ = call("run", "campaign.yaml", "--dry-run")
    assert code == 0 and "runs/x" in out and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", [["status"], ["verify"], ["report"], ["export", "--out", "out"]])
def test_a_folder_without_a_campaign_is_named(call, command):
    name, *rest = command
    code, _, complaint = call(name, "nowhere", *rest)
    assert code == 5 and "holds no campaign" in complaint


@pytest.mark.slow
def test_a_campaign_from_start_to_export(call, tmp_path):
    from pathlib import Path

    small = Path(__file__).parents[1] / "configs" / "small.yaml"
    assert call("run", small, "--set", "runs=runs")[0] == 0
    status = json.loads(call("status", "runs/small", "--json")[1])
    assert status["state"] == "finished" and status["iterations"] == 2
    wanted = {"proposed", "decoded", "valid", "converged", "unique", "novel", "accepted", "force_calls"}
    assert all(wanted <= set(status["arms"][arm]) for arm in ("gan", "random"))
    code, digest, _ = call("verify", "runs/small", "--digest")
    assert code == 0 and len(digest.strip()) == 64
    assert call("export", "runs/small", "--out", "out")[0] == 0
    assert (tmp_path / "out" / "table.csv").is_file()
    assert (tmp_path / "runs" / "small" / "report.html").stat().st_size > 10_000
