"""GET /metrics: the counters of all workers for Prometheus."""

import asyncio
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.telemetry.metrics import Metrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class MetricsPage:
    """The page. Collecting reads files when there are several workers, so it runs beside the event loop."""

    metrics: Metrics

    async def handle(self, request: Request) -> Response:
        """Answer with the Prometheus text format."""
        page = await asyncio.to_thread(self.metrics.page)
        return Response(page, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})
