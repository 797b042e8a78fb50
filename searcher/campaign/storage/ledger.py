"""The truth about a campaign: one SQLite database, written by one driver."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from searcher.campaign.storage.candidate import Candidate, Gate
from searcher.campaign.storage.ledger_file import (
    COMMITS,
    OlderSchema,
    lay_out,
    opened,
    promise,
    promised_transactions,
    write_promise,
)
from searcher.campaign.storage.ledger_tables import (
    COLUMNS,
    MISSING_STRUCTURES,
    candidate_of,
    candidate_row,
    decode_frame,
    decode_slab,
    encode_frame,
    encode_slab,
)
from searcher.campaign.storage.locking import DriverLock
from searcher.errors import StorageError
from searcher.files import write_text

LEDGER = "campaign.db"
DAMAGED = "structure `{}` in `{}` does not match its checksum: it is damaged"
MISSING = "structure `{}` is missing from `{}`"
QUOTED = ", ".join(f'"{name}"' for name in COLUMNS)


class Ledger:
    """Candidates, structures, energies, stages and metrics of one campaign.

    Parameters
    ----------
    path : pathlib.Path
        The database file.
    read_only : bool
        Open for reading while a driver may be writing.
    accept_loss : bool
        Open it although transactions at its end are lost.

    Raises
    ------
    StorageError
        If the file is missing, damaged, cut short or of a newer schema; `OlderSchema` if it is of an older one, which
        only a writer brings up to date.

    Notes
    -----
    SQLite drops transactions from a write-ahead log that was cut, and says nothing. Each transaction is therefore
    counted in the ledger and, once it is safe, in a file beside it, which must not be ahead.
    """

    def __init__(self, path: Path, read_only: bool = False, accept_loss: bool = False) -> None:
        self.path = path
        self._mark = path.with_suffix(".commits")
        self._connection, self._commits = opened(path, self._mark, read_only, accept_loss)

    @classmethod
    def create(cls, path: Path, facts: Mapping[str, Any]) -> "Ledger":
        """A new ledger with its first facts, complete or not there at all."""
        lay_out(path, path.with_suffix(".commits"), facts)
        return cls(path)

    @classmethod
    def of_run(cls, folder: Path) -> "Ledger":
        """The ledger of a campaign's folder, for reading while a driver may be writing.

        One that an older version wrote is brought up to date first, which no driver may be working on meanwhile.
        """
        try:
            return cls(folder / LEDGER, read_only=True)
        except OlderSchema:
            lock = DriverLock(folder)
            try:
                cls(folder / LEDGER).close()
            finally:
                lock.release()
            return cls(folder / LEDGER, read_only=True)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written, or nothing is."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.set_fact(COMMITS, self._commits + 1)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has SQLite roll back by itself
                self._connection.execute("ROLLBACK")
            raise
        self._commits += 1
        write_promise(self._mark, self._commits)

    def accept_loss(self) -> int | None:
        """Make what is left the whole truth; returns how many transactions are lost, None if nobody can tell."""
        promised = promised_transactions(self._mark)
        write_text(self._mark, promise(self._commits))
        return None if promised is None else max(0, promised - self._commits)

    # facts and stages

    def fact(self, key: str, default: Any = None) -> Any:
        row = self._connection.execute("SELECT value FROM fact WHERE key = ?", (key,)).fetchone()
        return default if row is None else json.loads(row[0])

    @property
    def template(self) -> dict[str, Any]:
        """The recorded facts of the template; empty before preparation."""
        return self.fact("template", {})

    def set_fact(self, key: str, value: Any) -> None:
        self._connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (key, json.dumps(value)))

    def stage(self, iteration: int, name: str) -> dict[str, Any] | None:
        """What a finished stage recorded, or None if it is not finished."""
        row = self._connection.execute(
            "SELECT detail FROM stage WHERE iteration = ? AND name = ?", (iteration, name)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def finish_stage(self, iteration: int, name: str, detail: Mapping[str, Any]) -> None:
        self._connection.execute("INSERT INTO stage VALUES (?, ?, ?)", (iteration, name, json.dumps(detail)))

    def set_stage(self, iteration: int, name: str, detail: Mapping[str, Any]) -> None:
        """Write a stage whose detail may grow."""
        self._connection.execute("INSERT OR REPLACE INTO stage VALUES (?, ?, ?)", (iteration, name, json.dumps(detail)))

    def stages(self) -> list[tuple[int, str, dict[str, Any]]]:
        rows = self._connection.execute("SELECT iteration, name, detail FROM stage ORDER BY iteration, rowid")
        return [(iteration, name, json.loads(detail)) for iteration, name, detail in rows]

    # structures

    def put_structure(self, atoms: Atoms) -> str:
        """Store a slab and return its key, the checksum of its content."""
        n_frozen = int(np.count_nonzero(atoms.get_tags() == 0))
        data = encode_slab(atoms)
        key = hashlib.sha256(data).hexdigest()
        self._connection.execute(
            "INSERT OR IGNORE INTO structure VALUES (?, ?, ?, ?)", (key, len(atoms), n_frozen, data)
        )
        return key

    def structure(self, key: str) -> Atoms:
        """A stored slab.

        Raises
        ------
        StorageError
            If it is missing or its content does not match its checksum.
        """
        row = self._connection.execute("SELECT data FROM structure WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise StorageError(MISSING.format(key[:12], self.path))
        if hashlib.sha256(row[0]).hexdigest() != key:
            raise StorageError(DAMAGED.format(key[:12], self.path))
        return decode_slab(row[0])

    def damaged_structures(self) -> list[str]:
        """A complaint for every slab that is missing or whose content does not match its checksum."""
        rows = self._connection.execute("SELECT key, data FROM structure ORDER BY key")
        bad = [DAMAGED.format(key[:12], self.path) for key, data in rows if hashlib.sha256(data).hexdigest() != key]
        frames = self._connection.execute("SELECT candidate, call, data, checksum FROM frame ORDER BY candidate, call")
        bad += [
            DAMAGED.format(f"{candidate}@{call}", self.path)
            for candidate, call, data, checksum in frames
            if hashlib.sha256(data).hexdigest() != checksum
        ]
        missing = self._connection.execute(MISSING_STRUCTURES)
        return bad + [MISSING.format(key[:12], self.path) for (key,) in missing]

    # candidates

    def add_candidates(self, candidates: Iterable[Candidate]) -> None:
        marks = ", ".join("?" for _ in COLUMNS)
        self._connection.executemany(
            f"INSERT INTO candidate ({QUOTED}) VALUES ({marks})", [candidate_row(candidate) for candidate in candidates]
        )

    def update_candidate(self, candidate: Candidate) -> None:
        """Write a candidate's progress.

        Raises
        ------
        StorageError
            If the stored candidate is finished, or the update would take it back through a gate.
        """
        stored = self.candidate(candidate.id)
        if stored.finished:
            raise StorageError(f"candidate `{candidate.id}` is {stored.verdict}: a finished candidate cannot change")
        if candidate.passed < stored.passed:
            raise StorageError(f"candidate `{candidate.id}` has passed {stored.passed.name} and cannot go back")
        assignments = ", ".join(f'"{name}" = ?' for name in COLUMNS)
        self._connection.execute(
            f"UPDATE candidate SET {assignments} WHERE id = ?", (*candidate_row(candidate), candidate.id)
        )

    def candidate(self, candidate: str) -> Candidate:
        """One candidate by id.

        Raises
        ------
        StorageError
            If there is none.
        """
        row = self._connection.execute(f"SELECT {QUOTED} FROM candidate WHERE id = ?", (candidate,)).fetchone()
        if row is None:
            raise StorageError(f"candidate `{candidate}` is not in `{self.path}`")
        return candidate_of(row)

    def candidates(
        self,
        iteration: int | None = None,
        arm: str | None = None,
        verdict: str | None = None,
        reached: Gate = Gate.PROPOSED,
        before: int | None = None,
    ) -> list[Candidate]:
        """Candidates by id.

        Parameters
        ----------
        reached : Gate
            Only those that have passed this gate.
        before : int, optional
            Only those of earlier iterations.
        """
        clauses: list[str] = ["passed >= ?"]
        values: list[Any] = [int(reached)]
        for clause, value in (
            ("iteration = ?", iteration), ("arm = ?", arm), ("verdict = ?", verdict), ("iteration < ?", before)
        ):  # fmt: skip
            if value is not None:
                clauses.append(clause)
                values.append(value)
        rows = self._connection.execute(
            f"SELECT {QUOTED} FROM candidate WHERE {' AND '.join(clauses)} ORDER BY id", values
        )
        return [candidate_of(row) for row in rows]

    def set_energy(self, candidate: str, potential: str, energy: float) -> None:
        self._connection.execute("INSERT INTO energy VALUES (?, ?, ?)", (candidate, potential, energy))

    def energy(self, candidate: str, potential: str) -> float | None:
        row = self._connection.execute(
            "SELECT energy FROM energy WHERE candidate = ? AND potential = ?", (candidate, potential)
        ).fetchone()
        return None if row is None else row[0]

    def measured_energy(self, candidate: str, potential: str) -> float:
        """Energy of a minimum in eV.

        Raises
        ------
        StorageError
            If it is not recorded.
        """
        energy = self.energy(candidate, potential)
        if energy is None:
            raise StorageError(f"`{self.path}` has no energy of candidate `{candidate}` with potential {potential}")
        return energy

    def energies(self, candidate: str) -> dict[str, float]:
        """Energies in eV by potential, in the order of the potentials' hashes."""
        rows = self._connection.execute(
            "SELECT potential, energy FROM energy WHERE candidate = ? ORDER BY potential", (candidate,)
        )
        return dict(rows.fetchall())

    # potentials

    def add_potential(self, version: int, hashed: str, since: int, spec: Mapping[str, Any], record: Any) -> None:
        """A version of the campaign's potential, in use from iteration `since` on."""
        self._connection.execute(
            "INSERT INTO potential VALUES (?, ?, ?, ?, ?)",
            (version, hashed, since, json.dumps(spec), json.dumps(record)),
        )

    def potentials(self) -> list[tuple[int, str, int, dict[str, Any], Any]]:
        """(version, hash, first iteration that uses it, specification, record), in order."""
        rows = self._connection.execute("SELECT version, hash, since, spec, record FROM potential ORDER BY version")
        return [(*row[:3], json.loads(row[3]), json.loads(row[4])) for row in rows]

    def add_snapshots(self, candidate: str, snapshots: Sequence[tuple[int, str, float]]) -> None:
        """Structures along a relaxation: (force call, structure key, energy in eV)."""
        self._connection.executemany(
            "INSERT INTO snapshot VALUES (?, ?, ?, ?)", [(candidate, *snapshot) for snapshot in snapshots]
        )

    def snapshots(self, candidate: str) -> list[tuple[int, str, float]]:
        """(force call, structure key, energy in eV) of a candidate's relaxation, in order."""
        return self._connection.execute(
            "SELECT call, structure, energy FROM snapshot WHERE candidate = ? ORDER BY call", (candidate,)
        ).fetchall()

    def add_frames(
        self, candidate: str, potential: str, frames: Iterable[tuple[int, float, np.ndarray, np.ndarray]]
    ) -> None:
        """What force calls answered along a relaxation: (force call, energy in eV, positions in Å, forces in eV/Å)."""
        rows = []
        for call, energy, positions, forces in frames:
            data = encode_frame(positions, forces)
            rows.append((candidate, call, potential, energy, data, hashlib.sha256(data).hexdigest()))
        self._connection.executemany("INSERT INTO frame VALUES (?, ?, ?, ?, ?, ?)", rows)

    def frames(self, potential: str) -> list[tuple[str, int, float, np.ndarray, np.ndarray]]:
        """(candidate, force call, energy, positions, forces) of all answers of a potential that were kept, in order.

        Raises
        ------
        StorageError
            If one does not match its checksum.
        """
        found = []
        rows = self._connection.execute(
            "SELECT candidate, call, energy, data, checksum FROM frame WHERE potential = ? ORDER BY candidate, call",
            (potential,),
        )
        for candidate, call, energy, data, checksum in rows:
            if hashlib.sha256(data).hexdigest() != checksum:
                raise StorageError(DAMAGED.format(f"{candidate}@{call}", self.path))
            found.append((candidate, call, energy, *decode_frame(data)))
        return found

    # counts and metrics

    def funnel(self, arm: str, iteration: int | None = None) -> dict[str, int]:
        """How many of an arm's candidates passed each gate, and its force calls; the preparation does not count."""
        rows = self._connection.execute(
            "SELECT passed, COUNT(*), SUM(force_calls) FROM candidate "
            "WHERE arm = ? AND iteration >= 0 AND iteration = COALESCE(?, iteration) GROUP BY passed",
            (arm, iteration),
        ).fetchall()
        counts = {gate.name.lower(): sum(n for passed, n, _ in rows if passed >= gate) for gate in Gate}
        return {**counts, "force_calls": sum(calls for _, _, calls in rows)}

    def arms(self) -> list[str]:
        """Names of arms that have proposed something, in order of name."""
        rows = self._connection.execute("SELECT DISTINCT arm FROM candidate WHERE iteration >= 0 ORDER BY arm")
        return [arm for (arm,) in rows]

    def reasons(self) -> list[tuple[str, str, int]]:
        """(arm, reason, count) of everything that was not accepted."""
        return self._connection.execute(
            "SELECT arm, reason, COUNT(*) FROM candidate WHERE reason IS NOT NULL "
            "GROUP BY arm, reason ORDER BY arm, 3 DESC"
        ).fetchall()

    def add_metrics(self, iteration: int, metrics: Iterable[tuple[str, int, float]]) -> None:
        """(name, step, value) rows; a repeated step replaces the former value."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO metric VALUES (?, ?, ?, ?)", [(iteration, *metric) for metric in metrics]
        )

    def metrics(self, iteration: int) -> dict[str, list[tuple[int, float]]]:
        """(step, value) pairs by metric name."""
        found: dict[str, list[tuple[int, float]]] = {}
        for name, step, value in self._connection.execute(
            "SELECT name, step, value FROM metric WHERE iteration = ? ORDER BY name, step", (iteration,)
        ):
            found.setdefault(name, []).append((step, value))
        return found

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file."""
        return [text for (text,) in self._connection.execute("PRAGMA integrity_check") if text != "ok"]
