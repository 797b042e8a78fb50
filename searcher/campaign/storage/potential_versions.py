"""The versions of a campaign's potential: files copied into its folder and used from there, hashes in its ledger.

Version 0 is the configured potential. Later ones take over between iterations; energies are kept by potential.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relax.potential import PotentialError, PotentialSpec, potential_hash, sparse_files
from searcher.campaign.storage.ledger import Ledger
from searcher.campaign.storage.places import XML, version_folder
from searcher.errors import EnvironmentProblem
from searcher.files import replacing, write_text

DESCRIPTION = "potential.json"


@dataclass(frozen=True)
class PotentialVersion:
    """One version of a campaign's potential.

    Attributes
    ----------
    number : int
        0 for the configured one.
    hash : str
        `relax.potential.potential_hash` of `spec`, which the energies in the ledger carry.
    since : int
        The first iteration that uses it; -1 is the preparation.
    spec : PotentialSpec
        Of the campaign's own copy.
    record : mapping
        Where it comes from, of JSON types.
    """

    number: int
    hash: str
    since: int
    spec: PotentialSpec
    record: Mapping[str, Any]


def add_version(
    folder: Path, ledger: Ledger, spec: PotentialSpec, since: int, record: Mapping[str, Any]
) -> PotentialVersion:
    """Copy a potential into the campaign's folder and record it as the one in use from iteration `since` on.

    To be called between iterations, outside of a transaction. Adding the current version again changes nothing, so
    that a call that was killed can be repeated.

    Parameters
    ----------
    folder : pathlib.Path
        The campaign's.
    record : mapping
        Where the potential comes from, of JSON types.

    Raises
    ------
    EnvironmentProblem
        If its files are missing or damaged, or its hash is that of an earlier version.
    """
    try:
        hashed = potential_hash(spec)
    except PotentialError as error:
        raise EnvironmentProblem(str(error)) from None
    there = versions(folder, ledger)
    if there and there[-1].hash == hashed:
        return there[-1]
    if hashed in [version.hash for version in there]:
        raise EnvironmentProblem(f"potential {hashed} is an earlier version of `{folder}`: it cannot come back")
    number = len(there)
    place = version_folder(folder, number)
    if place.exists():  # left by a call that was killed before it was recorded
        shutil.rmtree(place)
    place.mkdir(parents=True)
    kept: dict[str, Any] = {**spec.as_dict(), "path": XML if spec.kind == "gap" else ""}
    if spec.kind == "gap":
        source = Path(spec.path)
        for name in sparse_files(spec):
            _copy(source.parent / name, place / name)
        _copy(source, place / XML)
    write_text(place / DESCRIPTION, json.dumps({"hash": hashed, **kept, "record": dict(record)}, indent=1) + "\n")
    version = PotentialVersion(number, hashed, since, _spec(place, kept), dict(record))
    require_unchanged(version)
    with ledger.transaction():
        ledger.add_potential(number, hashed, since, kept, dict(record))
    return version


def versions(folder: Path, ledger: Ledger) -> list[PotentialVersion]:
    """All versions, the current one last; whether their files are what they were, only `require_unchanged` says."""
    return [
        PotentialVersion(number, hashed, since, _spec(version_folder(folder, number), kept), record)
        for number, hashed, since, kept, record in ledger.potentials()
    ]


def current(folder: Path, ledger: Ledger) -> PotentialVersion:
    """The version in use, its files checked.

    Raises
    ------
    EnvironmentProblem
        If there is none, or its files were changed.
    """
    there = versions(folder, ledger)
    if not there:
        raise EnvironmentProblem(f"`{folder}` records no potential")
    require_unchanged(there[-1])
    return there[-1]


def require_unchanged(version: PotentialVersion) -> None:
    """Make sure that a version's files are those that were recorded.

    Raises
    ------
    EnvironmentProblem
        If they are missing, damaged or others.
    """
    try:
        found = potential_hash(version.spec)
    except PotentialError as error:
        raise EnvironmentProblem(str(error)) from None
    if found != version.hash:
        where = version.spec.path or version.spec.import_path
        raise EnvironmentProblem(
            f"version {version.number} of the potential, `{where}`, hashes to {found} and not to {version.hash}: it "
            "was changed behind the campaign's back"
        )


def _spec(place: Path, kept: Mapping[str, Any]) -> PotentialSpec:
    return PotentialSpec(**{**kept, "path": str(place.resolve() / kept["path"]) if kept["path"] else ""})


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as draft:
        shutil.copyfile(source, draft)
