"""What a worker counts and what it holds, brought to /metrics every second. A figure that only grows is a leak.

Memory and descriptors are not measured here: the operating system shows them from outside.
"""

import asyncio
from typing import Final

from gateway_proxy.telemetry.metrics import Metrics

BEAT_SECONDS: Final = 1.0


async def keep_pulse(metrics: Metrics, *, period: float = BEAT_SECONDS) -> None:
    """Measure this worker every `period` seconds until cancelled, and hand over its counts, the last ones included."""
    try:
        while True:
            metrics.holds_tasks(len(asyncio.all_tasks()))
            metrics.settle()
            await asyncio.sleep(period)
    finally:
        metrics.settle()
