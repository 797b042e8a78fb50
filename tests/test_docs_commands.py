"""Every command of the documentation is run as it stands, page by page, in a folder that holds what the page names.

Campaigns and potentials are small stand-ins under the names of the real ones, so that a page takes seconds.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path

import ase.db
import ase.io
import pytest
from ruamel.yaml import YAML
from test_docs import DOCS, PAGES, command_lines

from searcher.campaign.storage.ledger import Ledger
from searcher.cli import main
from searcher.loading import load_config
from searcher.results.dft_inputs import oxygen_molecule
from searcher.structures.crystal import Crystal
from searcher.structures.templates import seed_structures

ROOT = DOCS.parent
TINY = ROOT / "tests" / "configs" / "tiny.yaml"
STAND_IN = "relax.analytic:AnalyticRuO"
PLACEHOLDERS = {
    "CONFIG": "configs/quickstart.yaml",
    "RUN": "runs/quickstart",
    "[RUN]": "runs/quickstart",
    "path/to/gap.xml": STAND_IN,
    "sevenn.calculator:SevenNetCalculator": STAND_IN,
    '{"model": "7net-0"}': "{}",
    '{"model": "7net-mf-0", "modal": "PBE"}': "{}",
}
ELSEWHERE = {
    "potential fit": "tests/searcher/test_potential_commands.py",
    "potential check": "tests/searcher/test_potential_commands.py",
    "potential label": "tests/searcher/test_potential_commands.py",
    "potential improve": "tests/searcher/campaign/improvement/test_improving.py",
    "repair": "tests/faults/test_damage.py",
    "unlock": "tests/searcher/campaign/test_resuming.py",
}
"""commands that take long, or that only a damaged campaign needs, with the tests that run what they call"""


def run(*words):
    """Exit code of ``searcher WORDS…`` in this process."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["searcher", *map(str, words)])
        main()
    return ended.value.code or 0


def tiny(name, **changes):
    """The tiny campaign's settings under another name."""
    settings = YAML(typ="safe").load(TINY.read_text(encoding="utf-8"))
    return {**settings, "name": name, **changes}


def write_yaml(path, settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(settings, stream)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of campaigns with one that has ended."""
    folder = tmp_path_factory.mktemp("finished")
    write_yaml(folder / "quickstart.yaml", tiny("quickstart", runs=str(folder)))
    assert run("run", folder / "quickstart.yaml") == 0
    return folder / "quickstart"


@pytest.fixture
def desk(tmp_path, monkeypatch, finished):
    """A working folder with configurations and structures under the names that the pages use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "tests")
    for name in ("quickstart", "ruo2-110-1x2", "cluster/ruo2-110-slurm"):
        write_yaml(tmp_path / "configs" / f"{name}.yaml", tiny(Path(name).name))
    shutil.copytree(ROOT / "configs" / "generators", tmp_path / "configs" / "generators")
    slabs = seed_structures(Crystal(), "110", (1, 1))
    for name in ("others", "my-slabs", "slabs", "known"):
        ase.io.write(tmp_path / f"{name}.extxyz", list(slabs.values()))
    first = next(iter(slabs.values()))
    ase.io.write(tmp_path / "mine.cif", first)
    ase.io.write(tmp_path / "POSCAR", Crystal().bulk(), format="vasp")
    ase.io.write(tmp_path / "bulk.cif", Crystal().bulk())
    ase.io.write(tmp_path / "o2.xyz", oxygen_molecule(), format="extxyz")
    with ase.db.connect(tmp_path / "more.db") as database:
        database.write(first)
    return tmp_path


def put_campaigns(desk, finished, lines):
    """Campaigns that a page takes as given; those that it runs itself are left to it."""
    made = {f"runs/{load_config(Path(word)).name}" for line in lines for word in shlex.split(line)
            if " run " in f" {line} " and word.endswith(".yaml") and Path(word).is_file()}  # fmt: skip
    named = {word for line in lines for word in shlex.split(line) if word.startswith("runs/")}
    for word in sorted(named):
        folder = desk / Path(word).parts[0] / Path(word).parts[1]
        if str(folder.relative_to(desk)) in made or folder.exists():
            continue
        shutil.copytree(finished, folder)
        ledger = Ledger(folder / "campaign.db")
        facet = re.search(r"ruo2-(\d{3})$", word)
        if facet:
            ledger.set_fact("template", {**ledger.fact("template"), "facet": facet[1]})
        ledger.set_fact("name", folder.name)
        ledger.close()


def own_files(desk, page):
    """Configurations that a page shows, with a stand-in for the potential."""
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        settings = YAML(typ="safe").load(block)
        if "material" in settings:
            potential = {"import_path": "foreign_oxide:AnalyticIrO"}
            surface = {**settings["surface"], "repeat": [1, 1], "frozen_thickness": 2.0}
            write_yaml(
                desk / "iro2.yaml", tiny(settings["name"]) | settings | {"potential": potential, "surface": surface}
            )


def words_of(line):
    return [PLACEHOLDERS.get(word, word) for word in shlex.split(line)[1:]]


def small(line):
    """What a command also needs on stand-ins: few steps and classes, coarse cells, energies of their own."""
    if line.startswith("searcher roundtrip"):
        return ["--allow-coarse"]
    if line.startswith("searcher classes") and "--bins" in line:
        return ["--n", "3"]
    if line.startswith(("searcher train", "searcher tune")):
        return ["--steps", "2"]
    if line.startswith("searcher assess") and "--reach" in line:
        return ["--n", "8", "--reach", "2", "--attribution", "1"]
    on_files = line.startswith(("searcher score", "searcher relax", "searcher diagram")) and "runs/" not in line
    shaken = ["--picoseconds", "0.02"] if "--dynamics" in line else []
    return ["--potential", STAND_IN, *shaken] if on_files and "--potential" not in line else shaken


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FixSymmetry adjust_cell")  # the stand-in's lattice is far from iridium's
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(page)], ids=lambda page: page.stem)
def test_every_command_of_a_page_runs(page, desk, finished, capsys):
    lines = [line for line in command_lines(page) if "…" not in line and "--help" not in line]
    own_files(desk, page)
    filled = [" ".join(shlex.quote(word) for word in ["searcher", *words_of(line)]) for line in lines]
    put_campaigns(desk, finished, filled)
    if not (desk / "terminations").exists() and not any("--out terminations" in line for line in lines[:1]):
        assert run("export", finished, "--out", "terminations") == 0
    for line in lines:
        if any(line.startswith(f"searcher {command} ") for command in ELSEWHERE):
            continue
        code = run(*words_of(line), *small(line))
        assert code == 0, f"{page.name}: `{line}` ends with {code}: {capsys.readouterr().err}"


def test_commands_that_are_run_elsewhere_have_their_test():
    for command, path in ELSEWHERE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        assert command.rpartition(" ")[2] in text, f"{path} says nothing of `{command}`"


@pytest.mark.slow
def test_what_the_first_pages_promise_is_there(finished):
    for name in ("report.html", "accepted.db", "campaign.db", "campaign.yaml", "potentials", "iterations"):
        assert (finished / name).exists(), name
