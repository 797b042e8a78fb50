"""Configuration files: right readings and clear complaints."""

import pytest

from searcher.config import result_changing
from searcher.config.recorded import recorded_config
from searcher.errors import InputError
from searcher.loading import dump_config, load_config, load_recorded

GOOD = "name: x\nseed: 1e3\npotential: {gap: ruo2}\n"


def write(tmp_path, text):
    path = tmp_path / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_numbers_are_read_as_yaml_1_2(tmp_path):
    config = load_config(write(tmp_path, GOOD + "acceptance: {kappa_min: 7.5e-2}\n"))
    assert config.seed == 1000 and config.acceptance.kappa_min == 0.075


def test_a_resolved_configuration_reads_back(tmp_path):
    config = load_config(write(tmp_path, GOOD))
    assert load_config(write(tmp_path, dump_config(config))) == config


def test_overrides_change_one_key(tmp_path):
    config = load_config(write(tmp_path, GOOD), ["budget.iterations=3", "surface.repeat=[2, 2]"])
    assert config.budget.iterations == 3 and config.surface.repeat == (2, 2)


ARMS = "arms:\n- {name: one, kind: gan, share: 0.5}\n- {name: two, kind: random, share: 0.5}\n"


def test_overrides_name_an_arm(tmp_path):
    path = write(tmp_path, GOOD + ARMS)
    config = load_config(path, ["arms.two.screening.oversampling=250", "arms.one.noise_temperature=1.5"])
    assert [arm.screening.oversampling for arm in config.arms] == [20, 250]
    assert config.arms[0].noise_temperature == 1.5


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("arms.three.share=1", "none is named `three`; there are one, two"),
        ("arms.two=1", "`two` is an entry of a list"),
        ("arms.two.shar=1", "--set: `arms.1.shar` is not a setting; did you mean `share`"),
    ],
)
def test_a_bad_override_of_an_arm_is_refused(tmp_path, override, complaint):
    with pytest.raises(InputError, match=complaint):
        load_config(write(tmp_path, GOOD + ARMS), [override])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (GOOD + "surface:\n  facett: '110'\n", r":5: `surface.facett` is not a setting; did you mean `facet`"),
        (GOOD + "grid: {sigma: -1}\n", r":4: `grid.sigma` is -1"),
        (GOOD + "seed: 2\n", r":4: not valid YAML: found duplicate key"),
        ("name: No\npotential: {gap: [}\n", r":2: not valid YAML"),
        ("name: ..\npotential: {gap: ruo2}\n", r":1: `name`"),
        ("potential: {gap: ruo2}\n", r"`name`"),
        ("name: x\npotential: {}\n", r"either `gap` or `import_path`"),
        (GOOD + "material: {metal: Qq}\n", r"not the symbol of a metal"),
        (GOOD + "arms: [{name: a, kind: gan, share: 0.5}]\n", r"add up to 0.5"),
        (GOOD + "arms:\n- {name: a, share: 1, kind: randm}\n", r":5: `arms.0.kind` is 'randm': did you mean `random`"),
        (GOOD + "arms:\n- {name: a, share: 1}\n", r":5: `arms.0.kind` is missing; one of .*gan"),
        (GOOD + "arms:\n- {name: a, share: 1, kind: random, moves: {}}\n", r":5: `arms.0.moves` is not a setting"),
        (GOOD + "arms:\n- {name: a, share: 1, kind: gan, noise_temprature: 2}\n", r"did you mean `noise_temperature`"),
        ("- a\n", r"a mapping of settings"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text, complaint):
    with pytest.raises(InputError, match=complaint):
        load_config(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("override", ["nonsense", "=1", "name.a=1", "seed=[", "sed=1"])
def test_a_bad_override_is_refused(tmp_path, override):
    with pytest.raises(InputError, match="--set"):
        load_config(write(tmp_path, GOOD), [override])


def test_no_is_a_word(tmp_path):
    assert load_config(write(tmp_path, GOOD.replace("x", "No"))).name == "No"


def test_keys_of_basin_hopping_are_checked(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: c\npotential: {gap: ruo2}\nbasin_hopping: {pavin: 0.0}\n")
    with pytest.raises(InputError, match="paving"):
        load_config(path)
    path.write_text("name: c\npotential: {gap: ruo2}\nbasin_hopping: {paving: -1.0}\n")
    with pytest.raises(InputError, match="must not be negative"):
        load_config(path)
    path.write_text("name: c\npotential: {gap: ruo2}\nbasin_hopping: {ladder: [-1.0, 0.0], paving: 0.0}\n")
    assert load_config(path).basin_hopping == {"ladder": [-1.0, 0.0], "paving": 0.0}


def test_a_campaign_that_recorded_every_key_for_every_arm_is_read(tmp_path):
    arms = "arms:\n- {name: a, kind: random, share: 1, composition: uniform, noise_temperature: 1.0, moves: {}}\n"
    path = write(tmp_path, GOOD + arms)
    (tmp_path / "campaign.yaml").write_text(path.read_text())
    (arm,) = load_recorded(tmp_path).arms
    assert arm.composition == "uniform"
    with pytest.raises(InputError, match="moves"):
        load_config(path)


def test_arms_go_by_their_names(tmp_path):
    arms = "arms: [{name: a, kind: random, share: 0.25}, {name: b, kind: hopping, share: 0.75}]\n"
    flat = result_changing(load_config(write(tmp_path, GOOD + arms)))
    assert (flat["arms.a.share"], flat["arms.b.share"], flat["arms.order"]) == (0.25, 0.75, ["a", "b"])
    assert flat["arms.b.moves.step_length"] == 1.2 and "arms" not in flat


def test_a_recorded_setting_that_is_unknown_is_named():
    recorded = {"name": "x", "potential": {"gap": "ruo2"}, "grid": {"sigmas": 1}}
    with pytest.raises(InputError, match=r"another version.*`grid\.sigmas`"):
        recorded_config(recorded)
