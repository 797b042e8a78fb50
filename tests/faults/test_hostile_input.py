"""Faults 22 and 24: odd and hostile files are read right or refused in bounded time and memory, and run nothing."""

import lzma
import pickle
import resource
import subprocess
import time

import pytest
from campaign_processes import ROOT, environment, words

from searcher.errors import InputError
from searcher.loading import load_config
from searcher.structures import files
from searcher.structures.files import read_structures

GOOD = 'name: x\npotential: {import_path: "relax.analytic:AnalyticRuO"}\n'
SOON_S = 2.0  # from the command to its complaint
TRIES = 3  # other processes on the same core make one compute longer
BOMB = "a: &a [1,1,1,1,1,1,1,1]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


class Exploding:
    """Pickled, it leaves a file where it is unpickled."""

    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return open, (f"ran-{self.name}", "w")


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
        (GOOD + "network: {settings: {latnet: 8}}\n", r"campaign.yaml:3: `network.settings.latnet` .*mean `latent`"),
        (GOOD + "network:\n  settings:\n    latent: [8]\n", r"campaign.yaml:5: `network.settings.latent` is \[8\]"),
        (GOOD + "network: {settings: {conditions: []}}\n", r"campaign.yaml:3: `network.settings.conditions` is not a"),
        (GOOD + "training: {settings: {stepss: 8}}\n", r"campaign.yaml:3: `training.settings.stepss` .*mean `steps`"),
        (GOOD + "training: {settings: {steps: 8 h}}\n", r"campaign.yaml:3: `training.settings.steps` is '8 h'"),
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
    config = load_config(
        write(tmp_path, GOOD + "training: {settings: {steps: 1e3, critic_rate: 1e-3, betas: [0, 1]}}\n")
    )
    assert config.training.settings == {"steps": 1000, "critic_rate": 0.001, "betas": [0.0, 1.0]}
    assert type(config.training.settings["steps"]) is int


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


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        ("surfacee: {}", 3),
        ("training: {settings: {stepss: 8}}", 3),
        ("network:\n  settings: {latent: 8 A}", 4),
        ("relaxation: {fmax: 0.1 eV}", 3),
        ("seed: 1\nseed: 2", 4),
        ("seeds: [nowhere.extxyz]", 3),
        ("network: {warm_start: nowhere}", 3),
    ],
)
def test_a_mistake_ends_the_command_soon_with_file_and_line(tmp_path, mistake, line, tell):
    path = write(tmp_path, GOOD + mistake + "\n")
    for _ in range(TRIES):
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            words("run", path), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 2 and done.stderr.startswith(f"{path}:{line}: "), done.stderr
        computing = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if computing < SOON_S:  # of the process alone, since a loaded machine lets it wait
            break
    assert computing < SOON_S
    tell(22, f"`{mistake.splitlines()[-1]}`", 1, f"exit 2 with file and line after {seconds:.1f} s")


@pytest.mark.fault(24, "a compressed bomb as a structure file", "refused before it is unpacked")
def test_a_compressed_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_FILE", 1_000_000)
    path = tmp_path / "bomb.extxyz.xz"
    path.write_bytes(lzma.compress(b"1\n\nRu 0 0 0\n" * 1_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="unpacks to more than 1000000 bytes"):
        read_structures(path)


BILLION = "<!DOCTYPE x [<!ENTITY a0 'x'>" + "".join(
    f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10)
)  # fmt: skip


@pytest.mark.fault(24, "XML entities, pickles, scripts and unknown formats as structure files", "refused, nothing run")
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("vasprun.xml", (BILLION + "]><modeling>&a9;</modeling>").encode(), "DOCTYPE or ENTITY"),
        ("vasprun.xml", (BILLION + "]><modeling>&a9;</modeling>").encode("utf-16"), "UTF-8 or Latin-1"),
        ("slab.pkl", b"", "0 bytes"),
        ("slab.pkl", pickle.dumps([1]), "unknown ending"),
        ("slab.py", b"raise SystemExit", "unknown ending"),
        ("slab.traj", pickle.dumps(Exploding("traj")), "cannot be read as traj"),
        ("slab.db", pickle.dumps(Exploding("db")), "cannot be read as db"),
        (
            "slab.json",
            b'{"1": {"numbers": {"__ndarray__": [[1], "object", [1]]}}, "ids": [1]}',
            "cannot be read as json",
        ),
        ("slab.extxyz", b'1\nLattice="1 0 0 0 1 0 0 0 1"\nRu nan 0 0\n', "no numbers"),
    ],
)
def test_a_structure_file_can_run_nothing(tmp_path, monkeypatch, name, content, says):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_structures(path)
    assert not list(tmp_path.glob("ran-*"))


@pytest.mark.fault(24, "a structure file of more than the allowed size", "refused before it is read")
def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "slab.extxyz"
    with path.open("wb") as stream:
        stream.truncate(files.LARGEST_FILE + 1)
    with pytest.raises(InputError, match=f"{files.LARGEST_FILE + 1} bytes"):
        read_structures(path)


@pytest.mark.fault(24, "a configuration of more than the allowed size", "refused before it is parsed")
def test_a_configuration_that_is_too_large_is_not_parsed(tmp_path):
    with pytest.raises(InputError, match="at most 1000000"):
        load_config(write(tmp_path, GOOD + "#" * 1_000_001))


@pytest.mark.fault(24, "`../` in names", "refused")
def test_a_name_cannot_lead_out_of_the_runs_folder(tmp_path):
    for name in ("../x", "/etc/x", "..", "a/b", ""):
        with pytest.raises(InputError, match="`name`"):
            load_config(write(tmp_path, GOOD.replace("name: x", f"name: {name!r}")))
