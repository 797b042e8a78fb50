"""Is everything there, undamaged, and what does it amount to?"""

import hashlib
import json
from pathlib import Path

from generators.training.record import WeightsError, read_record
from searcher.campaign.storage.candidate import Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.storage.potential_versions import require_unchanged, versions
from searcher.errors import EnvironmentProblem

RETENTION = "retention"
"""stage that records which files were removed as `keep` asks"""


def damage(folder: Path, ledger: Ledger) -> list[str]:
    """Every damaged or missing thing of a campaign, one line each; empty if all is well."""
    found = [f"ledger: {text}" for text in ledger.integrity()]
    found += ledger.damaged_structures()
    for version in versions(folder, ledger):
        try:
            require_unchanged(version)
        except EnvironmentProblem as error:
            found.append(str(error))
    removed = {name for _, stage, detail in ledger.stages() if stage == RETENTION for name in detail["removed"]}
    for iteration, name, detail in ledger.stages():
        if "weights" in detail and detail["weights"] not in removed:
            path = folder / detail["weights"]
            if not path.is_file():
                found.append(f"iteration {iteration}, {name}: `{path}` is missing")
            elif file_hash(path) != detail["sha256"]:
                found.append(f"iteration {iteration}, {name}: `{path}` does not match its checksum")
            else:
                found += [f"iteration {iteration}, {name}: {text}" for text in _damaged_record(path)]
        for file, checksum in detail.get("files", {}).items():
            if not (folder / file).is_file():
                found.append(f"iteration {iteration}, {name}: `{folder / file}` is missing")
            elif file_hash(folder / file) != checksum:
                found.append(f"iteration {iteration}, {name}: `{folder / file}` does not match its checksum")
    return found


def digest(ledger: Ledger) -> str:
    """A hash over what two equal campaigns must share: verdicts, ids, coordinates, energies, weights."""
    total = hashlib.sha256()
    for candidate in ledger.candidates():
        row = [
            candidate.id,
            candidate.verdict,
            candidate.reason,
            int(candidate.passed),
            candidate.proposed,
            candidate.relaxed,
            candidate.force_calls,
            ledger.energies(candidate.id),
            candidate.gamma_zero,
            candidate.kappa if candidate.verdict == Verdict.ACCEPTED else None,
        ]
        total.update(json.dumps(row).encode())
    for iteration, name, detail in ledger.stages():
        if "sha256" in detail:
            total.update(f"{iteration}{name}{detail['sha256']}".encode())
    return total.hexdigest()


def _damaged_record(weights: Path) -> list[str]:
    try:
        read_record(weights.with_suffix(".json"))
    except WeightsError as error:
        return [str(error)]
    return []


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
