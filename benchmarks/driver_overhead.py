"""Where the wall time of a campaign goes, and how much of it is the driver's own.

    python benchmarks/driver_overhead.py configs/quickstart.yaml --set name=overhead --set tracking.enabled=false

A thread looks at what the driver is doing every few milliseconds while the campaign runs. The driver's own time is what
is neither waiting for workers (relaxations, descriptors, references) nor the generators' work (training, sampling,
backmapping, placing atoms).
"""

import argparse
import sys
import threading
import time
from collections import Counter
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
SHOWN = 12


class Profile:
    """Samples of the calling thread's stack, from `start` to `stop`."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self.shares: Counter[str] = Counter()
        self.own: Counter[str] = Counter()
        self._interval = interval_s
        self._ended = Event()
        self._observed = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(self._interval):
            now = time.monotonic()
            places = _places(sys._current_frames()[self._observed])
            kind = kind_of(places)
            self.shares[kind] += now - last  # a sampler that was held up counts the time it missed
            if kind == "driver":
                self.own[f"{places[-1][0]}, {places[-1][1]}"] += now - last
            last = now


def _places(frame: FrameType | None) -> list[tuple[str, str]]:
    """(file within this program, function) from the outermost to the innermost frame."""
    places = []
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and ".venv" not in path.parts:
            places.append((str(path.relative_to(ROOT)), frame.f_code.co_name))
        frame = frame.f_back
    return places[::-1]


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
    return "driver"


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
