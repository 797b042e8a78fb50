"""The whole way with a real GAP: variances, labels, `gap_fit` at a tiny size, comparison, verdict."""

import shutil
from pathlib import Path
from threading import Event

import pytest
from rich.console import Console

from relax.labelling.frames import read_data, write_data
from relax.potential import gap_spec, potential_hash
from searcher.campaign.campaign import open_campaign
from searcher.campaign.driver import improve_run
from searcher.campaign.improvement.improving import IMPROVE
from searcher.campaign.loop import run_campaign
from searcher.campaign.storage.ledger import Ledger
from searcher.loading import load_config

TINY = Path(__file__).parents[3] / "configs" / "tiny.yaml"
RANDOM = "[{name: random, kind: random, share: 1.0, composition: uniform, screening: {oversampling: 30}}]"
SMALL_FIT = "{n_sparse: {O: 50, Ru: 40}, n_max: 4, l_max: 2, pair_sparse: 10}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_refit_that_is_too_small_is_made_measured_and_refused(tmp_path: Path) -> None:
    shipped = Path(gap_spec("ruo2").path)
    own = tmp_path / "gap"
    shutil.copytree(shipped.parent, own)
    frames = read_data(own / "data" / "frames.extxyz.xz")
    atoms_and_pairs = [a for a in frames if a.info["config_type"] in ("isolated_atom", "dimer", "molecule")]
    others = [a for a in frames if a.info["config_type"] not in ("isolated_atom", "dimer", "molecule")]
    write_data([*atoms_and_pairs, *others[::15]], own / "data" / "frames.extxyz.xz")
    # whoever labelled the shipped frames did not label the potential's own energies of the new ones
    (own / "data" / "labeller.json").unlink()
    spec = gap_spec(own / "gap.xml")
    labeller = f"{{path: {spec.path}, digest: '{potential_hash(spec)}'}}"
    config = load_config(
        TINY,
        [
            f"runs={tmp_path}",
            f"potential={{gap: {spec.path}}}",
            f"arms={RANDOM}",
            "budget.iterations=1",
            "improve.labeller=relax.potential:gap_calculator",
            f"improve.labeller_arguments={labeller}",
            "improve.structures=4",
            f"improve.fit={SMALL_FIT}",
            "execution.executor=local",
        ],
    )
    campaign = open_campaign(config, Event())
    run_campaign(campaign, Console(quiet=True), lambda *_: None)
    campaign.close()

    improve_run(campaign.folder, {}, Console(quiet=True))

    ledger = Ledger.of_run(campaign.folder)
    recorded, chosen = ledger.stage(0, IMPROVE), ledger.stage(0, f"{IMPROVE}:pick")
    assert recorded is not None
    assert chosen is not None
    # a GAP is nowhere without uncertainty
    assert min(chosen["deviations"].values()) > 0
    assert recorded["new_frames"] >= len(chosen["uncertain"]) > 0
    # the labeller is the potential in use, which therefore cannot be beaten by forty environments
    assert recorded["adopted"] is False
    assert any(line.startswith(("energy", "force")) for line in recorded["why"])
    assert recorded["before"].keys() == recorded["after"].keys()
    assert len(ledger.potentials()) == 1
    refused = gap_spec(campaign.folder / "iterations" / "000" / "improve" / "gap.xml")
    assert potential_hash(refused) == recorded["hash"]
    ledger.close()
