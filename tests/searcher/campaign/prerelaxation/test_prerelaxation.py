"""A surrogate potential that is fitted, used, found again and missed; control arms do without it."""

from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from searcher.campaign import stages
from searcher.campaign.beginning.preparation import prepare
from searcher.campaign.campaign import Campaign, open_campaign
from searcher.campaign.loop import run_campaign
from searcher.campaign.prerelaxation.fitting import STAGE
from searcher.campaign.prerelaxation.relaxing import REASON
from searcher.campaign.prerelaxation.waiting import begun, of_arm
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.relaxing import relax_candidates
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.storage.verification import damage, digest
from searcher.errors import EnvironmentProblem, StoppedOnRequest
from searcher.loading import load_config
from searcher.scoring.known_set import KnownSet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[4]
ON = (
    "prerelaxation={on: true, first_frames: 10, frames: 40, growth: 100, candidates: 12}",
    "prerelaxation.sparse_oxygen=60",
    "prerelaxation.sparse_metal=20",
    "arms=[{name: random, kind: random, share: 0.6, composition: uniform, screening: {oversampling: 120}}, "
    "{name: control, kind: random, share: 0.4, composition: uniform, feeds_training: false, "
    "screening: {oversampling: 30, known_basins: false, surrogate: false}}]",
    "execution.executor=local",
    "execution.workers=1",
)


def run(folder: Path, iterations: int = 2) -> Path:
    config = load_config(ROOT / "tests/configs/tiny.yaml", [f"runs={folder}", *ON, f"budget.iterations={iterations}"])
    campaign = open_campaign(config, Event())
    try:
        run_campaign(campaign, Console(quiet=True), lambda *_: None)
        return campaign.folder
    finally:
        campaign.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("prerelaxed"))


def test_the_first_iteration_teaches_it_and_the_second_uses_it(finished: Path) -> None:
    with closing(Ledger(finished / "campaign.db", read_only=True)) as ledger:
        first, second = ledger.stage(0, STAGE), ledger.stage(1, STAGE)
        assert first is not None and second is not None
        assert (first["fitted_in"], second["fitted_in"]) == (None, 1)
        of_control = {c.id for c in ledger.candidates(arm="control")}
        kept = [f for f in ledger.frames(str(ledger.fact("potential"))) if f[0] not in of_control]
        before = {c.id for c in ledger.candidates(before=1)}
        assert second["frames"] == sum(name in before for name, *_ in kept)
        reasons = {arm: {c.reason for c in ledger.candidates(iteration=1, arm=arm)} for arm in ("random", "control")}
        assert not any(str(reason).startswith(REASON) for reason in reasons["control"])
        assert damage(finished, ledger) == []


def test_nothing_is_begun_in_it_that_begins_like_something_of_an_earlier_wave(finished: Path) -> None:
    config = load_config(ROOT / "tests/configs/tiny.yaml", [f"runs={finished.parent}", *ON])
    campaign = open_campaign(config, Event())
    try:
        problem = prepare(campaign, Console(quiet=True))
        waves = [begun(campaign, 1, number) for number in range(100)]
        assert sum(len(wave) > 0 for wave in waves) > 1
        assert not campaign.ledger.candidates(verdict=Verdict.OPEN)
        known, reach = KnownSet(), config.acceptance.kappa_min * config.arms[0].screening.reach
        for wave in waves:
            structures = {one.start: campaign.ledger.structure(one.start) for one in wave}
            described = campaign.fingerprints.of_free(structures, problem.template.n_frozen)
            assert all(kappa > reach for kappa, _ in known.nearest(list(described.values())))
            for key, vectors in described.items():
                known.add(key, vectors, 0.0)
    finally:
        campaign.close()


def test_its_starts_are_nearer_to_minima_than_those_of_the_control(finished: Path) -> None:
    with closing(Ledger(finished / "campaign.db", read_only=True)) as ledger:
        moved = {}
        for arm in ("random", "control"):
            relaxed = ledger.candidates(iteration=1, arm=arm, reached=Gate.CONVERGED)
            pairs = [(ledger.structure(str(c.proposed)), ledger.structure(str(c.relaxed))) for c in relaxed]
            moved[arm] = np.mean([np.abs(a.positions - b.positions).max() for a, b in pairs])
    assert moved["random"] < moved["control"]


def test_it_is_taken_up_where_it_was(finished: Path, tmp_path: Path) -> None:
    first = run(tmp_path, 1)
    assert run(tmp_path, 2) == first
    digests = []
    for folder in (first, finished):
        with closing(Ledger(folder / "campaign.db", read_only=True)) as ledger:
            digests.append(digest(ledger))
    assert digests[0] == digests[1]


def test_it_is_taken_up_in_the_middle_of_an_iteration(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def relax_and_stop(campaign: Campaign, problem: SurfaceProblem, candidates: list[Candidate], *others: Any) -> None:
        relax_candidates(campaign, problem, candidates, *others)
        if candidates[0].iteration == 1 and of_arm(campaign, 1, "random"):
            campaign.stop.set()

    with monkeypatch.context() as patched:
        patched.setattr(stages, "relax_candidates", relax_and_stop)
        with pytest.raises(StoppedOnRequest):
            run(tmp_path)
    (folder,) = (path.parent for path in tmp_path.glob("*/campaign.db"))
    with closing(Ledger(folder / "campaign.db", read_only=True)) as ledger:
        assert [c for c in ledger.candidates(verdict=Verdict.OPEN) if c.passed == Gate.VALID]
    run(tmp_path)
    digests = []
    for one in (folder, finished):
        with closing(Ledger(one / "campaign.db", read_only=True)) as ledger:
            digests.append(digest(ledger))
    assert digests[0] == digests[1]


def test_a_surrogate_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = run(tmp_path)
    (xml,) = folder.glob("iterations/001/surrogate/gap.xml")
    xml.write_text(xml.read_text().replace('label="GAP"', 'label="GAQ"', 1))
    with closing(Ledger(folder / "campaign.db", read_only=True)) as ledger:
        assert any("surrogate" in complaint and "does not match" in complaint for complaint in damage(folder, ledger))
    with pytest.raises(EnvironmentProblem, match="gone or was changed"):
        run(tmp_path, 3)
