"""Which iterations have ended."""

from searcher.campaign.storage.ledger import Ledger

LAST_STAGE = "close"
"""the stage whose record ends an iteration"""


def finished_iterations(ledger: Ledger) -> list[int]:
    """Iterations whose last stage is recorded."""
    return [iteration for iteration, name, _ in ledger.stages() if name == LAST_STAGE]
