"""Says now and then how far a phase has come, so that nobody takes a long run for a dead one."""

import time
from typing import Final

EVERY_SECONDS: Final = 5.0


class Progress:
    """One phase: so many of something are to be done."""

    def __init__(self, what: str, amount: int) -> None:
        self._what = what
        self._amount = amount
        self._done = 0
        self._began = self._said = time.perf_counter()

    def add(self, number: int = 1) -> None:
        """So many more are done."""
        self._done += number
        now = time.perf_counter()
        if now - self._said >= EVERY_SECONDS:
            self._said = now
            say(f"  {self._done:,} of {self._amount:,} {self._what}, {self._rate(now):,.0f}/s")

    def end(self) -> None:
        """The phase is over."""
        now = time.perf_counter()
        say(f"  {self._done:,} {self._what} in {now - self._began:.1f} s, {self._rate(now):,.0f}/s")

    def _rate(self, now: float) -> float:
        return self._done / max(now - self._began, 1e-9)


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)
