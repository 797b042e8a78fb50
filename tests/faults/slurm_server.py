"""A SLURM of one node on the loopback address: the real controller, node and batch commands."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tracking_servers import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun")
START_S = 60.0
# more cores and memory than there are, so that jobs never wait for each other
SETTINGS = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
SlurmUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2
ReturnToService=2
MpiDefault=none
KillWait=10
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=256000 Gres=gpu:1
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def no_slurm() -> str:
    """Why SLURM cannot be started here; empty if it can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"SLURM is not installed (Debian: `slurm-wlm munge`): no {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "SLURM's node starts jobs as root only"


class Slurm:
    """Controller and node, each a process of its own.

    Parameters
    ----------
    folder : pathlib.Path
        For its settings, state and logs; a short path, since it holds a socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state", "spool"):
            (folder / name).mkdir()
        host = socket.gethostname().split(".")[0]
        ports = {"controller_port": free_port(), "node_port": free_port()}
        (folder / "slurm.conf").write_text(SETTINGS.format(host=host, folder=folder, **ports))
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        (folder / "munge.key").write_bytes(secrets.token_bytes(64))
        (folder / "munge.key").chmod(0o400)
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._munge = [f"--{name}={folder / file}" for name, file in MUNGE_FILES.items()]
        self._processes: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Slurm":
        try:
            self._start("munged", "--force", "--foreground", *self._munge)
            self._await((self.folder / "munge.sock").exists)
            self.start_controller()
            self._start("slurmd", "-D")
            self._await(lambda: "idle" in self.call("sinfo", "--noheader", "--format=%t"))
        except BaseException:
            self._end()
            raise
        return self

    def start_controller(self) -> None:
        self._start("slurmctld", "-D")
        self._await(lambda: "UP" in self.call("scontrol", "ping"))

    def kill_controller(self) -> None:
        self._processes["slurmctld"].kill()
        self._processes["slurmctld"].wait()

    def call(self, name: str, *words: object) -> str:
        """What a command of SLURM prints; nothing if it fails."""
        return self._done(name, *words).stdout

    def jobs(self, *words: str) -> list[str]:
        """Ids of jobs that wait or run; a controller that does not tell is asked again, since that is not none."""
        until = time.monotonic() + START_S
        while (done := self._done("squeue", "--noheader", "--array", "--format=%i", *words)).returncode:
            assert time.monotonic() < until, done.stderr
            time.sleep(0.5)
        return done.stdout.split()

    def _done(self, name: str, *words: object) -> subprocess.CompletedProcess[str]:
        made = [str(_program(name)), *map(str, words)]
        environment = {**os.environ, **self.environment}
        return subprocess.run(made, env=environment, capture_output=True, text=True, check=False)

    def __exit__(self, *exception: object) -> None:
        self.call("scancel", "--user=root")
        until = time.monotonic() + START_S
        while self.jobs() and time.monotonic() < until:
            time.sleep(0.5)
        self._end()

    def _end(self) -> None:
        for process in reversed(self._processes.values()):
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name: str, *words: str) -> None:
        made, environment = [str(_program(name)), *words], {**os.environ, **self.environment}
        with (self.folder / f"{name}.out").open("a") as log:
            self._processes[name] = subprocess.Popen(
                made, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def _await(self, ready) -> None:
        until = time.monotonic() + START_S
        while not ready():
            told = {path.name: path.read_text()[-500:] for path in self.folder.glob("*.out")}
            assert time.monotonic() < until, f"SLURM did not start: {told}"
            time.sleep(0.2)


MUNGE_FILES = {
    "key-file": "munge.key",
    "socket": "munge.sock",
    "pid-file": "munged.pid",
    "log-file": "munged.log",
    "seed-file": "munge.seed",
}


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
