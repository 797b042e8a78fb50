"""Faults 22 and 24: odd and hostile files are read right or refused in bounded time and memory, and run nothing."""

import lzma
import subprocess

import pytest
from campaign_processes import ROOT, environment, words

from searcher.errors import InputError
from searcher.loading import load_config
from searcher.structures import files
from searcher.structures.files import read_structures

GOOD = 'name: x\npotential: {import_path: "relax.analytic:AnalyticRuO"}\n'
BOMB = "a: &a [1,1,1,1,1,1,1,1]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def write(tmp_path, text):
    path = tmp_path / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.fault(22, "typos, units, doubled keys, aliases, deep nesting, tags", "refused with file and line")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + BOMB, r"campaign.yaml:3: anchors and aliases"),
        (GOOD + "known: " + "[" * 4000 + "]" * 4000, r"campaign.yaml:3: nested more than"),
        (GOOD + "seed: 1\nseed: 2\n", r"campaign.yaml:4: not valid YAML: found duplicate key"),
        (GOOD + "surfacee: {}\n", r"campaign.yaml:3: `surfacee` is not a setting; did you mean `surface`"),
        (GOOD + "relaxation: {fmaxx: 0.1}\n", r"campaign.yaml:3: `relaxation.fmaxx` is .*did you mean `fmax`"),
        (GOOD + "relaxation: {fmax: 0.1 eV}\n", r"campaign.yaml:3: `relaxation`"),
        (GOOD + "relaxation: {fmax: -1}\n", r"campaign.yaml:3: `relaxation`: .*-1"),
        (GOOD + "validity: {o_o_overlapp: 1}\n", r"campaign.yaml:3: `validity.o_o_overlapp` is .*`o_o_overlap`"),
        (GOOD + "grid: {sigma: 0.5 A}\n", r"campaign.yaml:3: `grid.sigma` is '0.5 A'"),
        (GOOD + "grid: {sigma: .nan}\n", r"campaign.yaml:3: `grid.sigma`"),
        (
            GOOD + "execution: {deadline: 10 min}\n",
            r"campaign.yaml:3: `execution.deadline` .*did you mean `deadline_s`",
        ),
        (GOOD + "seed: !!python/object/apply:os.system ['true']\n", r"campaign.yaml:3"),
        (GOOD + "name\n", r"campaign.yaml"),
    ],
)
def test_a_mistake_or_a_trap_is_named_with_its_line(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        load_config(write(tmp_path, text))


@pytest.mark.fault(22, "`1e-3`, `No`, octal numbers", "read as YAML 1.2 says")
def test_numbers_and_words_are_read_as_they_look(tmp_path):
    config = load_config(write(tmp_path, GOOD.replace("x", "No") + "acceptance: {kappa_min: 1e-3}\nseed: 0o17\n"))
    assert (config.name, config.acceptance.kappa_min, config.seed) == ("No", 0.001, 15)


def test_a_mistake_is_told_before_anything_heavy_is_loaded(tmp_path, tell):
    path = write(tmp_path, GOOD + "surfacee: {}\n")
    script = f"import sys; sys.argv = ['searcher', 'run', {str(path)!r}]\n" + (
        "from searcher.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as ended:\n"
        "    print(ended.code, sorted({'torch', 'mlflow', 'dscribe', 'quippy', 'matplotlib'} & set(sys.modules)))\n"
    )
    line = [words()[0], "-c", script]
    done = subprocess.run(line, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2 []"
    tell(22, "a typo, from the command line", 1, "exit 2 with file and line, before anything heavy is loaded")


@pytest.mark.fault(24, "a compressed bomb as a structure file", "refused before it is unpacked")
def test_a_compressed_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_FILE", 1_000_000)
    path = tmp_path / "bomb.extxyz.xz"
    path.write_bytes(lzma.compress(b"1\n\nRu 0 0 0\n" * 1_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="unpacks to more than 1000000 bytes"):
        read_structures(path)


@pytest.mark.fault(24, "`../` in names", "refused")
def test_a_name_cannot_lead_out_of_the_runs_folder(tmp_path):
    for name in ("../x", "/etc/x", "..", "a/b", ""):
        with pytest.raises(InputError, match="`name`"):
            load_config(write(tmp_path, GOOD.replace("name: x", f"name: {name!r}")))
