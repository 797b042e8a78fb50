"""The whole way with a real, tiny GAP: variances, labels, `gap_fit`, comparison and switch."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from ase import Atoms
from rich.console import Console

from relax.analytic import AnalyticRuO
from relax.gap_fit import FitSettings, fit, hold_out
from relax.labelling import ENERGY_KEY, FORCES_KEY, read_data, write_data
from searcher.campaign.campaign import open_campaign
from searcher.campaign.driver import improve_run
from searcher.campaign.improvement.improving import IMPROVE
from searcher.campaign.ledger import Ledger
from searcher.campaign.loop import run_campaign
from searcher.loading import load_config
from searcher.structures.crystal import Crystal
from searcher.structures.distorted_slabs import supercell, symmetric_slabs

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"
RANDOM = "[{name: random, kind: random, share: 1.0, composition: uniform, screening: {oversampling: 30}}]"


def _labelled(atoms: Atoms, kind: str, family: str) -> Atoms:
    measured = atoms.copy()
    measured.calc = AnalyticRuO()
    atoms.info = {"config_type": kind, "family": family, ENERGY_KEY: float(measured.get_potential_energy())}
    atoms.arrays[FORCES_KEY] = measured.get_forces()
    return atoms


def _frames() -> list[Atoms]:
    rng = np.random.default_rng(4)
    frames = [_labelled(Atoms([s], cell=[9, 9, 9], pbc=True), "isolated_atom", s) for s in ("O", "Ru")]
    for distance in np.arange(1.0, 2.4, 0.1):
        dimer = Atoms("O2", [[4, 4, 4], [4 + distance, 4, 4]], cell=[12, 9, 9], pbc=True)
        frames.append(_labelled(dimer, "molecule", "O2"))
    for index in range(12):
        crystal = Crystal("Ru").bulk()
        crystal.set_cell(crystal.cell.array * (1 + rng.uniform(-0.04, 0.04)), scale_atoms=True)
        crystal.positions += rng.normal(0, 0.06, crystal.positions.shape)
        frames.append(_labelled(crystal, "bulk", f"bulk-{index}"))
    slabs = symmetric_slabs(Crystal("Ru"), thickness=5.0)
    for index in range(36):
        slab = supercell(slabs[list(slabs)[index % len(slabs)]], "1x1")
        slab.positions += rng.normal(0, float(rng.uniform(0.02, 0.15)), slab.positions.shape)
        frames.append(_labelled(slab, "slab", f"slab-{index}"))
    return frames


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_gap_is_refitted_with_what_its_search_met(tmp_path: Path) -> None:
    settings = FitSettings(n_sparse={"O": 60, "Ru": 40}, n_max=5, l_max=3, pair_sparse=12)
    (tmp_path / "gap" / "data").mkdir(parents=True)
    write_data(_frames(), tmp_path / "gap" / "data" / "frames.extxyz.xz")
    xml = fit(hold_out(read_data(tmp_path / "gap" / "data" / "frames.extxyz.xz"))[0], settings, tmp_path / "gap")
    config = load_config(
        TINY,
        [
            f"runs={tmp_path}",
            f"potential={{gap: {xml}}}",
            f"arms={RANDOM}",
            "budget.iterations=1",
            "improve.labeller=relax.analytic:AnalyticRuO",
            "improve.structures=4",
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
    # both were measured on the same frames and faces, and what was decided follows from the figures
    assert recorded["before"].keys() == recorded["after"].keys()
    assert recorded["adopted"] == (not recorded["why"])
    assert len(ledger.potentials()) == 1 + recorded["adopted"]
    assert (campaign.folder / "iterations" / "000" / "improve" / "gap.xml").is_file()
    ledger.close()
