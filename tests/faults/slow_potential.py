"""The analytic stand-in with a set delay per force call, and one that hangs for ever on request."""

import time
from pathlib import Path

from relax.analytic import AnalyticRuO


class SlowRuO(AnalyticRuO):
    """Waits before each answer; while a file `hang` exists it waits for ever."""

    def __init__(self, delay_s=0.0, hang=""):
        super().__init__()
        self.delay_s, self.hang = delay_s, hang

    def calculate(self, *args, **kwargs):
        time.sleep(self.delay_s)
        while self.hang and Path(self.hang).exists():
            time.sleep(0.1)
        super().calculate(*args, **kwargs)
