"""How long the report of a large campaign takes, and how large it is.

    python benchmarks/report.py --accepted 2000

The campaign is the invented one of the tests: two arms, three seeds, every kind of end, losses and grids.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from threading import Event

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "searcher"))

from results_campaign import build_campaign

from searcher.campaign.workers.executor import LocalExecutor
from searcher.results.report import write_report

ACCEPTED_SHARE = 1 / 2 + 1 / 6  # of the proposals of one arm and of the other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accepted", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "large"
        ledger = build_campaign(folder, iterations=1, per_arm=round(arguments.accepted / ACCEPTED_SHARE))
        n = len(ledger.candidates(verdict="accepted"))
        for name in ("first, SOAP vectors included", "again, SOAP vectors kept"):
            executor = LocalExecutor(arguments.workers, 900.0, 4.0, 200, Event())
            started, used = time.perf_counter(), processor_seconds()
            path = write_report(folder, ledger, executor)
            seconds = time.perf_counter() - started
            executor.close()
            busy = processor_seconds() - used
            size = path.stat().st_size / 1e6
            print(
                f"{n} accepted of {len(ledger.candidates())}, {name}: {seconds:.1f} s, of a processor {busy:.1f} s, "
                f"{size:.1f} MB"
            )


def processor_seconds() -> float:
    """Of this process and its ended children: what a shared machine cannot lengthen much."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


if __name__ == "__main__":
    main()
