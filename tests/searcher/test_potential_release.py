"""The commands of a potential follow one another: what one leaves is where the next looks for it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from ase import Atoms

from relax.fitting.settings import FitSettings
from relax.labelling.frames import read_data, write_data
from relax.labelling.labels import label
from relax.oxide import RUO2, Oxide
from relax.potential import check_files, gap_spec
from relax.references import References
from relax.surface_figures import FacetFigures, Labeller, SurfaceFigures, read_surface_figures, write_surface_figures
from searcher.errors import InputError
from searcher.labelled_oxide import asked_oxide
from searcher.potential_release import (
    check_potential_set,
    fit_potential_set,
    label_potential_set,
    label_small_cells,
    label_walks,
)

ANALYTIC = "relax.analytic:AnalyticRuO"
SMALL = FitSettings(n_sparse={"O": 8, "Ru": 8}, n_max=4, l_max=2, pair_sparse=8)


def kept_by(path: Path, labeller: Labeller | None, oxide: Oxide = RUO2) -> Path:
    """Invented figures beside labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    references = References("made", 4.5, 3.1, 0.3, -22.0, -9.0, -9.7)
    facets = {"110": FacetFigures({"O-rich": 0.02}, {"O-rich": 2}, 20.0)}
    write_surface_figures(SurfaceFigures(references, facets, labeller, oxide), path)
    return path


@pytest.mark.parametrize(("path", "arguments"), [(ANALYTIC, {"label": "b"}), ("mine:Own", {"label": "a"})])
def test_two_labellers_share_no_folder(tmp_path: Path, path: str, arguments: dict[str, str]) -> None:
    kept = kept_by(tmp_path / "labeller.json", Labeller(ANALYTIC, {"label": "a"}))
    before = kept.read_bytes()
    both = re.escape(f"`{ANALYTIC}(label='a')`, but `{Labeller(path, arguments)}` is asked for")
    with pytest.raises(InputError, match=both):
        label_potential_set(1, Labeller(path, arguments), tmp_path / "labels.jsonl", share=0.01)
    with pytest.raises(InputError, match=both):
        label_walks(1, "round", tmp_path / "gap.xml", Labeller(path, arguments), tmp_path / "round.jsonl")
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


def test_two_oxides_share_no_folder(tmp_path: Path) -> None:
    kept_by(tmp_path / "labeller.json", Labeller(ANALYTIC, {}))
    iridium = Oxide("Ir", metal_structure="fcc")
    said = "is of RuO2 with hcp Ru, but IrO2 with fcc Ir is asked for"
    with pytest.raises(InputError, match=said):
        label_potential_set(1, Labeller(ANALYTIC, {}), tmp_path / "labels.jsonl", asked=iridium)
    with pytest.raises(InputError, match=said):
        label_small_cells(1, "dft", 1, Labeller("mine:Own", {}), tmp_path / "dft.jsonl", asked=iridium)
    # a walker of another oxide than what is beside the labels
    kept_by(tmp_path / "potential" / "data" / "labeller.json", Labeller(ANALYTIC, {}), iridium)
    with pytest.raises(InputError, match=said):
        walker = tmp_path / "potential" / "gap.xml"
        label_walks(1, "round", walker, Labeller(ANALYTIC, {}), tmp_path / "round.jsonl")


def test_figures_without_an_oxide_are_of_ruo2(tmp_path: Path) -> None:
    path = kept_by(tmp_path / "labeller.json", None)
    older = json.loads(path.read_text())
    del older["oxide"]
    path.write_text(json.dumps(older))
    assert read_surface_figures(path).oxide == RUO2 == Oxide("Ru", 4.548, 3.137, 0.3056, "hcp")


def test_a_check_needs_labelling_that_ended(tmp_path: Path) -> None:
    frames = [
        Atoms("O", cell=[9, 9, 9], pbc=True, info={"config_type": "slab", "family": f"family-{number}"})
        for number in range(60)  # one in ten is held out
    ]
    (tmp_path / "data").mkdir()
    write_data(frames, tmp_path / "data" / "frames.extxyz.xz")
    kept = read_surface_figures(kept_by(tmp_path / "data" / "labeller.json", Labeller(ANALYTIC, {})))
    write_surface_figures(replace(kept, facets={}), tmp_path / "data" / "labeller.json")
    with pytest.raises(InputError, match="labelling had not ended"):
        check_potential_set(tmp_path)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("Qq", None, None, None, None), "`--metal` is 'Qq'"),
        (("Ir", None, None, None, "diamond"), "`--metal-structure` is 'diamond' but must be one of hcp, fcc, bcc"),
        (("Ir", 45.1, None, None, None), "`--a` is 45.1 but a rutile crystal has 3 < a < 7"),
    ],
)
def test_an_impossible_oxide_is_refused(options: tuple, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        asked_oxide(*options)


def test_what_is_not_asked_is_as_ruo2_has_it() -> None:
    assert asked_oxide(None, None, None, None, None) is None
    assert asked_oxide("Ir", 4.51, None, None, None) == Oxide("Ir", 4.51, RUO2.c, RUO2.u, "fcc")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The implementation of `fixcm=True`")  # as the shipped labels were made
def test_a_fit_keeps_frames_and_labeller_where_the_check_looks(tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    analytic = Labeller(ANALYTIC, {})
    report = label_potential_set(1, analytic, labels, processes=1, share=0.01)
    assert label_potential_set(1, analytic, labels, processes=1, share=0.01).known == report.labelled
    xml = fit_potential_set([labels], tmp_path / "potential", SMALL)
    check_files(gap_spec(xml))
    assert len(read_data(xml.parent / "data" / "frames.extxyz.xz")) == report.frames
    figures = read_surface_figures(xml.parent / "data" / "labeller.json")
    assert figures.labeller == analytic and figures.oxide.metal == "Ru"
    lattice = figures.references
    # the structures stand on the labeller's own lattice, to the digits that are recorded
    assert (figures.oxide.a, figures.oxide.c) == pytest.approx((lattice.a, lattice.c), abs=6e-4)
    assert set(figures.facets) == {"110"} and set(figures.facets["110"].gamma) >= {"O-poor", "stoichiometric", "O-rich"}

    # a fit to the frames that were kept has the labeller beside them
    again = fit_potential_set([xml.parent / "data" / "frames.extxyz.xz"], tmp_path / "again", SMALL)
    assert again.read_bytes() == xml.read_bytes()
    assert read_surface_figures(again.parent / "data" / "labeller.json") == figures
