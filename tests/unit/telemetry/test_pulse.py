"""What a worker holds, as /metrics shows it."""

import asyncio

from gateway_proxy.telemetry.metrics import Metrics
from gateway_proxy.telemetry.pulse import keep_pulse


def held(metrics: Metrics) -> float:
    """The tasks that the page shows."""
    (line,) = [line for line in metrics.page().decode().splitlines() if line.startswith("gateway_tasks ")]
    return float(line.rpartition(" ")[2])


async def test_the_page_shows_tasks_that_are_held_and_no_longer_those_that_ended() -> None:
    """Security F13: tasks return to base, and whoever runs the gateway can see it."""
    metrics, release = Metrics(), asyncio.Event()
    pulse = asyncio.create_task(keep_pulse(metrics, period=0.0))
    await asyncio.sleep(0)
    base = held(metrics)
    waiting = [asyncio.create_task(release.wait()) for _ in range(10)]
    for _ in range(5):
        await asyncio.sleep(0)
    most = held(metrics)

    release.set()
    await asyncio.gather(*waiting)
    for _ in range(5):
        await asyncio.sleep(0)

    assert (most, held(metrics)) == (base + 10, base)
    pulse.cancel()
    await asyncio.gather(pulse, return_exceptions=True)
