"""The ledger: nothing half-written, nothing finished changes, damage is noticed."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from searcher.campaign.storage.candidate import Candidate, Gate, Verdict, candidate_id, slab, spawn_seed
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import StorageError


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.create(tmp_path / "campaign.db", {"name": "test"})
    yield ledger
    ledger.close()


def some_slab(height=3.0):
    positions = np.array([[0.0, 0.0, 1.0], [0.1, 0.2, height]])
    return slab(np.array([44, 8]), positions, np.diag([3.0, 4.0, 15.0]), 1)


def candidate(index=0, **changes):
    return replace(Candidate(candidate_id(0, "gan", index), 0, "gan", index, 7), **changes)


def test_a_structure_comes_back_to_the_bit(ledger):
    atoms = some_slab(1 / 3)
    stored = ledger.structure(ledger.put_structure(atoms))
    assert (stored.positions == atoms.positions).all() and (stored.numbers == atoms.numbers).all()
    assert (stored.cell.array == atoms.cell.array).all() and stored.pbc.tolist() == [True, True, False]
    assert stored.get_tags().tolist() == [0, 1] and stored.constraints[0].index.tolist() == [0]


def test_a_candidate_comes_back_equal(ledger):
    key = ledger.put_structure(some_slab())
    written = candidate(condition={"energy_class": 2}, proposed=key, passed=Gate.VALID, confidence=0.9)
    ledger.add_candidates([written])
    assert ledger.candidate(written.id) == written


def test_a_finished_candidate_cannot_change(ledger):
    ledger.add_candidates([candidate(verdict=Verdict.REJECTED, reason="known")])
    with pytest.raises(StorageError, match="cannot change"):
        ledger.update_candidate(candidate(verdict=Verdict.ACCEPTED))


def test_a_candidate_cannot_go_back_through_a_gate(ledger):
    ledger.add_candidates([candidate(passed=Gate.SELECTED)])
    with pytest.raises(StorageError, match="cannot go back"):
        ledger.update_candidate(candidate(passed=Gate.DECODED))


def test_a_failed_transaction_leaves_nothing(ledger):
    with pytest.raises(KeyError), ledger.transaction():
        ledger.add_candidates([candidate()])
        raise KeyError
    assert not ledger.candidates()


def test_a_flipped_bit_is_named_and_never_read(ledger, tmp_path):
    key = ledger.put_structure(some_slab())
    connection = sqlite3.connect(tmp_path / "campaign.db")
    (data,) = connection.execute("SELECT data FROM structure").fetchone()
    connection.execute("UPDATE structure SET data = ?", (bytes([data[0] ^ 1]) + data[1:],))
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match=key[:12]):
        ledger.structure(key)


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    path = tmp_path / "campaign.db"
    path.write_bytes(b"not a database, not at all" * 100)
    with pytest.raises(StorageError, match="not a readable ledger"):
        Ledger(path)


def test_the_funnel_counts_the_last_gate_passed(ledger):
    gates = [Gate.PROPOSED, Gate.VALID, Gate.CONVERGED, Gate.ACCEPTED]
    ledger.add_candidates([candidate(i, passed=gate, force_calls=10) for i, gate in enumerate(gates)])
    funnel = ledger.funnel("gan")
    assert [funnel[name] for name in ("proposed", "valid", "converged", "accepted")] == [4, 3, 2, 1]
    assert funnel["force_calls"] == 40


def test_seeds_depend_on_all_four_arguments():
    seeds = {spawn_seed(s, i, arm, n) for s in (1, 2) for i in (-1, 0, 1) for arm in ("a", "b") for n in (-1, 0, 1)}
    assert len(seeds) == 2 * 3 * 2 * 3
    assert spawn_seed(1, 0, "gan", 5) == spawn_seed(1, 0, "gan", 5)
