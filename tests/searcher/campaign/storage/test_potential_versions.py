"""A campaign works with its own copy of the potential, whose versions follow one another and never change."""

from pathlib import Path
from threading import Event

import pytest

from relax.potential import PotentialSpec, gap_spec, potential_hash
from searcher.campaign.campaign import open_campaign
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.storage.potential_versions import add_version, current, versions
from searcher.campaign.storage.verification import damage
from searcher.errors import EnvironmentProblem
from searcher.loading import load_config

TINY = Path(__file__).parents[3] / "configs" / "tiny.yaml"
GAP = """<GAP label="{label}"><GAP_params><gpSparse><gpCoordinates>
<descriptor>distance_2b Z1=44 Z2=8</descriptor><per_type_data type="1" atomic_num="8"/>
<per_type_data type="2" atomic_num="44"/><sparseX sparseX_filename="{name}"/>
</gpCoordinates></gpSparse></GAP_params></GAP>"""


def gap(folder, label):
    """Files that hash like a GAP's; nothing here asks them for energies."""
    folder.mkdir()
    (folder / f"mine.sparseX.{label}").write_text("1.0\n")
    (folder / "mine.xml").write_text(GAP.format(label=label, name=f"mine.sparseX.{label}"))
    return gap_spec(folder / "mine.xml")


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.create(tmp_path / "campaign.db", {})
    yield ledger
    ledger.close()


def test_versions_follow_one_another_and_repeating_one_changes_nothing(ledger, tmp_path):
    specs = [gap(tmp_path / "one", "one"), PotentialSpec("calculator", import_path="relax.analytic:AnalyticRuO")]
    for number, (spec, since) in enumerate(zip(specs, (-1, 3), strict=True)):
        for _ in range(2):
            version = add_version(tmp_path, ledger, spec, since, {"fitted_in": since})
            assert (version.number, version.since, version.record) == (number, since, {"fitted_in": since})
            assert version.hash == potential_hash(version.spec) == potential_hash(spec)
            assert version == current(tmp_path, ledger)
    assert [version.number for version in versions(tmp_path, ledger)] == [0, 1]
    with pytest.raises(EnvironmentProblem, match="earlier version"):
        add_version(tmp_path, ledger, specs[0], 4, {})


def test_the_copy_lives_without_the_original(ledger, tmp_path):
    add_version(tmp_path, ledger, gap(tmp_path / "one", "one"), -1, {})
    for path in (tmp_path / "one").iterdir():
        path.unlink()
    version = current(tmp_path, ledger)
    assert Path(version.spec.path) == tmp_path / "potentials" / "000" / "gap.xml"


def test_what_a_killed_call_left_behind_is_replaced(ledger, tmp_path):
    left = tmp_path / "potentials" / "000"
    left.mkdir(parents=True)
    (left / "gap.xml").write_text("half of an")
    add_version(tmp_path, ledger, gap(tmp_path / "one", "one"), -1, {})
    assert current(tmp_path, ledger).number == 0


@pytest.mark.fault(17, "the campaign's copy of the potential changed or removed", "refused, and named by `verify`")
@pytest.mark.parametrize("name", ["gap.xml", "mine.sparseX.one"])
@pytest.mark.parametrize("change", ["changed", "removed"])
def test_a_copy_that_was_touched_is_refused_and_named(ledger, tmp_path, name, change):
    add_version(tmp_path, ledger, gap(tmp_path / "one", "one"), -1, {})
    path = tmp_path / "potentials" / "000" / name
    path.write_text(path.read_text() + "\n") if change == "changed" else path.unlink()
    with pytest.raises(EnvironmentProblem, match=r"changed behind|missing|does not exist"):
        current(tmp_path, ledger)
    (line,) = damage(tmp_path, ledger)
    assert "potentials/000" in line


def config(tmp_path):
    return load_config(TINY, [f"runs={tmp_path}", f'potential={{gap: "{tmp_path}/one/mine.xml"}}'])


def test_a_campaign_goes_on_with_its_copy_when_the_original_is_gone_and_refuses_one_that_changed(tmp_path):
    spec = gap(tmp_path / "one", "one")
    campaign = open_campaign(config(tmp_path), Event())
    started = campaign.potential
    assert Path(started.path).parent == tmp_path / "tiny" / "potentials" / "000"
    campaign.close()
    text = Path(spec.path).read_text()
    Path(spec.path).unlink()
    campaign = open_campaign(config(tmp_path), Event())
    assert campaign.potential == started
    campaign.close()
    Path(spec.path).write_text(text + "\n")
    with pytest.raises(EnvironmentProblem, match="changed behind its back"):
        open_campaign(config(tmp_path), Event())


def test_a_campaign_uses_its_last_version(tmp_path):
    gap(tmp_path / "one", "one")
    campaign = open_campaign(config(tmp_path), Event())
    added = add_version(campaign.folder, campaign.ledger, gap(tmp_path / "two", "two"), 1, {"labels": 20})
    campaign.close()
    campaign = open_campaign(config(tmp_path), Event())
    assert (campaign.potential, campaign.potential_hash) == (added.spec, added.hash)
    campaign.close()
