"""A campaign's folder, ledger and workers, held together while a driver runs."""

import platform
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

from relax.potential import PotentialSpec
from searcher.campaign.configured_potential import campaign_folder, potential_spec
from searcher.campaign.provenance import provenance
from searcher.campaign.resuming import read_origin, refuse_changes, resumed, versions
from searcher.campaign.storage.candidate import PREPARATION, Candidate
from searcher.campaign.storage.ledger import LEDGER, Ledger
from searcher.campaign.storage.locking import DriverLock
from searcher.campaign.storage.potential_versions import add_version, current
from searcher.campaign.workers.executor import Executor, InlineExecutor, LocalExecutor
from searcher.campaign.workers.fingerprints import Fingerprints
from searcher.config import CampaignConfig, ExecutionSection
from searcher.errors import EnvironmentProblem
from searcher.files import write_text
from searcher.loading import dump_config, load_recorded
from searcher.scoring.descriptors import SoapSettings
from searcher.scoring.thermodynamics import Line


@dataclass
class Campaign:
    """What the stages need. Close it when done."""

    config: CampaignConfig
    folder: Path
    ledger: Ledger
    executor: Executor
    fingerprints: Fingerprints
    potential: PotentialSpec
    potential_hash: str
    stop: Event
    lock: DriverLock | None
    lines: dict[str, Line] = field(default_factory=dict)
    """γ(Δμ_O) by the potential in use, of candidates whose recorded γ an older one made"""

    def line_of(self, candidate: Candidate) -> Line:
        """γ(Δμ_O) of a minimum by the potential in use."""
        return self.lines.get(candidate.id) or candidate.measured_line

    def iteration_folder(self, iteration: int) -> Path:
        folder = self.folder / "iterations" / f"{iteration:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def close(self) -> None:
        self.executor.close()
        self.ledger.close()
        if self.lock is not None:
            self.lock.release()


def open_campaign(
    config: CampaignConfig, stop: Event, extend: bool = False, forked_from: Path | None = None
) -> Campaign:
    """Start a campaign or take it up where it stands.

    Parameters
    ----------
    extend : bool
        If all iterations are done, do as many again.
    forked_from : pathlib.Path, optional
        Folder of the campaign from whose archive a new one starts.

    Raises
    ------
    LockedError
        If another driver works on it.
    InputError
        If it was started with settings on which results depend and which differ now.
    EnvironmentProblem
        If the potential is missing, damaged, or not the one it was started with.
    """
    spec, hashed = potential_spec(config)
    folder = campaign_folder(config)
    if forked_from is not None and not (folder / LEDGER).exists():
        read_origin(forked_from, config, hashed)  # before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    lock = DriverLock(folder)
    try:
        path = folder / LEDGER
        if path.exists():
            ledger = Ledger(path)
            refuse_changes(ledger, config, hashed)
            config = resumed(ledger, config, extend)
        else:
            origin = None if forked_from is None else read_origin(forked_from, config, hashed)
            ledger = Ledger.create(path, {**_facts(config, hashed), "forked_from": origin})
        if not ledger.potentials():
            add_version(folder, ledger, spec, PREPARATION, {"configured": config.potential.model_dump(mode="json")})
        potential = current(folder, ledger)
        write_text(folder / "campaign.yaml", dump_config(config))
        executor = make_executor(config.execution, stop)
    except BaseException:
        lock.release()
        raise
    fingerprints = Fingerprints(executor, SoapSettings(species=("O", config.material.metal)))
    return Campaign(config, folder, ledger, executor, fingerprints, potential.spec, potential.hash, stop, lock)


def read_campaign(folder: Path, stop: Event) -> Campaign:
    """A campaign that a driver works on, for reading: nothing is locked and nothing can be written to its ledger.

    Raises
    ------
    EnvironmentProblem
        If its potential has changed.
    """
    ledger = Ledger.of_run(folder)
    config = load_recorded(folder).model_copy(update={"runs": folder.resolve().parent})
    potential, executor = current(folder, ledger), InlineExecutor(stop)
    fingerprints = Fingerprints(executor, SoapSettings(species=("O", config.material.metal)))
    return Campaign(config, folder, ledger, executor, fingerprints, potential.spec, potential.hash, stop, None)


def make_executor(section: ExecutionSection, stop: Event) -> Executor:
    """The configured way to run tasks."""
    if section.executor == "inline":
        return InlineExecutor(stop)
    if section.executor == "dask":
        try:
            return _on_cluster(section, stop)
        except ModuleNotFoundError as error:
            raise EnvironmentProblem(f"`execution.executor: dask` needs the extra `cluster` ({error.name})") from None
    return LocalExecutor(section.workers, section.deadline_s, section.memory_gib, section.tasks_per_worker, stop)


def _on_cluster(section: ExecutionSection, stop: Event) -> Executor:
    if section.slurm is not None:
        from searcher.campaign.workers.slurm import SlurmExecutor  # these two are an extra of the installation

        return SlurmExecutor(section, stop)
    from searcher.campaign.workers.cluster import DaskExecutor

    return DaskExecutor(section.scheduler, section.deadline_s, section.memory_gib, section.tasks_per_worker, stop)


def _facts(config: CampaignConfig, hashed: str) -> dict[str, Any]:
    return {
        "name": config.name,
        "uid": uuid4().hex,
        "seed": config.seed,
        "config": config.model_dump(mode="json"),
        "potential": hashed,
        "versions": versions(),
        "threads": config.execution.training_threads,
        "host": platform.node(),
        "provenance": provenance(),
    }
