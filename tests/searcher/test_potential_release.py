"""The commands of a potential follow one another: what one leaves is where the next looks for it."""

from pathlib import Path

import pytest

from relax.gap_fit import FitSettings
from relax.labelling import read_data
from relax.potential import check_files, gap_spec
from relax.surface_figures import read_surface_figures
from searcher.potential_release import fit_potential_set, label_potential_set

ANALYTIC = "relax.analytic:AnalyticRuO"
SMALL = FitSettings(n_sparse={"O": 8, "Ru": 8}, n_max=4, l_max=2, pair_sparse=8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The implementation of `fixcm=True`")  # as the shipped labels were made
def test_a_fit_keeps_frames_and_labeller_where_the_check_looks(tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    report = label_potential_set(1, ANALYTIC, {}, labels, processes=1, share=0.01)
    assert label_potential_set(1, ANALYTIC, {}, labels, processes=1, share=0.01).known == report.labelled
    xml = fit_potential_set([labels], tmp_path / "potential", SMALL)
    check_files(gap_spec(xml))
    assert len(read_data(xml.parent / "data" / "frames.extxyz.xz")) == report.frames
    figures = read_surface_figures(xml.parent / "data" / "labeller.json")
    assert set(figures.facets) == {"110"} and set(figures.facets["110"].gamma) >= {"O-poor", "stoichiometric", "O-rich"}

    # a fit to the frames that were kept has the labeller beside them
    again = fit_potential_set([xml.parent / "data" / "frames.extxyz.xz"], tmp_path / "again", SMALL)
    assert again.read_bytes() == xml.read_bytes()
    assert read_surface_figures(again.parent / "data" / "labeller.json") == figures
