"""Is this machine fit for a campaign, and is a campaign fit to go on?"""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from searcher.campaign.resuming import PACKAGES, versions
from searcher.campaign.storage.ledger import LEDGER, Ledger
from searcher.campaign.storage.locking import holder
from searcher.campaign.storage.verification import damage
from searcher.errors import SearcherError

ENOUGH_GIB = 1.0
POTENTIAL_DEADLINE_S = 120.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    fine: bool
    detail: str


def examine(run_folder: Path | None = None) -> list[Finding]:
    """Look at Python, packages, the shipped potential in a worker process, disk and, if given, a campaign.

    Parameters
    ----------
    run_folder : pathlib.Path, optional
        A campaign's.
    """
    findings = [
        Finding("python", sys.version_info >= (3, 11), platform.python_version()),
        *(_package(name) for name in PACKAGES),
        _cores(),
        _space(run_folder or Path.cwd()),
        _checked("locks and files", _ledger_works),
        _checked("shipped potential in a worker", _potential_works),
    ]
    if run_folder is not None:
        findings += _campaign(run_folder)
    return findings


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed")


def _cores() -> Finding:
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("cores", True, f"{usable} usable, OMP_NUM_THREADS {threads}")


def _space(folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free / 2**30
    except OSError as error:
        return Finding("free space", False, str(error))
    return Finding("free space", free >= ENOUGH_GIB, f"{free:.1f} GiB in {folder}")


def _checked(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except (SearcherError, OSError) as error:
        return Finding(what, False, str(error))


def _ledger_works() -> str:
    with TemporaryDirectory(dir=Path.cwd()) as name:
        ledger = Ledger.create(Path(name) / LEDGER, {})
        with ledger.transaction():
            ledger.set_fact("written", True)
        ledger.close()
    return "a ledger can be written here"


def _potential_works() -> str:
    from relax.potential import gap_spec
    from relax.worker import evaluate_task, plain_arrays
    from searcher.campaign.workers.executor import LocalExecutor
    from searcher.errors import EnvironmentProblem
    from searcher.structures.crystal import Crystal

    bulk = Crystal().bulk()
    executor = LocalExecutor(1, POTENTIAL_DEADLINE_S, 4.0, 1)
    try:
        payload = {"potential": gap_spec("ruo2").as_dict(), "structures": [plain_arrays(bulk)]}
        outcome = next(iter(executor.map(evaluate_task, [payload])))
    finally:
        executor.close()
    if outcome.result is None:
        raise EnvironmentProblem(f"{outcome.failure}: {outcome.message}")
    return f"{outcome.result['energies'][0] / len(bulk):.3f} eV per atom of bulk RuO2"


def _campaign(folder: Path) -> list[Finding]:
    try:
        ledger = Ledger.of_run(folder)
        found = damage(folder, ledger)
        recorded, now = ledger.fact("versions"), versions()
    except SearcherError as error:
        return [Finding("campaign", False, str(error))]
    differing = [
        f"{name} was {recorded[name]}, is {now[name]}" for name in now if recorded.get(name, now[name]) != now[name]
    ]
    left = holder(folder)
    return [
        Finding("campaign", not found, "; ".join(found) or "nothing is damaged or missing"),
        Finding("versions", not differing, "; ".join(differing) or "as when the campaign was started"),
        Finding("lock", True, "free" if left is None else f"process {left['pid']} on {left['host']}"),
    ]
