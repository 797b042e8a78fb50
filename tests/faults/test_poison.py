"""Faults 6 to 8, 11 and 12 in a whole campaign: what is bad is set aside with a reason and the batch completes."""

from collections import Counter

import pytest
from campaign_processes import finish

from searcher.campaign.storage.candidate import Gate, Verdict
from searcher.campaign.storage.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def ledger_of(runs):
    return Ledger(runs / "tiny" / "campaign.db", read_only=True)


@pytest.fixture(scope="module")
def poisoned_size(tmp_path_factory):
    """A number of atoms that some relaxed proposals have and no seed has."""
    runs = tmp_path_factory.mktemp("whole")
    finish(runs)
    ledger = ledger_of(runs)
    sizes = Counter(len(ledger.structure(c.proposed)) for c in ledger.candidates(reached=Gate.SELECTED, iteration=0))
    seeds = {len(ledger.structure(c.proposed)) for c in ledger.candidates(iteration=-1)}
    (size, _), *_ = [found for found in sizes.most_common() if found[0] not in seeds]
    return size


@pytest.mark.parametrize(
    ("number", "how", "reasons", "attempts"),
    [
        (7, "crash", {"worker_died"}, 2),
        (6, "exit", {"worker_died"}, 2),
        (8, "hang", {"timeout"}, 2),
        (11, "hole", {"force_too_large"}, 1),
        (11, "nan", {"energy_not_finite"}, 1),
    ],
)
def test_a_poison_structure_is_set_aside_alone(tmp_path, poisoned_size, number, how, reasons, attempts, tell):
    (tmp_path / "deaths").mkdir()
    arguments = f'{{n_atoms: {poisoned_size}, how: {how}, folder: "{tmp_path / "deaths"}"}}'
    potential = f'potential={{import_path: "fragile_potential:FragileRuO", arguments: {arguments}}}'
    finish(tmp_path, potential, "execution={executor: local, workers: 2, deadline_s: 15, training_threads: 1}")
    ledger = ledger_of(tmp_path)
    relaxed = [c for c in ledger.candidates(reached=Gate.SELECTED) if c.iteration >= 0]
    poisoned = [c for c in relaxed if len(ledger.structure(c.proposed)) == poisoned_size]
    assert poisoned and {c.reason for c in poisoned} == reasons
    assert all(c.verdict in (Verdict.FAILED, Verdict.REJECTED) and c.passed == Gate.SELECTED for c in poisoned)
    assert len(list((tmp_path / "deaths").iterdir())) == attempts * len(poisoned)
    others = [c for c in relaxed if c not in poisoned]
    assert others and all(c.finished for c in others) and not {c.reason for c in others} & {"worker_died", "timeout"}
    tell(number, f"a structure whose force call {how}s" if how != "nan" else "an energy that is NaN", len(poisoned),
         f"set aside as {', '.join(reasons)} after {attempts} attempts; {len(others)} others judged")  # fmt: skip


def test_a_training_that_stays_nan_ends_with_6(tmp_path, tell):
    rates = "generator_rate: 1e38, critic_rate: 1e38"
    output = finish(tmp_path, f"training.settings={{steps: 4, batch_size: 4, {rates}}}", code=6)
    assert "is not finite" in output and "Traceback" not in output
    tell(12, "rates at which every loss is NaN", 1, "rolled back, then exit 6")
