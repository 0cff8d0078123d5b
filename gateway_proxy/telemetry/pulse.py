"""What a worker holds at this moment, measured now and then for /metrics. A figure that only grows is a leak.

Memory and descriptors are not measured here: the operating system shows them from outside.
"""

import asyncio
from typing import Final

from gateway_proxy.telemetry.metrics import Metrics

BEAT_SECONDS: Final = 5.0


async def keep_pulse(metrics: Metrics, *, period: float = BEAT_SECONDS) -> None:
    """Measure this worker every `period` seconds until cancelled."""
    while True:
        metrics.holds_tasks(len(asyncio.all_tasks()))
        await asyncio.sleep(period)
