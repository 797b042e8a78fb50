"""Faults 14 to 16: files cut anywhere and flipped bits are repaired or refused by name, never silently short."""

import random
import shutil
import sqlite3

import numpy as np
import pytest
import torch
from campaign_processes import call

from generators.training.checkpoint import (
    WeightsError,
    load_last_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from searcher.campaign.storage import verification
from searcher.campaign.storage.candidate import Candidate, candidate_id, slab
from searcher.campaign.storage.ledger import Ledger
from searcher.errors import StorageError

N_TRANSACTIONS = 30


def write(ledger, index):
    positions = np.array([[0.0, 0.0, 1.0], [0.1, 0.2, 3.0 + index / 7]])
    key = ledger.put_structure(slab(np.array([44, 8]), positions, np.diag([3.0, 4.0, 15.0]), 1))
    ledger.add_candidates([Candidate(candidate_id(0, "gan", index), 0, "gan", index, 7, proposed=key)])


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """Files of a ledger whose driver was killed: half of the transactions are still in the write-ahead log."""
    folder = tmp_path_factory.mktemp("ledger")
    ledger = Ledger.create(folder / "campaign.db", {"potential": "p"})
    for index in range(N_TRANSACTIONS):
        with ledger.transaction():
            write(ledger, index)
        if index == N_TRANSACTIONS // 2:
            ledger._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    copy = tmp_path_factory.mktemp("crashed")
    for path in folder.iterdir():
        shutil.copy(path, copy)
    ledger.close()
    assert (copy / "campaign.db-wal").stat().st_size > 0
    return copy


def opened(folder, read_only):
    """How many candidates a ledger shows, or the complaint; structures are read too."""
    try:
        ledger = Ledger(folder / "campaign.db", read_only=read_only)
    except StorageError as error:
        return str(error)
    try:
        found = verification.damage(folder, ledger)
        return "; ".join(found) if found else len(ledger.candidates())
    except sqlite3.DatabaseError as error:  # the command line tells it and ends with code 5
        return f"campaign.db: {error}"
    finally:
        ledger.close()


@pytest.mark.parametrize("name", ["campaign.db-wal", "campaign.db"])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_ledger_cut_at_any_length_is_whole_or_refused_by_name(crashed, tmp_path, name, read_only, amount, tell):
    size = (crashed / name).stat().st_size
    instants = random.Random(5)
    lengths = sorted({0, 1, 100, size - 1, *(instants.randrange(size) for _ in range(amount(12, 1000)))})
    refused = 0
    for length in lengths:
        folder = tmp_path / str(length)
        shutil.copytree(crashed, folder)
        with (folder / name).open("r+b") as stream:
            stream.truncate(length)
        found = opened(folder, read_only)
        refused += isinstance(found, str)
        # a log without its last, unfinished bytes may still hold everything
        assert found == N_TRANSACTIONS or (isinstance(found, str) and "campaign" in found), (length, found)
        shutil.rmtree(folder)
    assert refused
    tell(15, f"{name} cut, opened {'to read' if read_only else 'to write'}", len(lengths), f"{refused} refused by name")


@pytest.mark.parametrize("read_only", [True, False])
def test_a_cut_count_of_transactions_hides_no_cut_log(crashed, tmp_path, read_only, amount, tell):
    count, log = (crashed / name for name in ("campaign.commits", "campaign.db-wal"))
    lengths = range(0, log.stat().st_size, amount(20_000, 1000))
    kept = [None, *range(len(count.read_bytes()))]
    for length in lengths:
        for left in kept:
            folder = tmp_path / f"{length}-{left}"
            shutil.copytree(crashed, folder)
            with (folder / log.name).open("r+b") as stream:
                stream.truncate(length)
            (folder / count.name).unlink()
            if left is not None:
                (folder / count.name).write_bytes(count.read_bytes()[:left])
            found = opened(folder, read_only)
            assert isinstance(found, str) and "campaign.commits` is missing or damaged" in found, (length, left, found)
            shutil.rmtree(folder)
    result = "refused by name"
    tell(15, "campaign.commits cut or lost, and the log cut with it", len(lengths) * len(kept), result)


@pytest.mark.parametrize("left", [None, 0, 1, 20])
def test_a_cut_count_of_transactions_is_repaired_on_request(crashed, tmp_path, left):
    folder = tmp_path / "cut"
    shutil.copytree(crashed, folder)
    (folder / "campaign.db-wal").unlink()
    whole = (folder / "campaign.commits").read_bytes()
    (folder / "campaign.commits").unlink()
    if left is not None:
        (folder / "campaign.commits").write_bytes(whole[:left])
    ledger = Ledger(folder / "campaign.db", accept_loss=True)
    assert ledger.accept_loss() is None  # nobody can tell how many
    ledger.close()
    n = opened(folder, True)
    assert 0 < n < N_TRANSACTIONS
    again = Ledger(folder / "campaign.db")
    with again.transaction():
        write(again, n)
    again.close()
    assert opened(folder, True) == n + 1


def test_a_ledger_says_from_its_first_moment_how_much_it_holds(tmp_path):
    Ledger.create(tmp_path / "campaign.db", {"potential": "p"}).close()
    assert opened(tmp_path, True) == 0
    (tmp_path / "campaign.commits").unlink()
    assert "is missing or damaged" in opened(tmp_path, True)


def test_a_lost_log_is_refused_and_repaired_on_request(crashed, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(crashed, folder)
    (folder / "campaign.db-wal").unlink()
    with pytest.raises(StorageError, match="searcher repair"):
        Ledger(folder / "campaign.db")
    ledger = Ledger(folder / "campaign.db", accept_loss=True)
    lost = ledger.accept_loss()
    assert 0 < lost == N_TRANSACTIONS - len(ledger.candidates())
    ledger.close()
    again = Ledger(folder / "campaign.db")
    with again.transaction():
        write(again, N_TRANSACTIONS - lost)
    again.close()
    assert opened(folder, True) == N_TRANSACTIONS - lost + 1


def test_one_flipped_bit_in_any_structure_is_named(crashed, tmp_path, amount, tell):
    folder = tmp_path / "flipped"
    shutil.copytree(crashed, folder)
    keys = [key for (key,) in sqlite3.connect(folder / "campaign.db").execute("SELECT key FROM structure ORDER BY key")]
    draws = random.Random(11)
    n = amount(10, 300)
    for _ in range(n):
        key = draws.choice(keys)
        connection = sqlite3.connect(folder / "campaign.db")
        (data,) = connection.execute("SELECT data FROM structure WHERE key = ?", (key,)).fetchone()
        damaged = bytearray(data)
        damaged[draws.randrange(len(data))] ^= 1 << draws.randrange(8)
        connection.execute("UPDATE structure SET data = ? WHERE key = ?", (bytes(damaged), key))
        connection.commit()
        ledger = Ledger(folder / "campaign.db", read_only=True)
        with pytest.raises(StorageError, match=key[:12]):
            ledger.structure(key)
        assert [key[:12] in text for text in verification.damage(folder, ledger)] == [True]
        ledger.close()
        connection.execute("UPDATE structure SET data = ? WHERE key = ?", (data, key))
        connection.commit()
        connection.close()
    tell(16, "one bit flipped in a stored structure", n, "named by `verify`, never read")


def test_a_structure_is_read_as_its_checksum_says_and_a_lost_one_is_named(tmp_path):
    ledger = Ledger.create(tmp_path / "campaign.db", {"potential": "p"})
    for index in range(3):
        with ledger.transaction():
            write(ledger, index)
    first, second, third = (str(c.proposed) for c in ledger.candidates())
    with ledger.transaction():
        ledger.add_snapshots(candidate_id(0, "gan", 0), [(1, third, 0.0)])
    ledger.close()
    connection = sqlite3.connect(tmp_path / "campaign.db")
    connection.execute("UPDATE structure SET n_atoms = 1, n_frozen = 2 WHERE key = ?", (first,))
    connection.execute("UPDATE candidate SET proposed = NULL WHERE proposed = ?", (third,))
    connection.execute("DELETE FROM structure WHERE key IN (?, ?)", (second, third))
    connection.commit()
    connection.close()
    ledger = Ledger(tmp_path / "campaign.db", read_only=True)
    assert ledger.structure(first).get_tags().tolist() == [0, 1]
    found = verification.damage(tmp_path, ledger)
    lost = sorted([second, third])
    assert [text.partition(" from ")[0] for text in found] == [f"structure `{key[:12]}` is missing" for key in lost]
    ledger.close()


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_one_flipped_bit_in_weights_is_named_and_never_read(tmp_path, suffix, amount, tell):
    weights = tmp_path / "weights.safetensors"
    save_weights(weights, {"weight": torch.arange(300.0)}, {"step": 4, "condition_shares": [0.25, 0.75]})
    ledger = Ledger.create(tmp_path / "campaign.db", {"potential": "p"})
    with ledger.transaction():
        ledger.finish_stage(0, "train:gan", {"weights": weights.name, "sha256": verification.file_hash(weights)})
    assert verification.damage(tmp_path, ledger) == []
    before = load_weights(weights)[1]
    path = weights.with_suffix(suffix)
    whole = path.read_bytes()
    places = [(place, bit) for place in range(len(whole)) for bit in range(8)]
    unread = 0
    for place, bit in random.Random(3).sample(places, amount(200, len(places))):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        found = verification.damage(tmp_path, ledger)
        if found:
            assert len(found) == 1 and path.name in found[0], (place, bit, found)
            with pytest.raises(WeightsError, match=path.name):
                load_weights(weights)
            unread += 1
        else:  # one kind of white space between the record's entries became another
            assert suffix == ".json" and whole[place : place + 1].isspace() and load_weights(weights)[1] == before
    assert unread
    ledger.close()
    tell(16, f"one bit flipped in weights, {suffix}", unread, "named by `verify`, never read")


@pytest.mark.slow
def test_verify_names_a_flipped_bit_and_ends_with_5(crashed, tmp_path):
    folder = tmp_path / "flipped"
    shutil.copytree(crashed, folder)
    connection = sqlite3.connect(folder / "campaign.db")
    key, data = connection.execute("SELECT key, data FROM structure").fetchone()
    connection.execute("UPDATE structure SET data = ? WHERE key = ?", (data[:-1] + bytes([data[-1] ^ 4]), key))
    connection.commit()
    connection.close()
    code, _, complaint = call("verify", folder)
    assert code == 5 and key[:12] in complaint


def test_a_checkpoint_cut_anywhere_gives_way_to_the_one_before(tmp_path, caplog, amount, tell):
    for step in (1, 2):
        tensors = {"weight": torch.arange(3000, dtype=torch.float32) + step}
        save_checkpoint(tmp_path, step, tensors, {"step": step}, kept=2)
    tried = 0
    for path in (tmp_path / "checkpoint-00000002.safetensors", tmp_path / "checkpoint-00000002.json"):
        whole = path.read_bytes()
        every = 1024 if len(whole) > 2048 else 16
        lengths = list(range(0, len(whole), every))
        for length in [*lengths[:: max(1, len(lengths) // amount(6, len(lengths)))], len(whole) - 1]:
            path.write_bytes(whole[:length])
            caplog.clear()
            found = load_last_checkpoint(tmp_path)
            assert found is not None and found[1]["step"] == 1 and "the one before is used" in caplog.text
            tried += 1
        path.write_bytes(whole)
    assert load_last_checkpoint(tmp_path)[1]["step"] == 2
    tell(14, "newest checkpoint or its record cut", tried, "the one before is used, and said")


@pytest.mark.fault(24, "pickled weights", "refused, nothing run")
def test_pickled_weights_are_refused_and_run_nothing(tmp_path):
    marker = tmp_path / "ran"

    class Hostile:
        def __reduce__(self):
            return marker.touch, ()

    torch.save({"weight": Hostile()}, tmp_path / "weights.safetensors")
    digest = verification.file_hash(tmp_path / "weights.safetensors")
    (tmp_path / "weights.json").write_text(f'{{"sha256": "{digest}", "format": 1}}')
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(tmp_path / "weights.safetensors")
    assert not marker.exists()
