"""What long work says while it goes on: a line on standard error every few seconds, so that nobody thinks it hangs."""

from typing import Final

import click

from gateway_proxy.domain.clock import Clock

SECONDS: Final = 2.0


class Progress:
    """Tells how far a command is. Short work says nothing."""

    def __init__(self, clock: Clock, sentence: str) -> None:
        """`sentence` has `{done}` where the number goes."""
        self._clock = clock
        self._sentence = sentence
        self._next = clock.monotonic() + SECONDS

    def tell(self, done: int) -> None:
        """Say it, if the last time is long enough ago."""
        now = self._clock.monotonic()
        if now >= self._next:
            self._next = now + SECONDS
            click.echo(self._sentence.format(done=f"{done:,}"), err=True)
