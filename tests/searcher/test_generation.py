"""Every generator configuration trains on files, is sampled and read back; campaigns give data sets."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from generators.grids.files import read_grids
from searcher.cli import app
from searcher.errors import InputError
from searcher.generation.data_set import data_set
from searcher.generation.sampling import open_sampler, parse_conditions, sample_to_file
from searcher.generation.settings import DataSection
from searcher.generation.training import train_on_files
from searcher.loading import load_generator_config
from searcher.structures.crystal import Crystal
from searcher.structures.files import read_structures, write_compressed
from searcher.structures.templates import TemplateSettings, seed_structures

pytestmark = pytest.mark.filterwarnings("ignore::generators.grids.resolution.GridWarning")  # small grids are coarse
CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "generators").glob("*.yaml"))
QUICK = ("default", "denoiser", "cell", "thesis", "thesis-2d-embedding", "told-delta-mu-o")
SHORT = [
    "data.allow_coarse=true",
    "training.steps=2",
    "training.batch_size=4",
    "training.threads=1",
    "training.checkpoint_every=1",
]
NARROW = {
    "gan": [
        "network.latent=8",
        "network.generator_channels=[8, 8]",
        "network.critic_channels=[8, 8]",
        "network.critic_hidden=8",
    ],
    "denoiser": ["network.channels=[4, 6]", "network.embedding=8"],
}
SMALL = [*SHORT, *NARROW["gan"]]
SHORTER = {  # what counts steps must end with the training
    "condition_start": 0,
    "condition_blend": 1,
    "curriculum_steps": 1,
    "critic_pretraining": 2,
    "replay_size": 8,
    "batch_doublings": "[1]",
    "unrolled_steps": 1,
    "critic_steps": 1,
}


def slabs(seed: int = 0) -> list[tuple[str, Atoms]]:
    """Rattled terminations of (110) with invented energies and γ."""
    rng = np.random.default_rng(seed)
    found = []
    for label, atoms in seed_structures(Crystal(), "110", (1, 1), TemplateSettings(frozen_thickness=2.0)).items():
        for number in range(5):
            slab = atoms.copy()
            free = slab.get_tags() == 1
            slab.positions[free] += rng.normal(0.0, 0.05, (int(free.sum()), 3))
            slab.info = {
                "minimum": f"{label}-{number}-{seed}",
                "facet": "110",
                "gamma_zero_eV_per_A2": 0.05 + 0.021 * number,
                "gamma_slope_per_A2": 0.01,
            }
            slab.calc = SinglePointCalculator(slab, energy=-6.0 * len(slab) + 0.1 * number)
            found.append((f"{label} #{number}", slab))
    return found


def small(path: Path) -> list[str]:
    config = load_generator_config(path)
    shape = {"window": "[8, 8, 8]", "cell": "[8, 8, 16]", "slice": "[8, 8, 16]"}[config.data.view]
    changed = [f"training.{key}={value}" for key, value in SHORTER.items() if key in config.training]
    return [*SHORT, *NARROW[config.generator], f"data.shape={shape}", *changed]


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=() if p.stem in QUICK else pytest.mark.slow, id=p.stem) for p in CONFIGS],
)
def test_every_configuration_trains_and_is_sampled(path: Path, tmp_path: Path) -> None:
    config = load_generator_config(path, small(path))
    told = train_on_files(config, slabs(), tmp_path)
    assert told["step"] == 2 and told["structures"] > 0
    sampler, template = open_sampler(tmp_path, None)
    sample_to_file(sampler, template, tmp_path / "grids.npz", 3, {}, 0)
    grids = read_grids(tmp_path / "grids.npz")
    assert len(grids.grids) == 3 and np.isfinite(grids.grids).all()
    assert set(grids.conditions[0]) == set(config.data.conditions)
    assert (grids.lengths is not None) == bool(config.network.get("lattice", False))


def test_a_training_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    config = load_generator_config(CONFIGS[0].with_stem("default"), [*SMALL, "data.shape=[8, 8, 8]"])
    told: list[dict[str, float]] = []
    train_on_files(config, slabs(), tmp_path, lambda metrics: told.append(dict(metrics)))
    again = train_on_files(config, slabs(), tmp_path, lambda metrics: told.append(dict(metrics)))
    assert told[:2] == told[2:] and again["last"]["step"] == 2


def test_from_files_to_atoms_on_the_command_line(tmp_path: Path) -> None:
    structures, out = tmp_path / "slabs.extxyz.xz", tmp_path / "generator"
    write_compressed(structures, [atoms for _, atoms in slabs()])
    default = str(CONFIGS[0].with_stem("default"))
    changes = [part for change in [*SMALL, "data.shape=[8, 8, 8]"] for part in ("--set", change)]
    run = CliRunner().invoke
    trained = run(app, ["train", str(structures), "--config", default, "--out", str(out), "--json", *changes])
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["step"] == 2
    grids, picture = tmp_path / "grids.npz", tmp_path / "slices.png"
    sampled = run(
        app,
        [
            "sample",
            str(out),
            "--out",
            str(grids),
            "--n",
            "4",
            "--condition",
            "energy_class=1",
            "--picture",
            str(picture),
            "--json",
        ],
    )
    assert sampled.exit_code == 0, sampled.output
    assert {row["energy_class"] for row in json.loads(sampled.stdout)["conditions"]} == {1}
    assert picture.read_bytes().startswith(b"\x89PNG")
    back = run(app, ["backmap", str(grids), "--out", str(tmp_path / "atoms.extxyz"), "--json"])
    assert back.exit_code == 0, back.output
    assert len(json.loads(back.stdout)) == 4


def test_a_generator_of_no_known_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"generator.*must be one of gan, denoiser"):
        load_generator_config(CONFIGS[0].with_stem("default"), ["generator=gna"])
    with pytest.raises(InputError, match="`network.latent` is not a setting"):
        load_generator_config(CONFIGS[0].with_stem("denoiser"), ["network.latent=8"])


def test_a_denoiser_has_no_temperature(tmp_path: Path) -> None:
    path = CONFIGS[0].with_stem("denoiser")
    train_on_files(load_generator_config(path, small(path)), slabs(), tmp_path)
    sampler, template = open_sampler(tmp_path, None)
    with pytest.raises(InputError, match="`temperature` is 1.4 but must be 1"):
        sample_to_file(sampler, template, tmp_path / "grids.npz", 3, {}, 0, temperature=1.4)


def test_windows_know_their_template() -> None:
    """The free atoms are those that are not fixed, and what lies outside the frozen part moves within its range."""
    found = data_set(slabs(), DataSection(view="window", shape=(16, 16, 16), sigma=0.5, allow_coarse=True))
    template = found.template
    assert template is not None
    atoms = slabs()[0][1]
    assert template.n_frozen == int((atoms.get_tags() == 0).sum())
    for record in found.records + found.holdout:
        assert record.positions[:, 2].min() >= template.free_floor - 1e-9
    assert len(template.rotations) >= 2, "(110) has mirror planes"


def test_classes_of_gamma_are_heights_above_the_lowest() -> None:
    found = data_set(slabs(), DataSection(view="cell", allow_coarse=True, holdout_every=0))
    assert {record.condition["energy_class"] for record in found.records} == {0, 3, 4, 6, 7}  # 0, 21, 42, 63, 84 meV/Å²


@pytest.mark.parametrize(("bins", "sizes"), [("equal_width", [12, 2, 1]), ("quantile", [5, 5, 5])])
def test_classes_of_energies_are_equally_wide_or_equally_full(bins: str, sizes: list[int]) -> None:
    named = slabs()
    for n, (_, atoms) in enumerate(named):
        atoms.calc = SinglePointCalculator(atoms, energy=len(atoms) * 1.5**n)  # most of them lie close to the lowest
    settings = DataSection(allow_coarse=True, holdout_every=0, class_of="energy_per_atom", n_classes=3, class_bins=bins)
    told = [record.condition["energy_class"] for record in data_set(named, settings).records]
    assert [told.count(number) for number in range(3)] == sizes


def test_several_chemical_potentials_tell_each_structure_several_times() -> None:
    settings = DataSection(
        view="cell",
        allow_coarse=True,
        holdout_every=0,
        conditions=("energy_class", "delta_mu_o"),
        delta_mu_o=(-1.0, 0.0),
    )
    found = data_set(slabs(), settings)
    assert len(found.records) == 2 * len(slabs())
    assert {record.condition["delta_mu_o"] for record in found.records} == {-1.0, 0.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atoms: atoms.info.clear(), "no recorded γ"),
        (lambda atoms: atoms.set_constraint(), "fixed"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(change, message: str) -> None:
    named = slabs()
    change(named[0][1])
    with pytest.raises(InputError, match=message):
        data_set(named, DataSection(view="window", shape=(16, 16, 16), allow_coarse=True))


def test_a_coarse_grid_is_refused() -> None:
    with pytest.raises(InputError, match="allow_coarse"):
        data_set(slabs(), DataSection(view="cell", shape=(8, 8, 8)))


@pytest.mark.parametrize("text", ["energy_class", "=1", "energy_class=low"])
def test_conditions_have_a_name_and_a_number(text: str) -> None:
    with pytest.raises(InputError, match="`--condition"):
        parse_conditions([text])


def test_unknown_settings_are_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "generator.yaml"
    path.write_text("name: wrong\ndata: {shap: [8, 8, 8]}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"generator.yaml:2.*`data.shap`.*did you mean `shape`"):
        load_generator_config(path)


def test_dataset_files_come_back_with_fixed_atoms_and_gamma(tmp_path: Path) -> None:
    path = tmp_path / "slabs.extxyz.xz"
    write_compressed(path, [atoms for _, atoms in slabs()])
    read = read_structures(path)
    assert len(read[0].constraints) == 1
    assert read[1].info["gamma_zero_eV_per_A2"] == pytest.approx(0.071)
