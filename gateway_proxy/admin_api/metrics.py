"""GET /metrics: the counters of all workers for Prometheus. A tenant's administrator sees no other tenant's name."""

import asyncio
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.telemetry.metrics import Metrics
from gateway_proxy.tenancy.middleware import find_tenant_context

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class MetricsPage:
    """The page. Collecting reads files when there are several workers, so that runs beside the event loop."""

    metrics: Metrics

    async def handle(self, request: Request) -> Response:
        """Answer with the Prometheus text format."""
        ctx = find_tenant_context(request.scope)
        self.metrics.settle()
        page = await asyncio.to_thread(self.metrics.page, tenant=None if ctx is None else ctx.tenant.slug)
        return Response(page, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})
