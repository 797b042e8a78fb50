"""The commands of a potential follow one another: what one leaves is where the next looks for it."""

import re
from pathlib import Path

import pytest
from ase import Atoms

from relax.gap_fit import FitSettings
from relax.labelling import label, read_data, write_data
from relax.potential import check_files, gap_spec
from relax.references import References
from relax.surface_figures import FacetFigures, Labeller, SurfaceFigures, read_surface_figures, write_surface_figures
from searcher.errors import InputError
from searcher.potential_release import check_potential_set, fit_potential_set, label_potential_set, label_walks

ANALYTIC = "relax.analytic:AnalyticRuO"
SMALL = FitSettings(n_sparse={"O": 8, "Ru": 8}, n_max=4, l_max=2, pair_sparse=8)


def kept_by(path: Path, labeller: Labeller | None) -> Path:
    """Invented figures beside labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    references = References("made", 4.5, 3.1, 0.3, -22.0, -9.0, -9.7)
    facets = {"110": FacetFigures({"O-rich": 0.02}, {"O-rich": 2}, 20.0)}
    write_surface_figures(SurfaceFigures(references, facets, labeller), path)
    return path


@pytest.mark.parametrize(("path", "arguments"), [(ANALYTIC, {"label": "b"}), ("mine:Own", {"label": "a"})])
def test_two_labellers_share_no_folder(tmp_path: Path, path: str, arguments: dict[str, str]) -> None:
    kept = kept_by(tmp_path / "labeller.json", Labeller(ANALYTIC, {"label": "a"}))
    before = kept.read_bytes()
    both = re.escape(f"`{ANALYTIC}(label='a')`, but `{Labeller(path, arguments)}` is asked for")
    with pytest.raises(InputError, match=both):
        label_potential_set(1, path, arguments, tmp_path / "labels.jsonl", share=0.01)
    with pytest.raises(InputError, match=both):
        label_walks(1, "round", tmp_path / "gap.xml", path, arguments, tmp_path / "round.jsonl")
    assert kept.read_bytes() == before and not (tmp_path / "labels.jsonl").exists()


def test_labels_of_two_labellers_are_not_fitted_together(tmp_path: Path) -> None:
    tasks = [Atoms("O", cell=[9, 9, 9], pbc=True, info={"config_type": "isolated_atom", "family": "O"})]
    for name, labeller in (("one", Labeller(ANALYTIC, {})), ("two", Labeller("mine:Own", {}))):
        kept_by(tmp_path / name / "labeller.json", labeller)
        label(tasks, ANALYTIC, {}, tmp_path / name / "labels.jsonl")
    files = [tmp_path / name / "labels.jsonl" for name in ("one", "two")]
    with pytest.raises(InputError, match=r"`mine:Own\(\)`, but `relax.analytic:AnalyticRuO\(\)`"):
        fit_potential_set(files, tmp_path / "potential")
    assert not (tmp_path / "potential").exists()


def test_a_check_needs_frames_that_were_held_out(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    frame = Atoms("O", cell=[9, 9, 9], pbc=True, info={"config_type": "isolated_atom", "family": "O"})
    write_data([frame], tmp_path / "data" / "frames.extxyz.xz")
    with pytest.raises(InputError, match="has 1 frames, too few to hold a family out"):
        check_potential_set(tmp_path)


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
    assert figures.labeller == Labeller(ANALYTIC, {})
    assert set(figures.facets) == {"110"} and set(figures.facets["110"].gamma) >= {"O-poor", "stoichiometric", "O-rich"}

    # a fit to the frames that were kept has the labeller beside them
    again = fit_potential_set([xml.parent / "data" / "frames.extxyz.xz"], tmp_path / "again", SMALL)
    assert again.read_bytes() == xml.read_bytes()
    assert read_surface_figures(again.parent / "data" / "labeller.json") == figures
