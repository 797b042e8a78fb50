"""The training set is a pure, balanced function of a snapshot."""

import numpy as np
import pytest

from searcher.campaign.arms.training_set import select_training_set
from searcher.campaign.snapshot import KnownTermination, Snapshot
from searcher.scoring.thermodynamics import Line
from searcher.structures.crystal import Crystal
from searcher.structures.templates import build_template, seed_structures

TEMPLATE = build_template(Crystal(), "110", (1, 1))
SEEDS = seed_structures(Crystal(), "110", (1, 1))
STORE = {label.removeprefix("110-"): atoms for label, atoms in SEEDS.items()}


def known(name, arm="seed", accepted=False, path=(), gamma=0.0, novel=False):
    return KnownTermination(f"prep-{name}", arm, name, Line(gamma, 0.0), 0, accepted, tuple(path), novel)


def select(*terminations, arms=("gan",), snapshots=4, largest=100.0, valid=lambda atoms: True, learned="accepted"):
    return select_training_set(
        Snapshot(0, terminations),
        STORE.__getitem__,
        TEMPLATE,
        lambda line: int(line.gamma0 > 0.05),
        valid,
        arms,
        snapshots,
        largest,
        learned,
    )


def test_seeds_are_learned_from_with_their_oxygen_count():
    records = select(known("O-poor"), known("O-rich"))
    assert [r.condition["n_oxygen"] for r in records] == [3, 5]


def test_only_accepted_structures_of_feeding_arms_are_learned_from():
    rejected, accepted = known("O-poor", "gan"), known("O-rich", "gan", accepted=True)
    control = known("stoichiometric", "random", accepted=True)
    assert [r.condition["n_oxygen"] for r in select(rejected, accepted, control)] == [5]


def test_what_was_new_but_too_high_is_learned_from_on_request():
    novel, again = known("O-poor", "gan", novel=True), known("O-rich", "gan")
    control = known("stoichiometric", "random", novel=True)
    assert select(novel, again, control) == []
    assert [r.condition["n_oxygen"] for r in select(novel, again, control, learned="novel")] == [3]


def test_snapshots_carry_their_own_gamma_and_late_ones_come_first():
    # 4 eV over the cell's 19.75 Å² is far above the class edge of 0.05 eV/Å²
    steps = [("O-poor", 4.0), ("O-rich", 0.1)]
    records = select(known("stoichiometric", path=steps), snapshots=1)
    assert [(r.condition["n_oxygen"], r.condition["energy_class"]) for r in records] == [(4, 0), (5, 0)]
    assert select(known("stoichiometric", path=steps))[2].condition["energy_class"] == 1


def test_every_class_and_oxygen_count_has_the_same_weight_in_all():
    records = select(*(known("O-rich") for _ in range(5)), known("O-poor"))
    totals = {}
    for record in records:
        key = tuple(record.condition.values())
        totals[key] = totals.get(key, 0.0) + record.weight
    assert len(totals) == 2 and np.ptp(list(totals.values())) == pytest.approx(0.0)


def test_no_weight_exceeds_the_largest():
    records = select(*(known("O-rich") for _ in range(30)), known("O-poor"), largest=2.0)
    assert max(r.weight for r in records) == 2.0


def test_structures_outside_the_free_range_are_left_out(monkeypatch):
    lifted = STORE["O-rich"].copy()
    lifted.positions[-1, 2] = TEMPLATE.free_ceiling + 0.1
    monkeypatch.setitem(STORE, "lifted", lifted)
    assert select(known("lifted")) == []


def test_what_would_be_rejected_as_a_proposal_is_not_learned_from():
    steps = [("O-poor", 4.0), ("O-rich", 0.1)]
    records = select(known("stoichiometric", path=steps), valid=lambda atoms: atoms is not STORE["O-rich"])
    assert [r.condition["n_oxygen"] for r in records] == [4, 3]


def test_the_hash_of_a_snapshot_follows_its_content():
    one, two = Snapshot(0, (known("O-poor"),)), Snapshot(0, (known("O-poor", gamma=1e-9),))
    assert one.hash != two.hash and one.hash == Snapshot(0, (known("O-poor"),)).hash
