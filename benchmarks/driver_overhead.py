"""Where the wall time of a campaign goes, and how much of it is the driver's own.

    python benchmarks/driver_overhead.py configs/quickstart.yaml --set name=overhead --set tracking.enabled=false

A timer looks at what the driver is doing every few milliseconds while the campaign runs. The driver's own time is what
is neither waiting for workers (relaxations, descriptors, references) nor the generators' work (training, sampling,
backmapping, placing atoms). Judging structures, which saves force calls and grows with how many proposals are looked at
for each relaxation, is told apart from the rest: checks, novelty and ranking.
"""

import argparse
import signal
import time
from collections import Counter
from functools import cache
from pathlib import Path
from threading import Event
from types import FrameType

from rich.console import Console

from searcher.campaign.campaign import open_campaign
from searcher.campaign.loop import run_campaign
from searcher.loading import load_config

INTERVAL_S = 0.005
ROOT = Path(__file__).parent.parent
WAITING = {
    "relaxing.py": "workers: relaxing",
    "fingerprints.py": "workers: descriptors",
    "preparation.py": "workers: references",
}
JUDGING = ("screening.py", "proposal_checks.py", "knowledge.py", "judging.py")
SHOWN = 12


class Profile:
    """Where the main thread is, by a timer's signal, from `start` to `stop`.

    A signal that comes during a call into machine code is answered when that call returns, in the frame that made it:
    its whole time counts there. A thread would wait for the interpreter's lock and see what comes next.
    """

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self.shares: Counter[str] = Counter()
        self.own: Counter[str] = Counter()
        self._interval, self._last = interval_s, 0.0

    def start(self) -> None:
        self._last = time.monotonic()
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, self._interval, self._interval)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _look(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        places = _places(frame)
        kind = kind_of(places)
        self.shares[kind] += now - self._last
        if kind.startswith("driver"):
            self.own[f"{places[-1][0]}, {places[-1][1]}"] += now - self._last
        self._last = now


def _places(frame: FrameType | None) -> list[tuple[str, str]]:
    """(file within this program, function) from the outermost to the innermost frame."""
    places = []
    while frame is not None:
        file = _own_file(frame.f_code.co_filename)
        if file is not None:
            places.append((file, frame.f_code.co_name))
        frame = frame.f_back
    return places[::-1]


@cache
def _own_file(name: str) -> str | None:
    path = Path(name)
    own = path.is_relative_to(ROOT) and ".venv" not in path.parts
    return str(path.relative_to(ROOT)) if own else None


def kind_of(places: list[tuple[str, str]]) -> str:
    """What a stack is doing."""
    files = [name for name, _ in places]
    if any(name.startswith("generators/training") for name in files):
        return "generator: training"
    if any(name.startswith("generators/") for name in files):
        return "generator: proposing"
    if files and files[-1].endswith(("executor.py", "cluster.py")):
        return next(
            (kind for name in reversed(files) for end, kind in WAITING.items() if name.endswith(end)), "workers"
        )
    return "driver: judging" if any(name.endswith(JUDGING) for name in files) else "driver: the rest"


def table(profile: Profile, calls: int) -> str:
    """Seconds and shares as Markdown, and the driver's largest parts."""
    total = sum(profile.shares.values())
    lines = ["| what the campaign waits for | s | share |", "|---|---|---|"]
    lines += [f"| {kind} | {s:.1f} | {100 * s / total:.2f} % |" for kind, s in profile.shares.most_common()]
    lines += ["", f"{calls:,} force calls, {total:.0f} s. Largest parts of the driver's own:", ""]
    lines += ["| place | s | share |", "|---|---|---|"]
    lines += [f"| {place} | {s:.2f} | {100 * s / total:.2f} % |" for place, s in profile.own.most_common(SHOWN)]
    return "\n".join(lines)


def measure(config_path: Path, overrides: list[str]) -> str:
    """Run a campaign under the profile."""
    campaign = open_campaign(load_config(config_path, overrides), Event())
    profile = Profile()
    try:
        profile.start()
        run_campaign(campaign, Console(stderr=True), lambda campaign, iteration: None)
        profile.stop()
        return table(profile, sum(c.force_calls for c in campaign.ledger.candidates()))
    finally:
        campaign.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    print(measure(arguments.config, arguments.overrides))


if __name__ == "__main__":
    main()
