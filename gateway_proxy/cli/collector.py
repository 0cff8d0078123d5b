"""The garbage collector of a process that starts. How a worker's collector goes on is in `worker`."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """For imports: they make 100,000 objects and no garbage, and looking for some is a fifth of their time (ADR 12)."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
