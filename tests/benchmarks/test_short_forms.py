"""Every benchmark at a tiny size, so that none stops working unnoticed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
AGOX = os.environ.get("SEARCH_YIELD_AGOX")
GAP = "configs/quickstart.yaml"
SHORT = {
    "gridding.py": ["--rounds", "1"],
    "force_calls.py": ["--calls", "1"],
    "backmapping.py": ["--copies", "0", "--calls", "2", "--slabs", "12"],
    "novelty.py": ["--known", "300", "--queries", "4", "--checked", "1", "--slabs", "2"],
    "report.py": ["--accepted", "20"],
    "scale.py": ["--candidates", "40", "--measured", "10", "--folder", "{out}"],
    "driver_overhead.py": ["tests/configs/tiny.yaml", "--set", "runs={out}"],
    "record_proposals.py": [GAP, "--count", "2", "--out", "{out}/proposals.extxyz.xz"],
    "basin_hopping.py": ["--out", "{out}", "--only", "110-delocalized", "--hops", "4"],
    "early_stopping.py": [GAP, "--limit", "2", "--out", "{out}", "--runs", "{out}/runs"],
    "relaxation.py": [GAP, "--limit", "2", "--out", "{out}"],
    "latent_search.py": [GAP, "--count", "2", "--only", "1 generations", "--runs", "{out}"],
    "potential_uncertainty.py": [
        "relax/potentials/ruo2/data/frames.extxyz.xz",
        "relax/potentials/ruo2/gap.xml",
        "--limit",
        "16",
        "--out",
        "{out}/uncertainty.png",
    ],
    "improvement_rounds.py": [
        "relax/potentials/ruo2",
        "--round",
        "search1",
        "--share",
        "0.05",
        "--out",
        "{out}",
    ],
    "training_speed.py": ["--shape", "8", "8", "8", "--rounds", "1", "--steps", "1", "--batch", "4"],
}
ELSEWHERE = {
    *("generator_quality.py", "generator_ablation.py", "generator_fidelity.py", "generator_measures.py"),
    *("full_cells.py", "generator_kinds.py"),
    *("usual_inversion.py", "recorded_paths.py", "prepared.py"),
}
"""tested below, or a part of another"""


def run(*command: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    ended = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


def test_every_benchmark_has_a_short_form():
    assert {path.name for path in BENCHMARKS.glob("*.py")} == {*SHORT, *ELSEWHERE}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SHORT)
def test_short_form_ends_well(name, tmp_path):
    arguments = [argument.format(out=tmp_path) for argument in SHORT[name]]
    assert run(str(BENCHMARKS / name), *arguments, cwd=ROOT).strip()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_generator_quality_of_weights_trained_in_seconds(tmp_path):
    settings = [str(ROOT / "tests/configs/tiny.yaml"), "--set", f"runs={tmp_path}"]
    settings += [
        "--set",
        "budget.force_calls_per_iteration=400",
        "--set",
        "grid.min_r2=-1",
    ]  # minima to hold out, grids to read
    start, seeds = tmp_path / "warm", tmp_path / "withheld.extxyz.xz"
    run("-m", "searcher.cli", "run", *settings, cwd=ROOT)
    run("-m", "searcher.cli", "seeds", *settings, "--out", str(seeds), cwd=ROOT)
    start.mkdir()
    seeds.rename(start / "withheld.extxyz.xz")
    run("-m", "searcher.cli", "train", str(tmp_path / "tiny"), "--out", str(start), "--steps", "300", cwd=ROOT)
    figures = run(
        str(BENCHMARKS / "generator_quality.py"), str(tmp_path / "tiny"), str(start), "--samples", "12", cwd=ROOT
    )
    assert json.loads(figures[figures.index("{") :])["frechet_ratio"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ablation_and_fidelity_of_generators_trained_in_seconds(tmp_path):
    config, data = ROOT / "tests/configs/tiny.yaml", tmp_path / "data.extxyz.xz"
    run("-m", "searcher.cli", "run", str(config), "--set", f"runs={tmp_path}", cwd=ROOT)
    run("-m", "searcher.cli", "dataset", str(tmp_path / "tiny"), "--out", str(data), cwd=ROOT)
    grid = ["--shape", "8", "8", "8"]
    command = [str(BENCHMARKS / "generator_ablation.py"), str(data), "--work", str(tmp_path / "ablation")]
    command += ["--steps", "2", "--samples", "16", "--seeds", "1", "--rows", "published layout", "default", *grid]
    told = run(*command, cwd=ROOT)
    assert "| published layout |" in told and "| default |" in told
    assert run(*command, cwd=ROOT) == told  # nothing is trained again
    fidelity = [str(BENCHMARKS / "generator_fidelity.py"), str(data), "--work", str(tmp_path / "fidelity")]
    fidelity += ["--steps", "2", "--samples", "16", "--set", "data.shape=[8, 8, 8]", "--set", "data.allow_coarse=true"]
    assert '"decoded, at least 0.9"' in run(*fidelity, cwd=ROOT)
    kinds = [str(BENCHMARKS / "generator_kinds.py"), *fidelity[1:2], "--work", str(tmp_path / "kinds"), *fidelity[6:]]
    told = run(*kinds, "--seconds", "0.1", "--samples", "4", cwd=ROOT)
    assert '"denoiser, walk and jump"' in told and '"default"' in told
    cells = [str(BENCHMARKS / "full_cells.py"), str(data), "--work", str(tmp_path / "cells"), "--hours", "1e-6"]
    small = ["data.shape=[8, 8, 16]", "network.generator_channels=[8, 8]", "network.critic_channels=[8, 8]"]
    small += ["network.latent=8", "network.condition_size=10", "training.batch_size=4", "training.checkpoint_every=1"]
    cells += [part for change in small for part in ("--set", change)]
    assert '"striped"' in run(*cells, "--samples", "8", cwd=ROOT)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_search_yield_runs_resumes_and_prints_its_table(tmp_path):
    arms = ["gan", "random_oxygen", "moves", "hopping", "ase_hopping", *(["agox_random"] if AGOX else [])]
    common = ["--work", str(tmp_path), "--cells", "tiny", "--arms", *arms]
    results = ["--results", str(tmp_path / "results")]
    command = ["-m", "benchmarks.search_yield", "run", *common, *results, "--seeds", "1"]
    command += ["--agox", AGOX] if AGOX else []
    told = run(*command, cwd=ROOT)
    assert all(f"tiny {arm} seed 1" in told for arm in arms)
    assert run(*command, cwd=ROOT) == told  # nothing is searched again
    run("-m", "benchmarks.search_yield", "tables", *common, *results, "--out", str(tmp_path / "out"), cwd=ROOT)
    page = (tmp_path / "out" / "search-yield-A-tiny.md").read_text(encoding="utf-8")
    assert all(f"| {arm} | 1 |" in page for arm in arms)
    assert (tmp_path / "out" / "pictures" / "search-yield-A-tiny.svg").is_file()
    (potential,) = (path.parent for path in tmp_path.glob("*/A"))
    origin = potential / "A" / "tiny" / "moves" / "seed-1" / "campaign"
    going_on = ["-m", "benchmarks.search_yield", "continue", str(origin), *common[:4], "--calls", "60"]
    table = run(*going_on, "--arms", "gan", "moves-relocating", cwd=ROOT)
    assert "| gan | gan |" in table and "| moves-relocating | moves |" in table
