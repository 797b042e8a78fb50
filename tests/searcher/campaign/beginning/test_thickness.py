"""How thin a template may be: the thinnest that agrees with the thickest, and nothing that does not relax."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from rich.console import Console

from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.beginning.thickness import ThicknessRow, compare_thicknesses, thinnest
from searcher.campaign.campaign import open_campaign
from searcher.loading import load_config

SMALL = Path(__file__).parents[3] / "configs" / "small.yaml"


def test_the_thinnest_within_the_tolerance_is_taken():
    rows = [
        ThicknessRow(2.0, 6, {"a": 61.5, "b": 40.2}),
        ThicknessRow(5.0, 12, {"a": 60.4, "b": 40.1}),
        ThicknessRow(8.0, 18, {"a": 60.0, "b": 40.0}),
    ]
    assert thinnest(rows) is rows[1]
    assert thinnest(rows, tolerance=0.2) is rows[2]


def test_a_termination_that_is_missing_is_no_agreement():
    rows = [ThicknessRow(2.0, 6, {"a": 60.0}), ThicknessRow(5.0, 12, {"a": 60.0, "b": 40.0})]
    assert np.isinf(rows[0].largest_difference(rows[1])) and thinnest(rows) is rows[1]


@pytest.mark.slow
def test_templates_grow_and_surface_energies_settle(tmp_path):
    config = load_config(SMALL, [f"runs={tmp_path}", "execution.executor=inline"])
    campaign = open_campaign(config, Event())
    try:
        rows = compare_thicknesses(campaign, prepare(campaign, Console(quiet=True)), (2.0, 5.0, 5.1, 8.0))
    finally:
        campaign.close()
    frozen = [row.n_frozen for row in rows]
    assert frozen == sorted(set(frozen)) and len(rows) >= 2  # 5.0 and 5.1 Å make one template
    assert rows[-1].gamma and rows[-1].largest_difference(rows[-1]) == 0.0
    # the stand-in's forces end at 5 Å, so that beyond one more repeat nothing is felt
    assert rows[-2].largest_difference(rows[-1]) < 1.0
