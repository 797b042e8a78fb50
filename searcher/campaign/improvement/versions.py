"""The potentials of a campaign: numbered versions in its folder, switched only between iterations.

Version 0 is the configured one, copied in when the campaign starts. Lattice and template stay those of version 0.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from relax.potential import PotentialError, PotentialSpec, potential_hash, sparse_files
from searcher.campaign.candidate import Candidate
from searcher.campaign.ledger import Ledger
from searcher.campaign.problem import ReferenceEnergies, SurfaceProblem
from searcher.errors import EnvironmentProblem
from searcher.scoring.thermodynamics import Line

VERSIONS = "potentials"
"""fact that lists the versions; folder that holds their files"""
XML = "gap.xml"
SETTINGS = "settings.json"
"""of a GAP's fit, where it came with them"""


@dataclass(frozen=True)
class PotentialVersion:
    """A potential that a campaign works or worked with.

    Attributes
    ----------
    number : int
    hash : str
    since : int
        First iteration whose candidates it relaxes; −1 for version 0.
    spec : mapping
        `PotentialSpec.as_dict`, a GAP's path relative to the campaign's folder.
    references : mapping or None
        Fields of `ReferenceEnergies`; None for version 0, whose references the preparation measures.
    gamma_bottom : float or None
        Surface energy of the template's bottom in eV/Å²; None likewise.
    """

    number: int
    hash: str
    since: int
    spec: Mapping[str, Any]
    references: Mapping[str, Any] | None = None
    gamma_bottom: float | None = None

    def located(self, folder: Path) -> PotentialSpec:
        """How to make it, with its files where they lie now."""
        spec = PotentialSpec(**self.spec)
        return replace(spec, path=str((folder / spec.path).resolve())) if spec.kind == "gap" else spec


def versions(ledger: Ledger) -> list[PotentialVersion]:
    """All versions, oldest first; none in campaigns of before there were versions."""
    return [PotentialVersion(**values) for values in ledger.fact(VERSIONS, [])]


def potential_at(ledger: Ledger, iteration: int) -> str:
    """Hash of the potential that an iteration's γ were measured with."""
    found = [version.hash for version in versions(ledger) if version.since <= iteration]
    return found[-1] if found else str(ledger.fact("potential"))


def current_potential(ledger: Ledger) -> str:
    """Hash of the potential in use."""
    found = versions(ledger)
    return found[-1].hash if found else str(ledger.fact("potential"))


def version_folder(folder: Path, number: int) -> Path:
    return folder / VERSIONS / f"{number:03d}"


def copy_in(spec: PotentialSpec, hashed: str, folder: Path) -> PotentialVersion:
    """Version 0: a GAP's files are copied into the campaign, complete or not at all; a calculator has none."""
    if spec.kind != "gap":
        return PotentialVersion(0, hashed, -1, spec.as_dict())
    target = version_folder(folder, 0)
    if not target.exists():
        draft = target.with_name(target.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        shutil.copyfile(spec.path, draft / XML)
        for name in sparse_files(spec):
            shutil.copyfile(Path(spec.path).parent / name, draft / name)
        if (settings := Path(spec.path).with_name(SETTINGS)).is_file():
            shutil.copyfile(settings, draft / SETTINGS)
        draft.rename(target)
    return gap_version(0, hashed, -1, target / XML, folder)


def gap_version(number: int, hashed: str, since: int, xml: Path, folder: Path) -> PotentialVersion:
    """A version whose files lie in the campaign's folder."""
    return PotentialVersion(number, hashed, since, PotentialSpec("gap", path=str(xml.relative_to(folder))).as_dict())


def located_and_whole(version: PotentialVersion, folder: Path) -> PotentialSpec:
    """A version's potential, its files compared with the recorded hash.

    Raises
    ------
    EnvironmentProblem
        If they are missing or differ.
    """
    spec = version.located(folder)
    try:
        found = potential_hash(spec)
    except PotentialError as error:
        raise EnvironmentProblem(f"potential {version.number:03d} of this campaign: {error}") from None
    if found != version.hash:
        raise EnvironmentProblem(
            f"potential {version.number:03d} in `{folder / VERSIONS}` hashes to {found} but was recorded as "
            f"{version.hash}: its files were changed"
        )
    return spec


def with_references(problem: SurfaceProblem, version: PotentialVersion) -> SurfaceProblem:
    """The problem with γ measured against a version's own references; lattice and template stay."""
    if version.references is None or version.gamma_bottom is None:
        return problem
    return replace(
        problem,
        references=ReferenceEnergies(**version.references),
        template=replace(problem.template, gamma_bottom=version.gamma_bottom),
    )


def lines_under(
    ledger: Ledger, problem: SurfaceProblem, version: PotentialVersion, candidates: list[Candidate]
) -> dict[str, Line]:
    """γ(Δμ_O) under a version, of candidates whose recorded γ an older one made."""
    lines = {}
    for candidate in candidates:
        if candidate.iteration >= version.since or candidate.relaxed is None:
            continue
        energy = ledger.energy(candidate.id, version.hash)
        if energy is not None:
            lines[candidate.id] = problem.gamma(ledger.structure(candidate.relaxed), energy)
    return lines


def as_fact(all_versions: list[PotentialVersion]) -> list[dict[str, Any]]:
    """What `versions` reads."""
    return [asdict(version) for version in all_versions]
