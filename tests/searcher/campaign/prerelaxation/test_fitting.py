"""When a surrogate potential is fitted, and to what."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from rich.console import Console

from searcher.campaign.prerelaxation import fitting
from searcher.campaign.storage.candidate import Candidate, Gate
from searcher.config import CampaignConfig

QUIET = Console(quiet=True)


@dataclass
class Ledger:
    kept: dict[str, list] = field(default_factory=dict)
    stages: dict = field(default_factory=dict)

    def stage(self, iteration, name):
        return self.stages.get((iteration, name))

    def candidates(self, before, reached):
        return [Candidate("000-gan-00000", 0, "gan", 0, 0, passed=Gate.CONVERGED, proposed="slab")]

    def frames(self, potential):
        return self.kept.get(potential, [])

    def structure(self, key):
        return Atoms("RuO2", positions=np.eye(3), cell=[6, 6, 20], pbc=(1, 1, 0), tags=[0, 1, 1])


@dataclass
class Campaign:
    folder: Path
    ledger: Ledger
    potential_hash: str = "first"
    config: CampaignConfig = field(
        default_factory=lambda: CampaignConfig.model_validate(
            {
                "name": "fitting",
                "potential": {"gap": "ruo2"},
                "arms": [{"name": "gan", "kind": "gan", "share": 1.0}],
                "prerelaxation": {"on": True, "first_frames": 10, "frames": 20, "growth": 0.5},
            }
        )
    )

    def iteration_folder(self, iteration):
        return self.folder / f"{iteration:03d}"


def frames(n: int, force: float = 1.0) -> list:
    return [("000-gan-00000", call, -10.0, np.eye(3), np.full((3, 3), force)) for call in range(n)]


@pytest.fixture
def fitted(monkeypatch, tmp_path):
    """A campaign, and the data of every fit that it asked for."""
    data = []

    def fit(given, settings, out):
        data.append((given, settings))
        out.mkdir(parents=True)
        (out / "gap.xml").write_text("<GAP/>")
        return out / "gap.xml"

    monkeypatch.setattr(fitting, "fit", fit)
    return Campaign(tmp_path, Ledger()), data


def record(campaign, iteration):
    found = fitting._fitted(campaign, iteration, QUIET)
    campaign.ledger.stages[iteration, fitting.STAGE] = found
    return found


def test_it_waits_for_the_first_frames_and_then_for_their_growth(fitted):
    campaign, data = fitted
    for iteration, n, fits in ((0, 0, 0), (1, 9, 0), (2, 10, 1), (3, 14, 1), (4, 15, 2), (5, 15, 2)):
        campaign.ledger.kept["first"] = frames(n)
        found = record(campaign, iteration)
        assert len(data) == fits
        assert found["fitted_in"] == (None, None, 2, 2, 4, 4)[iteration]


def test_a_fit_leaves_out_what_is_violent_and_forces_that_nothing_follows(fitted):
    campaign, data = fitted
    campaign.ledger.kept["first"] = frames(30) + frames(30, force=100.0)
    assert record(campaign, 1)["frames"] == 30
    given, _ = data[0]
    slabs = [atoms for atoms in given if len(atoms) == 3]
    assert len(slabs) == 20  # no more than `frames`
    assert all(atoms.arrays["force_mask"].tolist() == [True, False, False] for atoms in slabs)
    assert {str(atoms.symbols) for atoms in given if len(atoms) == 1} == {"O", "Ru"}


def test_another_potential_is_learned_from_the_start(fitted):
    campaign, data = fitted
    campaign.ledger.kept["first"] = frames(100)
    assert record(campaign, 1)["fitted_in"] == 1
    campaign.potential_hash = "second"
    assert record(campaign, 2) == {"potential": "second", "frames": 0, "fitted_in": None, "seconds": 0.0}
    campaign.ledger.kept["second"] = frames(12)
    assert record(campaign, 3)["fitted_in"] == 3 and len(data) == 2
