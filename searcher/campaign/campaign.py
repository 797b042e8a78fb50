"""A campaign's folder, ledger and workers, held together while a driver runs."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from relax.potential import PotentialError, PotentialSpec, gap_spec, potential_hash
from searcher.campaign.executor import Executor, InlineExecutor, LocalExecutor
from searcher.campaign.fingerprints import Fingerprints
from searcher.campaign.ledger import Ledger
from searcher.config import CampaignConfig, ExecutionSection, result_changing
from searcher.errors import EnvironmentProblem, InputError, LockedError
from searcher.loading import dump_config
from searcher.scoring.descriptors import SoapSettings

LEDGER = "campaign.db"
PACKAGES = ("torch", "ase", "quippy-ase", "dscribe", "numpy", "scipy", "mlflow")


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
    lock: FileLock

    def iteration_folder(self, iteration: int) -> Path:
        folder = self.folder / "iterations" / f"{iteration:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def close(self) -> None:
        self.executor.close()
        self.ledger.close()
        self.lock.release()


def campaign_folder(config: CampaignConfig) -> Path:
    return config.runs / config.name


def potential_spec(config: CampaignConfig) -> tuple[PotentialSpec, str]:
    """The configured potential and its hash.

    Raises
    ------
    EnvironmentProblem
        If its files are missing or damaged.
    """
    section = config.potential
    try:
        if section.gap is not None:
            spec = gap_spec(section.gap)
        else:
            spec = PotentialSpec("calculator", import_path=section.import_path or "", arguments=section.arguments)
        return spec, potential_hash(spec)
    except PotentialError as error:
        raise EnvironmentProblem(str(error)) from None


def open_campaign(config: CampaignConfig, stop: Event) -> Campaign:
    """Start a campaign or take it up where it stands.

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
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(folder)
    try:
        path = folder / LEDGER
        if path.exists():
            ledger = Ledger(path)
            _refuse_changes(ledger, config, hashed)
        else:
            ledger = Ledger.create(path, _facts(config, hashed))
        write_text(folder / "campaign.yaml", dump_config(config))
        executor = make_executor(config.execution, stop)
    except BaseException:
        lock.release()
        raise
    fingerprints = Fingerprints(executor, SoapSettings(species=("O", config.material.metal)))
    return Campaign(config, folder, ledger, executor, fingerprints, spec, hashed, stop, lock)


def make_executor(section: ExecutionSection, stop: Event) -> Executor:
    """The configured way to run tasks."""
    if section.executor == "inline":
        return InlineExecutor()
    return LocalExecutor(section.workers, section.deadline_s, section.memory_gib, section.tasks_per_worker, stop)


def write_text(path: Path, text: str) -> None:
    """Write a small file, complete or not at all."""
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def lock_folder(folder: Path) -> FileLock:
    lock = FileLock(folder / ".lock")
    holder = folder / ".holder"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = holder.read_text(encoding="utf-8").strip() if holder.exists() else "an unknown process"
        raise LockedError(f"`{folder}` is being worked on by {who}; only one driver may") from None
    write_text(holder, f"process {os.getpid()} on {platform.node()}\n")
    return lock


def _facts(config: CampaignConfig, hashed: str) -> dict[str, Any]:
    return {
        "name": config.name,
        "uid": uuid4().hex,
        "seed": config.seed,
        "config": config.model_dump(mode="json"),
        "result_changing": result_changing(config),
        "potential": hashed,
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "threads": config.execution.training_threads,
        "host": platform.node(),
    }


def _refuse_changes(ledger: Ledger, config: CampaignConfig, hashed: str) -> None:
    before, now = ledger.fact("result_changing"), result_changing(config)
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        listed = "; ".join(f"`{key}` was {before.get(key)!r}, is {now.get(key)!r}" for key in changed)
        raise InputError(f"campaign `{config.name}` was started with other settings: {listed}. Choose another `name`")
    if ledger.fact("potential") != hashed:
        raise EnvironmentProblem(
            f"campaign `{config.name}` was started with potential {ledger.fact('potential')}, the files now hash to "
            f"{hashed}: they were changed behind its back"
        )
    versions = {name: version(name) for name in PACKAGES}
    differing = {name: v for name, v in versions.items() if ledger.fact("versions").get(name) != v}
    if differing:
        listed = "; ".join(f"{name} was {ledger.fact('versions').get(name)}, is {v}" for name, v in differing.items())
        raise InputError(f"campaign `{config.name}` was started with other versions: {listed}")
