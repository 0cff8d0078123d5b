"""The metrics page, where it meets the counting that goes on beside it."""

import threading

from starlette.requests import Request

from gateway_proxy.admin_api.metrics import MetricsPage
from gateway_proxy.telemetry.metrics import Metrics


class Watched(Metrics):
    """Notes who hands over."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def settle(self) -> None:
        """Note it."""
        self.threads.append(threading.get_ident())
        super().settle()


async def test_counts_are_handed_over_by_the_thread_that_adds_them_up() -> None:
    """A second thread would lose counts, count twice, or stumble over a count that is new; the page is up to date."""
    metrics = Watched()
    metrics.tool_called("page", "ok", 0.1)

    response = await MetricsPage(metrics).handle(Request({"type": "http"}))

    assert metrics.threads == [threading.get_ident()]
    assert b'gateway_tool_calls_total{outcome="ok",surface="page"} 1.0' in response.body
