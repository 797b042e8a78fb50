"""How learning rates, conditions, noise and batch sizes change in the course of a training."""

import math
from collections.abc import Callable, Sequence

FINAL_RATE_SHARE = 0.1
"""Share of the rates at a cosine's lowest point."""


def _cosine(done: float, cycles: int) -> float:
    return FINAL_RATE_SHARE + (1.0 - FINAL_RATE_SHARE) * 0.5 * (1.0 + math.cos(math.pi * done))


def _cyclic(done: float, cycles: int) -> float:
    return _cosine(math.modf(done * cycles)[0], 1)


SCHEDULES: dict[str, Callable[[float, int], float]] = {
    "constant": lambda done, cycles: 1.0,
    "cosine": _cosine,
    "cyclic": _cyclic,
}
"""(share of the steps done, cycles) -> factor of the rates; a cycle of `cyclic` is a cosine that begins anew
(Loshchilov & Hutter, ICLR 2017)"""


def ramp(step: int, start: int, length: int) -> float:
    """0 up to `start`, 1 from `start + length` on, linear in between."""
    if step < start:
        return 0.0
    return 1.0 if length == 0 else min(1.0, (step - start) / length)


def grown(size: int, doublings: Sequence[int], step: int) -> int:
    """Batch size after the doublings at given steps (Smith et al., ICLR 2018)."""
    return int(size * 2 ** sum(step >= when for when in doublings))
