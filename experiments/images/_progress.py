"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time

from tqdm import tqdm


class Progress:
    """Steps per second, loss and time left, on standard error.

    On a terminal it is one tqdm bar; without one (a log file, CI) a line about every `every`
    seconds.
    """

    def __init__(self, title: str, total: int, *, start: int = 0, every: float = 15.0):
        """Begins at step `start` of `total`."""
        self.title, self.total, self.done, self.every = title, total, start, every
        self.began = self.last = time.monotonic()
        self.start = start
        self.bar = None
        if sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=start, desc=title, unit="step", dynamic_ncols=True)

    def update(self, step: int, loss: float | None = None) -> None:
        """Says that `step` steps are done."""
        ahead, self.done = step - self.done, step
        if self.bar is not None:
            if loss is not None:
                self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            self.bar.update(ahead)
            return
        now = time.monotonic()
        if now - self.last >= self.every or step == self.total:
            self.last = now
            rate = (step - self.start) / max(now - self.began, 1e-9)
            left = (self.total - step) / max(rate, 1e-9)
            words = "" if loss is None else f", loss {loss:.4f}"
            print(
                f"{self.title}: {step}/{self.total}, {rate:.1f} steps/s{words}, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Ends the bar."""
        if self.bar is not None:
            self.bar.close()
