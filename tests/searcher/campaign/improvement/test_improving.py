"""A potential of a campaign is replaced only by one that is nowhere worse, and everything before stays as it was."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from ase import Atoms
from rich.console import Console
from unsure_potential import UnsureRuO

from relax.fitting.settings import FitSettings
from relax.labelling.frames import ENERGY_KEY, FORCES_KEY, write_data
from relax.potential import PotentialSpec
from relax.surface_figures import Labeller, read_surface_figures, write_surface_figures
from searcher.campaign import training_entry
from searcher.campaign.beginning.inputs import check_inputs
from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.campaign import Campaign, open_campaign
from searcher.campaign.driver import improve_run
from searcher.campaign.improvement.improving import IMPROVE, improve
from searcher.campaign.improvement.refit import Trial, labelled_frames, labeller_figures
from searcher.campaign.improvement.selection import farthest_points
from searcher.campaign.improvement.versions import potential_at
from searcher.campaign.loop import run_campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.snapshot import Snapshot, is_known, take_snapshot
from searcher.campaign.storage import verification
from searcher.config import CampaignConfig
from searcher.errors import InputError, StoppedOnRequest
from searcher.loading import dump_config, load_config
from searcher.results.classes import classes_record
from searcher.scoring.descriptors import LocalVectors
from searcher.structures.crystal import Crystal
from searcher.structures.faces import symmetric_slabs

ROOT = Path(__file__).parents[4]
TINY = ROOT / "tests" / "configs" / "tiny.yaml"
POTENTIAL = "unsure_potential:UnsureRuO"
WRONG, RIGHT = 1.05, 1.0
RANDOM = "[{name: random, kind: random, share: 1.0, composition: uniform, screening: {oversampling: 30}}]"


def right_labels() -> list[Atoms]:
    """Slabs labelled by the right strength; one in ten families is held out by its name."""
    (slab,) = (s for name, s in symmetric_slabs(Crystal("Ru"), thickness=3.0).items() if name == "stoichiometric")
    frames = []
    for index in range(30):
        frame = slab.copy()
        frame.positions += np.random.default_rng(index).normal(0, 0.05, frame.positions.shape)
        measured = frame.copy()
        measured.calc = UnsureRuO(RIGHT)
        frame.info = {"config_type": "slab", "family": f"f-{index}", ENERGY_KEY: measured.get_potential_energy()}
        frame.arrays[FORCES_KEY] = measured.get_forces()
        frames.append(frame)
    return frames


def settings(runs: Path, frames: Path) -> CampaignConfig:
    return load_config(
        TINY,
        [
            f"runs={runs}",
            f"potential.import_path={POTENTIAL}",
            f"potential.arguments={{strength: {WRONG}}}",
            f"arms={RANDOM}",
            "budget.iterations=1",
            "improve.labeller=relax.analytic:AnalyticRuO",
            "improve.structures=3",
            f"improve.data={frames}",
        ],
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of one iteration with what its labeller says of the faces, to be copied."""
    runs = tmp_path_factory.mktemp("finished")
    write_data(right_labels(), runs / "frames.extxyz.xz")
    campaign, problem = open_finished(settings(runs, runs / "frames.extxyz.xz"))
    labeller_figures(campaign, problem, campaign.config.improve)
    campaign.close()
    return campaign.folder


@pytest.fixture
def config(tmp_path: Path, finished: Path) -> CampaignConfig:
    shutil.copytree(finished, tmp_path / finished.name)
    return settings(tmp_path, finished.parent / "frames.extxyz.xz")


def right(trial: Trial) -> PotentialSpec:
    return PotentialSpec("calculator", import_path=POTENTIAL, arguments={"strength": RIGHT})


def still_worse(trial: Trial) -> PotentialSpec:
    return PotentialSpec("calculator", import_path=POTENTIAL, arguments={"strength": 1.2})


def open_finished(config: CampaignConfig) -> tuple[Campaign, SurfaceProblem]:
    campaign = open_campaign(config, Event())
    return campaign, run_campaign(campaign, Console(quiet=True), lambda *_: None)


def test_a_better_potential_is_taken_into_use_and_the_past_stays(config: CampaignConfig) -> None:
    campaign, problem = open_finished(config)
    first = campaign.potential_hash
    before = campaign.ledger.candidates()

    improved = improve(campaign, problem, 0, config.improve, Console(quiet=True), right)

    assert [(hashed, since) for _, hashed, since, _, _ in campaign.ledger.potentials()] == [
        (first, -1),
        (campaign.potential_hash, 1),
    ]
    assert campaign.ledger.candidates() == before
    assert (potential_at(campaign.ledger, 0), potential_at(campaign.ledger, 1)) == (first, campaign.potential_hash)
    assert improved.template.id == problem.template.id
    for candidate in filter(is_known, before):
        old = campaign.ledger.measured_energy(candidate.id, first)
        new = campaign.ledger.measured_energy(candidate.id, campaign.potential_hash)
        # equal positions, energies in the ratio of the strengths
        assert new / old == pytest.approx(RIGHT / WRONG, rel=1e-9)
        # γ is an energy difference over an area, and every reference scales too, but for O2's bond length
        ratio = campaign.line_of(candidate).gamma0 / candidate.measured_line.gamma0
        assert ratio == pytest.approx(RIGHT / WRONG, rel=1e-3)
    campaign.close()

    again, _ = open_finished(config)  # as after an interruption
    assert again.potential_hash != first
    lines = take_snapshot(again.ledger, 1, again.line_of).lines
    assert lines == {c.id: again.line_of(c) for c in before if is_known(c)}
    heights = [line.at(problem.delta_mu_o) for line in lines.values()]
    lowest = min(lines[c.id].at(problem.delta_mu_o) for c in before if c.id in lines and c.arm == "seed")
    middle = 1000 * ((min(heights) + max(heights)) / 2 - lowest)
    assert classes_record(again.ledger, "equal-width", 2)["new"]["edges"] == [round(middle, 2)], "by the new potential"
    assert verification.damage(again.folder, again.ledger) == []
    again.close()


def test_a_training_job_measures_the_past_by_the_potential_in_use(
    config: CampaignConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, problem = open_finished(config)
    improved = improve(campaign, problem, 0, config.improve, Console(quiet=True), right)
    with campaign.ledger.transaction():
        campaign.ledger.finish_stage(1, "plan", {})
    settings_file = campaign.folder / "campaign.yaml"
    settings_file.write_text(dump_config(load_config(settings_file, ["arms=[{name: gan, kind: gan, share: 1.0}]"])))

    def seen(job: Campaign, problem: SurfaceProblem, snapshot: Snapshot, *rest: object) -> None:
        assert problem.references == improved.references
        assert snapshot == take_snapshot(campaign.ledger, 1, campaign.line_of)
        raise StoppedOnRequest("as the driver sees it")

    monkeypatch.setattr(training_entry, "fit", seen)
    with pytest.raises(StoppedOnRequest, match="as the driver sees it"):
        training_entry.train_iteration(campaign.folder, 1, "gan", Event(), Console(quiet=True))
    campaign.close()


@pytest.mark.slow
def test_a_worse_potential_is_not_taken_and_says_why(config: CampaignConfig) -> None:
    campaign, problem = open_finished(config)
    first = campaign.potential_hash
    assert improve(campaign, problem, 0, config.improve, Console(quiet=True), still_worse) is problem
    recorded = campaign.ledger.stage(0, IMPROVE)
    assert recorded is not None
    assert recorded["adopted"] is False
    assert any(line.startswith("energy slab") for line in recorded["why"])
    assert (campaign.potential_hash, len(campaign.ledger.potentials())) == (first, 1)
    campaign.close()


@pytest.mark.slow
def test_an_interrupted_round_repeats_no_label_and_no_fit(config: CampaignConfig) -> None:
    campaign, problem = open_finished(config)

    def power_cut(trial: Trial) -> PotentialSpec:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        improve(campaign, problem, 0, config.improve, Console(quiet=True), power_cut)
    labels = campaign.folder / "iterations" / "000" / "improve" / "labels.jsonl"
    written = labels.read_bytes()
    fits = []

    def counted(trial: Trial) -> PotentialSpec:
        fits.append(len(trial.new))
        return right(trial)

    improve(campaign, problem, 0, config.improve, Console(quiet=True), counted)
    assert labels.read_bytes() == written
    assert fits == [len(written.splitlines())]
    improve(campaign, problem, 0, config.improve, Console(quiet=True), power_cut)  # recorded: nothing is done again
    campaign.close()


def test_by_hand_it_needs_an_iteration_and_a_labeller(config: CampaignConfig) -> None:
    young = config.model_copy(update={"name": "young"})
    campaign = open_campaign(young, Event())
    prepare(campaign, Console(quiet=True))
    campaign.close()
    with pytest.raises(InputError, match="no finished iteration"):
        improve_run(campaign.folder, {}, Console(quiet=True))
    with pytest.raises(InputError, match=r"improve\.labeller"):
        improve_run(config.runs / config.name, {"labeller": ""}, Console(quiet=True))
    with pytest.raises(InputError, match="greater than 0"):
        improve_run(config.runs / config.name, {"structures": 0}, Console(quiet=True))


def test_energies_of_two_labellers_are_not_joined(config: CampaignConfig, finished: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames.extxyz.xz"
    shutil.copyfile(finished.parent / frames.name, frames)
    figures = read_surface_figures(finished / "potentials" / "labeller.json")
    changes = {"data": frames}
    folder = config.runs / config.name
    told = tmp_path / "labeller.json"

    write_surface_figures(replace(figures, labeller=Labeller("relax.analytic:AnalyticRuO", {"strength": 2.0})), told)
    with pytest.raises(InputError, match=r"AnalyticRuO\(\)` *, but .*strength=2\.0.* labelled"):
        improve_run(folder, changes, Console(quiet=True))
    assert not (folder / "iterations" / "000" / "improve").exists(), "refused before anything is labelled"

    told.unlink()
    kept = folder / "potentials" / "labeller.json"
    write_surface_figures(replace(figures, labeller=Labeller("relax.analytic:AnalyticRuO", {"strength": 3.0})), kept)
    with pytest.raises(InputError, match=r"labeller\.json` holds the figures of .*strength=3\.0"):
        improve_run(folder, changes, Console(quiet=True))
    assert not (folder / "iterations" / "000" / "improve").exists(), "likewise"

    write_surface_figures(replace(figures, labeller=Labeller("relax.analytic:AnalyticRuO", {"device": "cuda"})), told)
    assert labelled_frames(None, config.improve.model_copy(update=changes)) == frames


def test_a_campaign_whose_labeller_does_not_fit_is_refused_at_once() -> None:
    config = load_config(
        ROOT / "configs" / "quickstart.yaml",
        ["improve={every: 1, labeller: 'sevenn.calculator:SevenNetCalculator', labeller_arguments: {model: 7net-0}}"],
    )
    with pytest.raises(InputError, match=r"the setting: `improve\.labeller` is .*7net-0.*7net-mf-0.* labelled"):
        check_inputs(config, lambda *_: "the setting")


def test_the_farthest_are_chosen_after_the_first() -> None:
    # unit vectors at 0°, 1°, 90°, 45°: κ grows with the angle
    angles = np.radians([0, 1, 90, 45])
    described = [
        (name, LocalVectors({"O": np.array([[np.cos(a), np.sin(a)]], dtype=np.float32)}, {"O": np.array([0])}))
        for name, a in zip("abcd", angles, strict=True)
    ]
    assert farthest_points(described, 3) == ["a", "c", "d"]
    assert farthest_points(described, 9) == ["a", "c", "d", "b"]
    assert farthest_points([], 2) == []


def test_settings_come_from_the_present_potential(tmp_path: Path) -> None:
    trial = Trial(tmp_path, PotentialSpec("gap", path=str(tmp_path / "gap.xml")), tmp_path, [], [], {"n_max": 5})
    (tmp_path / "settings.json").write_text(json.dumps({"settings": {"l_max": 3, "errors": {"slab": [1, 2, 3]}}}))
    assert (trial.settings.n_max, trial.settings.l_max) == (5, 3)
    # kinds of frames that the older fit did not know keep their default error
    assert {"slab": (1, 2, 3), "searched": FitSettings().errors["searched"]}.items() <= trial.settings.errors.items()
    with pytest.raises(InputError, match="n_maximum"):
        _ = replace(trial, fit_changes={"n_maximum": 5}).settings
