"""Liveness and readiness. What an anonymous caller may know is one word; details are on /status, behind a scope."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway_proxy.domain.errors import GatewayError

Probe = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Health:
    """GET /health: the process answers. Says nothing else to anyone."""

    async def handle(self, request: Request) -> Response:
        """Answer `{"status":"ok"}`."""
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


@dataclass
class Draining:
    """Whether this process is being stopped: readiness says no from then on, so that a proxy sends nothing new."""

    is_draining: bool = False


@dataclass(frozen=True)
class Readiness:
    """GET /ready: 200 when every dependency answers within `timeout` seconds, else 503."""

    probes: Mapping[str, Probe]
    draining: Draining
    timeout: float = 2.0
    states: dict[str, bool] = field(default_factory=dict)

    async def handle(self, request: Request) -> Response:
        """Probe all dependencies at once. The body does not say which one is missing."""
        ready = not self.draining.is_draining and all(await asyncio.gather(*map(self._answers, self.probes)))
        body = {"status": "ready" if ready else "unavailable"}
        headers = {"Cache-Control": "no-store"} | ({} if ready else {"Retry-After": "5"})
        return JSONResponse(body, status_code=200 if ready else 503, headers=headers)

    async def _answers(self, name: str) -> bool:
        try:
            async with asyncio.timeout(self.timeout):
                await self.probes[name]()
        except (TimeoutError, OSError, GatewayError):
            self.states[name] = False
            return False
        self.states[name] = True
        return True
