"""Which code, where, and under which scheduler's job a driver works."""

import os
import platform
import subprocess
from pathlib import Path

JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
GIT_S = 5.0


def provenance() -> dict[str, str]:
    """``host``, ``system``, ``pid``; ``job`` under a scheduler; in a clone ``git`` (commit, changes)."""
    found = {"host": platform.node(), "system": platform.platform(), "pid": str(os.getpid())}
    job = next((os.environ[name] for name in JOB_VARIABLES if os.environ.get(name)), None)
    commit = _git("rev-parse", "HEAD")
    if job:
        found["job"] = job
    if commit:
        found["git"] = commit + (", with changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    return found


def _git(*words: str) -> str:
    """What git says about this program's own files; empty if it says nothing."""
    room = Path(__file__).parents[1]
    if not (room.parent / ".git").exists():  # installed into somebody else's repository
        return ""
    try:
        command = ["git", "-C", str(room), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
